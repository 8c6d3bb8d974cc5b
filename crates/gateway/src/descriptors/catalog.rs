//! Whom to ask for descriptors and when, and what is known from the answers. Pure: the time is an argument.
//!
//! Instances of one service and version are one *source*: they were built from the same files, so one of them is asked
//! for all, the one that registered last. A newer registration is asked again, since a process that was restarted may
//! be another build under the same version. A failure is tried again later and takes nothing away.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Weak},
    time::Duration,
};

use mcp_client::discovery::Instances;
use mcp_coord::InstanceRecord;
use tokio::time::Instant;

use super::{Known, Snapshot, schema::Schema, version::Precedence};

/// Sources that are asked at the same time.
const ASKED_MAX: usize = 16;

/// Shortest time between two questions to one source, so that a rolling restart of many instances asks few of them.
const ASK_INTERVAL: Duration = Duration::from_secs(1);

/// Wait after the first failure; it doubles with each further one.
const RETRY_MIN: Duration = Duration::from_millis(500);

/// Longest wait after a failure.
const RETRY_MAX: Duration = Duration::from_secs(60);

/// Doublings after which [`RETRY_MAX`] is reached for certain.
const DOUBLINGS_MAX: u32 = 8;

/// Sources without an instance that stay known, so that a call of a service that is down says so instead of `not
/// found`.
const FORMER_MAX: usize = 500;

/// Services that are never asked for: every server has them, and the gateway answers for itself.
pub(super) const INFRASTRUCTURE: &str = "grpc.";

/// What instances have in common that were built from the same files.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    /// The name under which they registered.
    pub(crate) service: String,
    /// Their version.
    pub(crate) version: String,
}

/// An order: ask this instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Question {
    /// The source that it stands for.
    pub(crate) key: Key,
    /// `host:port`.
    pub(crate) address: String,
    /// The services to ask for, by full name.
    pub(crate) services: Vec<String>,
    instance: Identity,
}

/// One registration of one process.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Identity {
    instance_id: String,
    registered_unix_ms: u64,
    address: String,
}

/// What is known of a source, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct View {
    /// The source.
    pub(crate) key: Key,
    /// Its services that are known.
    pub(crate) services: Vec<String>,
    /// Which set of files it is; `None` while none is known.
    pub(crate) digest: Option<u64>,
    /// Instances now.
    pub(crate) instances: usize,
    /// Why the last question had no answer; `None` when it had.
    pub(crate) error: Option<String>,
    /// Failures since the last answer.
    pub(crate) failures: u32,
    /// The instance whose registration was the newest when it was asked last, whatever came of it.
    pub(crate) instance: Option<String>,
    /// Where that one listens.
    pub(crate) address: Option<String>,
}

#[derive(Debug, Default)]
struct Source {
    /// Live instances, the last registered first.
    instances: Vec<Arc<InstanceRecord>>,
    /// The registration that was asked last, whatever came of it.
    asked: Option<Identity>,
    asked_at: Option<Instant>,
    is_asked: bool,
    failures: u32,
    retry_at: Option<Instant>,
    error: Option<String>,
    schema: Option<Arc<Schema>>,
    /// When its newest instance registered; decides where versions do not.
    registered_unix_ms: u64,
}

/// All sources.
#[derive(Debug)]
pub(crate) struct Catalog {
    built_in: Arc<Schema>,
    sources: BTreeMap<Key, Source>,
    /// Versions that differ in nothing else share what they have.
    schemas: HashMap<u64, Weak<Schema>>,
}

impl Catalog {
    /// Knows only the platform's own services.
    pub(crate) fn new(built_in: Arc<Schema>) -> Self {
        Self { built_in, sources: BTreeMap::new(), schemas: HashMap::new() }
    }

