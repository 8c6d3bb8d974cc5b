//! Reading and writing routes and policies in coordination.

use std::{collections::BTreeMap, sync::Arc};

use mcp_coord::{Coordinator, Expected, KeyValue, Revision, keys};
use mcp_proto::{
    Code, Error,
    gateway::v1::{Policy, Route},
};

use super::{
    compiled::{CompiledRoute, check_id, check_policy},
    follow::{Routes, View},
    known::version_of,
    record::{self, Record},
};

/// Most routes that the store takes.
const ROUTES_MAX: usize = 20_000;
/// Most policies that the store takes.
const POLICIES_MAX: usize = 2_000;

/// Routes and policies as they are stored.
#[derive(Debug, Clone)]
pub(super) struct Store {
    coord: Arc<dyn Coordinator>,
    cluster: String,
    routes: Routes,
}

/// A page of records.
#[derive(Debug)]
pub(super) struct Page<R> {
    /// The records that can be read, by id.
    pub(super) records: Vec<R>,
    /// Id of the last one, when there are more.
    pub(super) next: Option<String>,
}

/// The kinds of records, and where they lie.
pub(super) trait Stored: Record {
    /// Most of them.
    const COUNT_MAX: usize;

    /// How many there are, as far as it has been heard.
    fn count(view: &View) -> usize;

    /// What the keys of all begin with.
    fn prefix(cluster: &str) -> String;

    /// The key of one.
    fn key(cluster: &str, id: &str) -> String {
        format!("{}{id}", Self::prefix(cluster))
    }
}

impl Stored for Route {
    const COUNT_MAX: usize = ROUTES_MAX;

    fn count(view: &View) -> usize {
        view.counts.0
    }

    fn prefix(cluster: &str) -> String {
        keys::routes(cluster)
    }
}

impl Stored for Policy {
    const COUNT_MAX: usize = POLICIES_MAX;

    fn count(view: &View) -> usize {
        view.counts.1
    }

    fn prefix(cluster: &str) -> String {
        keys::policies(cluster)
    }
}

impl Store {
    /// The records of a cluster; `routes` has heard of them.
    pub(super) fn new(coord: Arc<dyn Coordinator>, cluster: &str, routes: Routes) -> Self {
        Self { coord, cluster: cluster.to_owned(), routes }
    }

    /// One record.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for the id, `NOT_FOUND`, `DATA_LOSS` when it cannot be read, `COORDINATION_UNAVAILABLE`.
    pub(super) async fn get<R: Stored>(&self, id: &str) -> Result<R, Error> {
        check_id(id).map_err(|reason| Error::invalid("id", reason))?;
        let entry = self.coord.get(&R::key(&self.cluster, id)).await.map_err(unavailable)?;
        let entry = entry.ok_or_else(|| not_found::<R>(id))?;
        record::decode(id, version_of(&entry), &entry.value)
            .map_err(|reason| Error::new(Code::DataLoss, format!("the {} `{id}` {reason}", R::KIND)))
    }

    /// Records whose ids come after `after`. Those that cannot be read are left out.
    ///
    /// # Errors
    /// `COORDINATION_UNAVAILABLE`.
    pub(super) async fn page<R: Stored>(&self, after: &str, size: usize) -> Result<Page<R>, Error> {
        let prefix = R::prefix(&self.cluster);
        let snapshot = self.coord.range(&prefix).await.map_err(unavailable)?;
        let from = snapshot.entries.partition_point(|entry| entry.key[prefix.len()..] <= *after);
        let rest = &snapshot.entries[from..];
        let page = &rest[..size.min(rest.len())];
        let next = (rest.len() > page.len()).then(|| page.last().map(|entry| entry.key[prefix.len()..].to_owned()));
        Ok(Page { records: page.iter().filter_map(|entry| read(entry, &prefix)).collect(), next: next.flatten() })
    }

    /// Checks a route with the policies that it names.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` with every wrong field, `COORDINATION_UNAVAILABLE`.
    pub(super) async fn check_route(&self, route: &Route) -> Result<(), Error> {
        let mut policies = BTreeMap::new();
        for id in &route.policies {
            if let Some(policy) = self.find::<Policy>(id).await? {
                policies.insert(id.clone(), Arc::new(policy));
            }
        }
        CompiledRoute::new(route, &policies).map(drop)
    }

    /// Checks a policy, and the routes that name it with what it says now.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` with every wrong field, `COORDINATION_UNAVAILABLE`.
    pub(super) async fn check_policy(&self, policy: &Policy) -> Result<(), Error> {
        check_policy(policy)?;
        for route in self.routes_with(&policy.id).await? {
            let mut policies = BTreeMap::from([(policy.id.clone(), Arc::new(policy.clone()))]);
            for id in route.policies.iter().filter(|id| **id != policy.id) {
                if let Some(other) = self.find::<Policy>(id).await? {
                    policies.insert(id.clone(), Arc::new(other));
                }
            }
            if let Err(error) = CompiledRoute::new(&route, &policies) {
                let text = format!("does not go with the route `{}`: {}", route.id, error.message());
                return Err(Error::invalid("settings", text));
            }
        }
        Ok(())
    }

