//! What the store says about routes and policies, change by change, and what is in force because of it. Pure.
//!
//! A record that cannot be used does not take the last good one out of force; it is shown as a problem instead. The same
//! holds for a route whose policy went or turned bad.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use mcp_coord::{Change, KeyValue};
use mcp_proto::gateway::v1::{Policy, RecordProblem, Route};
use prost::Message;

use super::{
    compiled::{CompiledRoute, check_policy},
    record::{self, Record},
    table::RouteTable,
};

/// Most problems that are told.
const PROBLEMS_MAX: usize = 1_000;

/// Every route and policy.
///
/// There may be thousands of routes, so of their records only what is needed later is kept.
#[derive(Debug)]
pub(super) struct Known {
    routes: Kept,
    policies: Kept,
    in_force: InForce,
    /// Encoded, those routes that name policies: they are compiled again when one of these changes.
    sources: BTreeMap<Box<str>, Box<[u8]>>,
    /// Policies by id, as routes see them.
    usable_policies: BTreeMap<String, Arc<Policy>>,
    default: Arc<CompiledRoute>,
}

/// The records of one kind.
#[derive(Debug)]
struct Kept {
    prefix: String,
    /// The version of the last good record of each id.
    good: BTreeMap<Box<str>, u64>,
    /// Why the newest record of an id cannot be read, and its version.
    bad: BTreeMap<Box<str>, (u64, String)>,
    is_synced: bool,
}

/// The routes that requests can take.
#[derive(Debug, Default)]
struct InForce {
    compiled: BTreeMap<Box<str>, Arc<CompiledRoute>>,
    /// Routes that were read well and cannot be used.
    unusable: BTreeMap<Box<str>, String>,
}

/// What a change does to a record.
#[derive(Debug)]
enum Step<R> {
    /// There is a good one in the place of any before.
    Put(R),
    /// The newest one cannot be read; one before it may still be good.
    Spoilt,
    /// It is gone.
    Gone,
}

impl Kept {
    fn new(prefix: String) -> Self {
        Self { prefix, good: BTreeMap::new(), bad: BTreeMap::new(), is_synced: false }
    }

    /// Applies a change, and tells `step` of each record that is not as before. Those that `check` refuses are bad.
    fn apply<R: Record>(
        &mut self,
        change: Change,
        check: impl Fn(&R) -> Result<(), String>,
        mut step: impl FnMut(&str, Step<R>),
    ) {
        match change {
            Change::Snapshot(snapshot) => {
                self.is_synced = true;
                let listed: BTreeSet<&str> =
                    snapshot.entries.iter().filter_map(|entry| self.id_of(&entry.key)).collect();
                let known = self.good.keys().chain(self.bad.keys());
                let gone: Vec<Box<str>> = known.filter(|id| !listed.contains(&***id)).cloned().collect();
                for id in gone {
                    self.remove(&id, &mut step);
                }
                // Each goes as soon as it was read: of thousands not all should be there in both forms.
                for entry in snapshot.entries {
                    self.put(&entry, &check, &mut step);
                }
            }
            Change::Put(entry) => self.put(&entry, check, step),
            Change::Delete { key, .. } => {
                if let Some(id) = self.id_of(&key) {
                    self.remove(id, step);
                }
            }
        }
    }

    /// Records, usable or not; one that was good before and is bad now counts once.
    fn count(&self) -> usize {
        self.good.len() + self.bad.keys().filter(|id| !self.good.contains_key(*id)).count()
    }

    fn id_of<'k>(&self, key: &'k str) -> Option<&'k str> {
        key.strip_prefix(&self.prefix)
    }

    fn put<R: Record>(
        &mut self,
        entry: &KeyValue,
        check: impl Fn(&R) -> Result<(), String>,
        mut step: impl FnMut(&str, Step<R>),
    ) {
        let Some(id) = self.id_of(&entry.key) else {
            return;
        };
        let version = version_of(entry);
        if self.good.get(id) == Some(&version) && !self.bad.contains_key(id) {
            return;
        }
        let record = record::decode::<R>(id, version, &entry.value).and_then(|record| {
            check(&record)?;
            Ok(record)
        });
        match record {
            Ok(record) => {
                self.bad.remove(id);
                self.good.insert(id.into(), version);
                step(id, Step::Put(record));
            }
            Err(reason) => {
                tracing::warn!(kind = R::KIND, id, version, reason, "record cannot be used: the last good one stays");
                self.bad.insert(id.into(), (version, reason));
                step(id, Step::Spoilt);
            }
        }
    }

    fn remove<R>(&mut self, id: &str, mut step: impl FnMut(&str, Step<R>)) {
        if self.good.remove(id).is_some() | self.bad.remove(id).is_some() {
            step(id, Step::Gone);
        }
    }
}

/// The number of the last write of a key.
pub(super) fn version_of(entry: &KeyValue) -> u64 {
    u64::try_from(entry.modified.0).unwrap_or_default()
}

