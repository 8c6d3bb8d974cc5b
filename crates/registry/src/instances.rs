//! What the calls do to coordination.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures_util::FutureExt as _;
use mcp_client::Discovery;
use mcp_coord::{Coordinator, InstanceRecord, LeaseId, keys};

use crate::{convert, error::Error};

/// Instances in coordination.
#[derive(Debug)]
pub(crate) struct Instances {
    coord: Arc<dyn Coordinator>,
    cluster: String,
    /// The last known state, for while coordination is away.
    discovery: Discovery,
}

impl Instances {
    pub(crate) fn new(coord: Arc<dyn Coordinator>, cluster: &str) -> Self {
        let discovery = Discovery::start(Arc::clone(&coord), cluster);
        Self { coord, cluster: cluster.to_owned(), discovery }
    }

    /// Writes a record under a lease of its own, over one that is there already.
    pub(crate) async fn register(&self, mut record: InstanceRecord, ttl: Duration) -> Result<LeaseId, Error> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        record.registered_unix_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        let key = keys::instance(&self.cluster, &record.service, &record.instance_id);
        let value = serde_json::to_vec(&record).expect("a record of texts and numbers is JSON");
        let lease = self.coord.grant(ttl).await?;
        if let Err(error) = self.coord.put(&key, value.into(), Some(lease)).await {
            if let Err(error) = self.coord.revoke(lease).await {
                tracing::debug!(key, %error, "unused lease ends by itself");
            }
            return Err(error.into());
        }
        tracing::info!(key, %lease, ?ttl, address = record.address, "instance registered");
        Ok(lease)
    }

    /// Renews the lease of an instance; the time it now lasts comes back.
    pub(crate) async fn renew(&self, service: &str, instance_id: &str, lease: LeaseId) -> Result<Duration, Error> {
        let gone = || Error::InstanceNotFound { service: service.to_owned(), instance_id: instance_id.to_owned() };
        let found = self.coord.get(&keys::instance(&self.cluster, service, instance_id)).await?;
        if found.is_none_or(|entry| entry.lease != Some(lease)) {
            return Err(gone()); // and a lease of something else is left alone
        }
        match self.coord.keep_alive(lease).await {
            Err(mcp_coord::Error::LeaseEnded { .. }) => Err(gone()),
            outcome => Ok(outcome?),
        }
    }

    /// Removes an instance; one that is not there counts as removed. Its lease ends by itself.
    pub(crate) async fn deregister(&self, service: &str, instance_id: &str) -> Result<(), Error> {
        let key = keys::instance(&self.cluster, service, instance_id);
        if self.coord.delete(&key).await? {
            tracing::info!(key, "instance deregistered");
        }
        Ok(())
    }

    /// The records of one service, or of all when `service` is empty: as they are now, or, while coordination is away,
    /// as they were last seen.
    pub(crate) async fn list(&self, service: &str) -> Result<Vec<InstanceRecord>, Error> {
        match self.coord.range(&self.prefix(service)).await {
            Ok(found) => Ok(found.entries.iter().filter_map(convert::record).collect()),
            Err(mcp_coord::Error::Unavailable { reason }) if self.discovery.synced().now_or_never().is_some() => {
                tracing::warn!(reason, "coordination does not answer, the last known instances are told");
                let known = self.discovery.snapshot();
                let known = if service.is_empty() { known.all() } else { known.by_service(service) };
                Ok(known.iter().map(|record| InstanceRecord::clone(record)).collect())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The changes of one service, or of all when `service` is empty.
    pub(crate) async fn watch(&self, service: &str) -> Result<mcp_coord::WatchStream, Error> {
        Ok(self.coord.watch(&self.prefix(service)).await?)
    }

    /// Which service and instance a key is about.
    pub(crate) fn name_of<'a>(&self, key: &'a str) -> Option<(&'a str, &'a str)> {
        key.strip_prefix(&keys::services(&self.cluster))?.split_once('/')
    }

    fn prefix(&self, service: &str) -> String {
        if service.is_empty() { keys::services(&self.cluster) } else { keys::service(&self.cluster, service) }
    }
}
