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

use super::{
    compiled::{CompiledRoute, check_policy},
    record::{self, Record},
    table::RouteTable,
};

/// Most problems that are told.
const PROBLEMS_MAX: usize = 1_000;

/// Every route and policy.
#[derive(Debug)]
pub(super) struct Known {
    routes: Kept<Route>,
    policies: Kept<Policy>,
    /// What is in force, with its version.
    compiled: BTreeMap<String, (Arc<CompiledRoute>, u64)>,
    /// Routes that were read well and cannot be used.
    unusable: BTreeMap<String, String>,
    /// Policies by id, as routes see them.
    usable_policies: BTreeMap<String, Arc<Policy>>,
    default: Arc<CompiledRoute>,
}

/// The records of one kind.
#[derive(Debug)]
struct Kept<R> {
    prefix: String,
    /// The last good record of each id.
    good: BTreeMap<String, R>,
    /// Why the newest record of an id cannot be read, and its version.
    bad: BTreeMap<String, (u64, String)>,
    is_synced: bool,
}

/// The ids that a change is about.
type Touched = BTreeSet<String>;

impl<R: Record> Kept<R> {
    fn new(prefix: String) -> Self {
        Self { prefix, good: BTreeMap::new(), bad: BTreeMap::new(), is_synced: false }
    }

    fn apply(&mut self, change: Change, check: impl Fn(&R) -> Result<(), String>) -> Touched {
        let mut touched = Touched::new();
        match change {
            Change::Snapshot(snapshot) => {
                self.is_synced = true;
                let listed: BTreeSet<String> =
                    snapshot.entries.iter().filter_map(|entry| self.id_of(&entry.key)).collect();
                let known: BTreeSet<String> = self.good.keys().chain(self.bad.keys()).cloned().collect();
                for id in known.difference(&listed) {
                    self.remove(id, &mut touched);
                }
                for entry in &snapshot.entries {
                    self.put(entry, &check, &mut touched);
                }
            }
            Change::Put(entry) => self.put(&entry, &check, &mut touched),
            Change::Delete { key, .. } => {
                if let Some(id) = self.id_of(&key) {
                    self.remove(&id, &mut touched);
                }
            }
        }
        touched
    }

    /// Records, usable or not; one that was good before and is bad now counts once.
    fn count(&self) -> usize {
        self.good.len() + self.bad.keys().filter(|id| !self.good.contains_key(*id)).count()
    }

    fn id_of(&self, key: &str) -> Option<String> {
        key.strip_prefix(&self.prefix).map(str::to_owned)
    }

    fn put(&mut self, entry: &KeyValue, check: impl Fn(&R) -> Result<(), String>, touched: &mut Touched) {
        let Some(id) = self.id_of(&entry.key) else {
            return;
        };
        let version = version_of(entry);
        let record = record::decode::<R>(&id, version, &entry.value).and_then(|record| {
            check(&record)?;
            Ok(record)
        });
        match record {
            Ok(mut record) => {
                let is_same = self.good.get_mut(&id).is_some_and(|known| *known.stamp().0 == *record.stamp().0);
                let was_bad = self.bad.remove(&id).is_some();
                if !is_same || was_bad {
                    self.good.insert(id.clone(), record);
                    touched.insert(id);
                }
            }
            Err(reason) => {
                tracing::warn!(kind = R::KIND, id, version, reason, "record cannot be used: the last good one stays");
                self.bad.insert(id.clone(), (version, reason));
                touched.insert(id);
            }
        }
    }

    fn remove(&mut self, id: &str, touched: &mut Touched) {
        if self.good.remove(id).is_some() | self.bad.remove(id).is_some() {
            touched.insert(id.to_owned());
        }
    }
}

/// The number of the last write of a key.
pub(super) fn version_of(entry: &KeyValue) -> u64 {
    u64::try_from(entry.modified.0).unwrap_or_default()
}

impl Known {
    /// Nothing is known yet. Keys of routes and of policies begin with these.
    pub(super) fn new(routes: String, policies: String, default: Arc<CompiledRoute>) -> Self {
        Self {
            routes: Kept::new(routes),
            policies: Kept::new(policies),
            compiled: BTreeMap::new(),
            unusable: BTreeMap::new(),
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
        let touched = self.routes.apply(change, |_| Ok(()));
        for id in &touched {
            self.compile(id);
        }
        !touched.is_empty()
    }

    /// Applies a change of a policy, and with it of the routes that name it; true when something is not as before.
    pub(super) fn apply_policy(&mut self, change: Change) -> bool {
        let touched = self.policies.apply(change, |policy| check_policy(policy).map_err(|error| reason_of(&error)));
        for id in &touched {
            match self.policies.good.get(id) {
                Some(policy) => drop(self.usable_policies.insert(id.clone(), Arc::new(policy.clone()))),
                None => drop(self.usable_policies.remove(id)),
            }
        }
        let names = |route: &&Route| route.policies.iter().any(|id| touched.contains(id));
        let routes: Vec<String> = self.routes.good.values().filter(names).map(|route| route.id.clone()).collect();
        for id in routes {
            self.compile(&id);
        }
        !touched.is_empty()
    }

    /// Brings what is in force into line with a route's record.
    fn compile(&mut self, id: &str) {
        let Some(route) = self.routes.good.get(id) else {
            // With a bad record and no good one there is nothing in force either.
            self.compiled.remove(id);
            self.unusable.remove(id);
            return;
        };
        match CompiledRoute::new(route, &self.usable_policies) {
            Ok(compiled) => {
                self.compiled.insert(id.to_owned(), (Arc::new(compiled), route.version));
                self.unusable.remove(id);
            }
            Err(error) => {
                let reason = reason_of(&error);
                // Policies may come after the routes that name them.
                if self.is_synced() {
                    tracing::warn!(
                        id,
                        version = route.version,
                        reason,
                        "route cannot be used: the last good one stays"
                    );
                }
                self.unusable.insert(id.to_owned(), reason);
            }
        }
    }

    /// How many records of routes and of policies there are, usable or not.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.routes.count(), self.policies.count())
    }

    /// The routes that are in force.
    pub(super) fn table(&self) -> RouteTable {
        let routes = self.compiled.values().map(|(route, _)| Arc::clone(route)).collect();
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
        let in_force = |id: &str| self.compiled.get(id).map_or(0, |(_, version)| *version);
        let unreadable = self
            .routes
            .bad
            .iter()
            .map(|(id, (version, reason))| problem(Route::KIND, id, *version, reason, in_force(id)));
        let unusable = self.unusable.iter().filter(|(id, _)| !self.routes.bad.contains_key(*id)).map(|(id, reason)| {
            let version = self.routes.good.get(id).map_or(0, |route| route.version);
            problem(Route::KIND, id, version, reason, in_force(id))
        });
        let policies = self.policies.bad.iter().map(|(id, (version, reason))| {
            let in_force = self.policies.good.get(id).map_or(0, |policy| policy.version);
            problem(Policy::KIND, id, *version, reason, in_force)
        });
        unreadable.chain(unusable).chain(policies).take(PROBLEMS_MAX).collect()
    }
}

/// What is wrong, on one line.
fn reason_of(error: &mcp_proto::Error) -> String {
    let reasons = error.violations().iter().map(|violation| format!("`{}` {}", violation.field, violation.description));
    let reasons: Vec<_> = reasons.collect();
    if reasons.is_empty() { error.message().to_owned() } else { reasons.join("; ") }
}