impl InForce {
    /// Brings what is in force into line with a route's record.
    fn set(&mut self, route: &Route, policies: &BTreeMap<String, Arc<Policy>>, is_synced: bool) {
        match CompiledRoute::new(route, policies) {
            Ok(compiled) => {
                self.compiled.insert(route.id.as_str().into(), Arc::new(compiled));
                self.unusable.remove(route.id.as_str());
            }
            Err(error) => {
                let (id, version, reason) = (&route.id, route.version, reason_of(&error));
                // Policies may come after the routes that name them.
                if is_synced {
                    tracing::warn!(id, version, reason, "route cannot be used: the last good one stays");
                }
                self.unusable.insert(id.as_str().into(), reason);
            }
        }
    }

    fn remove(&mut self, id: &str) {
        self.compiled.remove(id);
        self.unusable.remove(id);
    }

    /// The version of a route's record that is in force; 0: there is none.
    fn version(&self, id: &str) -> u64 {
        self.compiled.get(id).map_or(0, |route| route.version)
    }
}

impl Known {
    /// Nothing is known yet. Keys of routes and of policies begin with these.
    pub(super) fn new(routes: String, policies: String, default: Arc<CompiledRoute>) -> Self {
        Self {
            routes: Kept::new(routes),
            policies: Kept::new(policies),
            in_force: InForce::default(),
            sources: BTreeMap::new(),
            usable_policies: BTreeMap::new(),
            default,
        }
    }

    /// True once both kinds were told whole.
    pub(super) fn is_synced(&self) -> bool {
        self.routes.is_synced && self.policies.is_synced
    }

    /// Applies a change of a route; true when something is not as before.
    pub(super) fn apply_route(&mut self, change: Change) -> bool {
        let Self { routes, policies, in_force, sources, usable_policies, .. } = self;
        // A first snapshot makes this kind complete.
        let is_synced = policies.is_synced && (routes.is_synced || matches!(change, Change::Snapshot(_)));
        let mut changed = false;
        let step = |id: &str, step: Step<Route>| {
            changed = true;
            match step {
                Step::Put(route) => {
                    if route.policies.is_empty() {
                        sources.remove(id);
                    } else {
                        sources.insert(id.into(), route.encode_to_vec().into());
                    }
                    in_force.set(&route, usable_policies, is_synced);
                }
                Step::Spoilt => {}
                Step::Gone => {
                    sources.remove(id);
                    in_force.remove(id);
                }
            }
        };
        routes.apply(change, |_| Ok(()), step);
        changed
    }

    /// Applies a change of a policy, and with it of the routes that name it; true when something is not as before.
    pub(super) fn apply_policy(&mut self, change: Change) -> bool {
        let mut touched = BTreeSet::new();
        let usable = &mut self.usable_policies;
        let step = |id: &str, step: Step<Policy>| {
            match step {
                Step::Put(policy) => drop(usable.insert(id.to_owned(), Arc::new(policy))),
                Step::Spoilt => {}
                Step::Gone => drop(usable.remove(id)),
            }
            touched.insert(id.to_owned());
        };
        self.policies.apply(change, |policy| check_policy(policy).map_err(|error| reason_of(&error)), step);
        if touched.is_empty() {
            return false;
        }
        let is_synced = self.is_synced();
        for source in self.sources.values() {
            let route = Route::decode(&**source).expect("it was encoded here");
            if route.policies.iter().any(|id| touched.contains(id)) {
                self.in_force.set(&route, &self.usable_policies, is_synced);
            }
        }
        true
    }

    /// How many records of routes and of policies there are, usable or not.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.routes.count(), self.policies.count())
    }

    /// The routes that are in force.
    pub(super) fn table(&self) -> RouteTable {
        let routes = self.in_force.compiled.values().map(Arc::clone).collect();
        RouteTable::new(routes, Arc::clone(&self.default))
    }

    /// Records that cannot be used.
    pub(super) fn problems(&self) -> Vec<RecordProblem> {
        let problem = |kind: &str, id: &str, version, reason: &str, version_in_force| RecordProblem {
            kind: kind.to_owned(),
            id: id.to_owned(),
            reason: reason.to_owned(),
            version,
            version_in_force,
        };
        let Self { routes, policies, in_force, .. } = self;
        let good = |kept: &Kept, id: &str| kept.good.get(id).copied().unwrap_or_default();
        let unreadable = routes
            .bad
            .iter()
            .map(|(id, (version, reason))| problem(Route::KIND, id, *version, reason, in_force.version(id)));
        let unusable = in_force.unusable.iter().filter(|(id, _)| !routes.bad.contains_key(*id));
        let unusable =
            unusable.map(|(id, reason)| problem(Route::KIND, id, good(routes, id), reason, in_force.version(id)));
        let policies = policies
            .bad
            .iter()
            .map(|(id, (version, reason))| problem(Policy::KIND, id, *version, reason, good(policies, id)));
        unreadable.chain(unusable).chain(policies).take(PROBLEMS_MAX).collect()
    }
}

/// What is wrong, on one line.
fn reason_of(error: &mcp_proto::Error) -> String {
    let reasons = error.violations().iter().map(|violation| format!("`{}` {}", violation.field, violation.description));
    let reasons: Vec<_> = reasons.collect();
    if reasons.is_empty() { error.message().to_owned() } else { reasons.join("; ") }
}