    /// Writes a record, over that of its version if it has one; its new version comes back.
    ///
    /// # Errors
    /// `ABORTED` when it is at another version, `FAILED_PRECONDITION` when there are as many as there may be,
    /// `INVALID_ARGUMENT` when it is too large, `COORDINATION_UNAVAILABLE`.
    pub(super) async fn put<R: Stored>(&self, record: &mut R) -> Result<(), Error> {
        let (id, key) = (record.id().to_owned(), R::key(&self.cluster, record.id()));
        let expected = *record.stamp().0;
        let value = record::encode(record).into();
        let written = if expected == 0 {
            self.check_count::<R>(&key).await?;
            self.coord.put(&key, value, None).await
        } else {
            let revision = Expected::Modified(Revision(i64::try_from(expected).unwrap_or(i64::MAX)));
            self.coord.compare_and_put(&key, revision, value, None).await
        };
        match written {
            Ok(revision) => {
                let version = u64::try_from(revision.0).unwrap_or_default();
                *record.stamp().0 = version;
                tracing::info!(kind = R::KIND, id, version, "record written");
                Ok(())
            }
            Err(error) => Err(self.failed::<R>(&id, expected, error).await),
        }
    }

    /// Removes a record, if it is still at `version`; 0 removes any.
    ///
    /// # Errors
    /// `NOT_FOUND`, `ABORTED` when it is at another version, `FAILED_PRECONDITION` for a policy in use,
    /// `COORDINATION_UNAVAILABLE`.
    pub(super) async fn delete<R: Stored>(&self, id: &str, version: u64) -> Result<(), Error> {
        check_id(id).map_err(|reason| Error::invalid("id", reason))?;
        let key = R::key(&self.cluster, id);
        if version == 0 {
            let was_there = self.coord.delete(&key).await.map_err(unavailable)?;
            return if was_there { Ok(()) } else { Err(not_found::<R>(id)) };
        }
        let revision = Revision(i64::try_from(version).unwrap_or(i64::MAX));
        match self.coord.compare_and_delete(&key, revision).await {
            Ok(()) => Ok(()),
            Err(error) => Err(self.failed::<R>(id, version, error).await),
        }
    }

    /// The routes that name a policy.
    ///
    /// # Errors
    /// `COORDINATION_UNAVAILABLE`.
    pub(super) async fn routes_with(&self, policy: &str) -> Result<Vec<Route>, Error> {
        let prefix = Route::prefix(&self.cluster);
        let snapshot = self.coord.range(&prefix).await.map_err(unavailable)?;
        let quoted = format!("\"{policy}\"");
        // Reading them all takes long when there are thousands; most do not even hold the name.
        let may_name = |entry: &&KeyValue| String::from_utf8_lossy(&entry.value).contains(&quoted);
        let routes = snapshot.entries.iter().filter(may_name).filter_map(|entry| read::<Route>(entry, &prefix));
        Ok(routes.filter(|route| route.policies.iter().any(|id| id == policy)).collect())
    }

    /// A record that may not be there; one that cannot be read counts as such.
    async fn find<R: Stored>(&self, id: &str) -> Result<Option<R>, Error> {
        if check_id(id).is_err() {
            return Ok(None);
        }
        let entry = self.coord.get(&R::key(&self.cluster, id)).await.map_err(unavailable)?;
        Ok(entry.and_then(|entry| read(&entry, &R::prefix(&self.cluster))))
    }

    /// Writes at the same time may go a little over it: the limit is there to keep the table small, not to be exact.
    async fn check_count<R: Stored>(&self, key: &str) -> Result<(), Error> {
        if R::count(&self.routes.view()) < R::COUNT_MAX {
            return Ok(());
        }
        let snapshot = self.coord.range(&R::prefix(&self.cluster)).await.map_err(unavailable)?;
        let is_new = snapshot.entries.binary_search_by(|entry| entry.key.as_str().cmp(key)).is_err();
        if is_new && snapshot.entries.len() >= R::COUNT_MAX {
            let text = format!("there are {} of the kind {} already: delete some first", R::COUNT_MAX, R::KIND);
            return Err(Error::new(Code::FailedPrecondition, text));
        }
        Ok(())
    }

    /// What a write that came to nothing means.
    async fn failed<R: Stored>(&self, id: &str, expected: u64, error: mcp_coord::Error) -> Error {
        match error {
            mcp_coord::Error::Conflict { .. } => match self.coord.get(&R::key(&self.cluster, id)).await {
                Ok(Some(entry)) => {
                    let version = version_of(&entry);
                    let text = format!(
                        "the {} `{id}` is at version {version}, not {expected}: read it again, then repeat the change",
                        R::KIND
                    );
                    Error::new(Code::Aborted, text).with_metadata("version", version.to_string())
                }
                Ok(None) => not_found::<R>(id),
                Err(error) => unavailable(error),
            },
            error => unavailable(error),
        }
    }
}

fn read<R: Record>(entry: &KeyValue, prefix: &str) -> Option<R> {
    record::decode(entry.key.strip_prefix(prefix)?, version_of(entry), &entry.value).ok()
}

fn not_found<R: Record>(id: &str) -> Error {
    Error::new(Code::NotFound, format!("there is no {} `{id}`", R::KIND)).with_metadata(R::KIND, id)
}

fn unavailable(error: mcp_coord::Error) -> Error {
    match &error {
        mcp_coord::Error::Invalid { reason } => Error::invalid("record", reason.clone()),
        mcp_coord::Error::Conflict { .. } | mcp_coord::Error::LeaseEnded { .. } => {
            Error::new(Code::Aborted, error.to_string()).with_source(error)
        }
        mcp_coord::Error::Unavailable { .. } => {
            Error::new(Code::CoordinationUnavailable, "coordination does not answer").with_source(error)
        }
    }
}