    /// Takes over which instances there are; true when that changes the snapshot.
    pub(crate) fn update(&mut self, instances: &Instances) -> bool {
        let mut live: BTreeMap<Key, Vec<Arc<InstanceRecord>>> = BTreeMap::new();
        for record in instances.all() {
            if self.asks_for(record).next().is_some() {
                let key = Key { service: record.service.clone(), version: record.version.clone() };
                live.entry(key).or_default().push(Arc::clone(record));
            }
        }
        let before = self.ranks();
        for source in self.sources.values_mut() {
            source.instances.clear();
        }
        for (key, mut records) in live {
            records.sort_by(|a, b| (b.registered_unix_ms, &b.instance_id).cmp(&(a.registered_unix_ms, &a.instance_id)));
            let source = self.sources.entry(key).or_default();
            source.registered_unix_ms = records[0].registered_unix_ms;
            if source.asked.as_ref() != Some(&identity(&records[0])) {
                // A new registration deserves a new try.
                (source.failures, source.retry_at) = (0, None);
            }
            source.instances = records;
        }
        self.forget();
        self.ranks() != before
    }

    /// The questions to ask now.
    pub(crate) fn due(&mut self, now: Instant) -> Vec<Question> {
        let mut room = ASKED_MAX.saturating_sub(self.sources.values().filter(|source| source.is_asked).count());
        let keys: Vec<Key> = self.sources.keys().cloned().collect();
        let mut questions = Vec::new();
        for key in keys {
            let Some(source) = self.sources.get(&key).filter(|_| room > 0) else {
                break;
            };
            if source.due_at(now).is_none_or(|at| at > now) {
                continue;
            }
            // After a failure, another instance may be in better health.
            let record = &source.instances[source.failures as usize % source.instances.len()];
            let (newest, address) = (identity(&source.instances[0]), record.address.clone());
            let services = self.asks_for(record).map(str::to_owned).collect();
            questions.push(Question { key: key.clone(), address, services, instance: newest.clone() });
            if let Some(source) = self.sources.get_mut(&key) {
                (source.is_asked, source.asked_at, source.asked) = (true, Some(now), Some(newest));
            }
            room -= 1;
        }
        questions
    }

    /// When [`due`](Self::due) has more, if nothing else happens.
    pub(crate) fn next_due(&self, now: Instant) -> Option<Instant> {
        self.sources.values().filter_map(|source| source.due_at(now)).min()
    }

    /// Takes over the outcome of a question; true when that changes the snapshot. `jitter`: 0 to 1, varies the wait
    /// after a failure by half.
    pub(crate) fn answered(
        &mut self,
        question: &Question,
        outcome: Result<Schema, String>,
        now: Instant,
        jitter: f64,
    ) -> bool {
        let schema = outcome.map(|schema| self.shared(schema));
        let Some(source) = self.sources.get_mut(&question.key) else {
            return false;
        };
        source.is_asked = false;
        match schema {
            Ok(schema) => {
                let is_new = source.schema.as_ref().is_none_or(|known| known.digest != schema.digest);
                (source.failures, source.retry_at, source.error) = (0, None, None);
                source.schema = Some(schema);
                is_new
            }
            Err(error) => {
                let wait = RETRY_MIN.saturating_mul(1 << source.failures.min(DOUBLINGS_MAX)).min(RETRY_MAX);
                source.retry_at = Some(now + wait.mul_f64(1.0 - jitter.clamp(0.0, 1.0) / 2.0));
                source.failures = source.failures.saturating_add(1);
                source.error = Some(error);
                false
            }
        }
    }

    /// True when every source was asked at least once, whatever came of it.
    pub(crate) fn is_complete(&self) -> bool {
        self.sources.values().all(|source| source.asked.is_some() && !source.is_asked)
    }

