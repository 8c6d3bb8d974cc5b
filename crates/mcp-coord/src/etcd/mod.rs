//! The etcd backend.
//!
//! Every call has a deadline and fails with [`Error::Unavailable`] while etcd is away; nothing is retried here, except
//! for watches, which never fail.

mod link;
mod read;
mod watch;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use etcd_client::{Compare, CompareOp, PutOptions, Txn, TxnOp};

use self::link::{Failure, Link};
use crate::{
    limits,
    model::{Coordinator, Error, Expected, KeyValue, LeaseId, Revision, Snapshot, WatchStream},
};

/// A [`Coordinator`] on an etcd cluster. Clones share one connection.
#[derive(Debug, Clone)]
pub struct Etcd {
    link: Arc<Link>,
}

impl Etcd {
    /// A client of the etcd at `endpoints`, each `http://host:port`. It connects at the first call and again after
    /// every outage, so etcd need not be up yet.
    ///
    /// # Errors
    /// [`Error::Invalid`] when there is no endpoint or one is malformed.
    pub async fn connect(endpoints: &[String]) -> Result<Self, Error> {
        Ok(Self { link: Arc::new(Link::new(endpoints).await?) })
    }

    /// Runs `operation` if `compare` holds, in one step.
    async fn transact(
        &self,
        key: &str,
        compare: Compare,
        operation: TxnOp,
        lease: Option<LeaseId>,
    ) -> Result<Revision, Error> {
        let txn = Txn::new().when([compare]).and_then([operation]);
        let answer = self
            .link
            .call(|mut client| async move { client.txn(txn).await })
            .await
            .map_err(|failure| failure.about(lease))?;
        match answer.succeeded() {
            true => Ok(read::revision(answer.header())),
            false => Err(Error::Conflict { key: key.to_owned() }),
        }
    }
}

fn put_options(lease: Option<LeaseId>) -> Option<PutOptions> {
    lease.map(|lease| PutOptions::new().with_lease(lease.0))
}

#[async_trait]
impl Coordinator for Etcd {
    async fn get(&self, key: &str) -> Result<Option<KeyValue>, Error> {
        limits::check_key(key)?;
        let mut answer = self.link.call(|mut client| async move { client.get(key, None).await }).await?;
        Ok(answer.take_kvs().pop().map(read::key_value))
    }

    async fn range(&self, prefix: &str) -> Result<Snapshot, Error> {
        limits::check_prefix(prefix)?;
        Ok(read::range(&self.link, prefix).await?)
    }

    async fn put(&self, key: &str, value: Bytes, lease: Option<LeaseId>) -> Result<Revision, Error> {
        limits::check_key(key)?;
        limits::check_value(&value)?;
        let options = put_options(lease);
        let answer = self
            .link
            .call(|mut client| async move { client.put(key, value, options).await })
            .await
            .map_err(|failure| failure.about(lease))?;
        Ok(read::revision(answer.header()))
    }

    async fn delete(&self, key: &str) -> Result<bool, Error> {
        limits::check_key(key)?;
        let answer = self.link.call(|mut client| async move { client.delete(key, None).await }).await?;
        Ok(answer.deleted() > 0)
    }

    async fn compare_and_put(
        &self,
        key: &str,
        expected: Expected,
        value: Bytes,
        lease: Option<LeaseId>,
    ) -> Result<Revision, Error> {
        limits::check_key(key)?;
        limits::check_value(&value)?;
        let modified = match expected {
            Expected::Absent => 0,
            // etcd takes 0 for absent.
            Expected::Modified(Revision(..=0)) => return Err(Error::Conflict { key: key.to_owned() }),
            Expected::Modified(Revision(modified)) => modified,
        };
        let compare = Compare::mod_revision(key, CompareOp::Equal, modified);
        self.transact(key, compare, TxnOp::put(key, value, put_options(lease)), lease).await
    }

    async fn compare_and_delete(&self, key: &str, modified: Revision) -> Result<(), Error> {
        limits::check_key(key)?;
        if modified.0 <= 0 {
            return Err(Error::Conflict { key: key.to_owned() });
        }
        let compare = Compare::mod_revision(key, CompareOp::Equal, modified.0);
        self.transact(key, compare, TxnOp::delete(key, None), None).await?;
        Ok(())
    }

    async fn grant(&self, ttl: Duration) -> Result<LeaseId, Error> {
        let seconds = limits::lease_seconds(ttl)?;
        let answer = self.link.call(|mut client| async move { client.lease_grant(seconds.into(), None).await }).await?;
        Ok(LeaseId(answer.id()))
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<Duration, Error> {
        // One stream for each renewal: a long-lived one dies silently with its connection. etcd-client hides the time
        // in the first answer, so a second one is asked for.
        let renewed = self.link.call(|mut client| async move {
            let (mut keeper, mut answers) = client.lease_keep_alive(lease.0).await?;
            keeper.keep_alive().await?;
            answers.message().await
        });
        let seconds = renewed.await.map_err(|failure| failure.about(Some(lease)))?.map_or(0, |answer| answer.ttl());
        match u64::try_from(seconds) {
            Ok(seconds @ 1..) => Ok(Duration::from_secs(seconds)),
            _ => Err(Error::LeaseEnded { lease }),
        }
    }

    async fn revoke(&self, lease: LeaseId) -> Result<(), Error> {
        match self.link.call(|mut client| async move { client.lease_revoke(lease.0).await }).await {
            Ok(_) | Err(Failure::LeaseEnded) => Ok(()),
            Err(failure) => Err(failure.into()),
        }
    }

    async fn watch(&self, prefix: &str) -> Result<WatchStream, Error> {
        limits::check_prefix(prefix)?;
        Ok(watch::stream(Arc::clone(&self.link), prefix.to_owned()))
    }
}