    /// All that is known. Of several versions of a service that run, the newest counts; of those that are no semantic
    /// versions, the one that registered last.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let known = |schema: &Arc<Schema>| {
            let services = schema.services.values().cloned();
            let schema = Arc::clone(schema);
            services.map(move |service| Known { service, schema: Arc::clone(&schema) }).collect::<Vec<_>>()
        };
        let mut sources: Vec<_> = self.sources.iter().filter(|(_, source)| source.schema.is_some()).collect();
        let rank = |key: &Key, source: &Source| {
            let (runs, registered) = source.rank();
            (runs, Precedence::of(&key.version), registered)
        };
        sources.sort_by_cached_key(|(key, source)| (std::cmp::Reverse(rank(key, source)), *key));
        let mut taken: std::collections::HashSet<String> = self.built_in.services.keys().cloned().collect();
        let pulled = sources.into_iter().filter_map(|(_, source)| source.schema.as_ref()).flat_map(known);
        let pulled: Vec<Known> = pulled.filter(|known| taken.insert(known.service.name().to_owned())).collect();
        Snapshot::new(known(&self.built_in).into_iter().chain(pulled))
    }

    /// Every source, for people.
    pub(crate) fn view(&self) -> Vec<View> {
        let views = self.sources.iter().map(|(key, source)| View {
            key: key.clone(),
            services: source.schema.iter().flat_map(|schema| schema.services.keys().cloned()).collect(),
            digest: source.schema.as_ref().map(|schema| schema.digest),
            instances: source.instances.len(),
            error: source.error.clone(),
            failures: source.failures,
            instance: source.asked.as_ref().map(|asked| asked.instance_id.clone()),
            address: source.asked.as_ref().map(|asked| asked.address.clone()),
        });
        views.collect()
    }

    /// The services of an instance that have to be asked for.
    fn asks_for<'r>(&self, record: &'r InstanceRecord) -> impl Iterator<Item = &'r str> + use<'_, 'r> {
        let unknown = |name: &&str| !name.starts_with(INFRASTRUCTURE) && !self.built_in.services.contains_key(*name);
        record.grpc_services.iter().map(String::as_str).filter(unknown)
    }

    /// The order in which sources count, which decides what the snapshot has.
    fn ranks(&self) -> Vec<(Key, (bool, u64))> {
        let known = self.sources.iter().filter(|(_, source)| source.schema.is_some());
        known.map(|(key, source)| (key.clone(), source.rank())).collect()
    }

    /// One schema for all that have the same files and services.
    fn shared(&mut self, schema: Schema) -> Arc<Schema> {
        self.schemas.retain(|_, known| known.strong_count() > 0);
        if let Some(known) = self.schemas.get(&schema.digest).and_then(Weak::upgrade)
            && known.services.keys().eq(schema.services.keys())
        {
            return known;
        }
        let schema = Arc::new(schema);
        self.schemas.insert(schema.digest, Arc::downgrade(&schema));
        schema
    }

    /// Drops sources that have no instance: those that nothing is known of, and the oldest beyond the limit.
    fn forget(&mut self) {
        self.sources.retain(|_, source| !source.instances.is_empty() || source.schema.is_some());
        let mut former: Vec<_> = self
            .sources
            .iter()
            .filter(|(_, source)| source.instances.is_empty())
            .map(|(key, source)| (source.registered_unix_ms, key.clone()))
            .collect();
        former.sort();
        for (_, key) in former.iter().take(former.len().saturating_sub(FORMER_MAX)) {
            self.sources.remove(key);
        }
    }
}

impl Source {
    /// Those with instances before those without, then the last registered.
    fn rank(&self) -> (bool, u64) {
        (!self.instances.is_empty(), self.registered_unix_ms)
    }

    /// When it is to be asked; `None` when there is no reason to.
    fn due_at(&self, now: Instant) -> Option<Instant> {
        let newest = self.instances.first().filter(|_| !self.is_asked)?;
        let is_new = self.asked.as_ref() != Some(&identity(newest));
        match self.retry_at {
            Some(at) => Some(at),
            None if is_new => Some(self.asked_at.map_or(now, |at| at + ASK_INTERVAL)),
            None => None,
        }
    }
}

fn identity(record: &InstanceRecord) -> Identity {
    Identity {
        instance_id: record.instance_id.clone(),
        registered_unix_ms: record.registered_unix_ms,
        address: record.address.clone(),
    }
}

#[cfg(test)]
mod tests;
