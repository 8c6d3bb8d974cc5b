//! The trait and its types.

use std::{collections::BTreeMap, fmt, pin::Pin, str::FromStr, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::Stream;
use serde::{Deserialize, Serialize};

/// A point in the history of all keys. It only grows; each successful write makes a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Revision(pub i64);

/// A lease: keys written under it disappear when it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId(pub i64);

impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

impl FromStr for LeaseId {
    type Err = Error;

    /// Reads what `Display` wrote.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the text is not a hexadecimal number.
    fn from_str(text: &str) -> Result<Self, Error> {
        u64::from_str_radix(text, 16)
            .map(|number| Self(number.cast_signed()))
            .map_err(|_| Error::Invalid { reason: format!("`{text}` is not a lease id") })
    }
}

/// A key and what it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyValue {
    /// The key.
    pub key: String,
    /// Its value; ours are readable JSON.
    pub value: Bytes,
    /// Revision at which the key came to be. An owner uses it as its epoch.
    pub created: Revision,
    /// Revision of the latest write.
    pub modified: Revision,
    /// Lease it was written under.
    pub lease: Option<LeaseId>,
}

/// All keys under a prefix at one revision, sorted by key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The keys.
    pub entries: Vec<KeyValue>,
    /// The revision they were read at.
    pub revision: Revision,
}

/// What a watch tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Everything under the prefix: the first item of a watch, and again whenever changes may have been missed
    /// (compaction, a lost connection). It replaces all that was known before; what it lacks is gone.
    Snapshot(Snapshot),
    /// A key was written.
    Put(KeyValue),
    /// A key is gone.
    Delete {
        /// The key.
        key: String,
        /// The revision at which it went.
        revision: Revision,
    },
}

/// What a compare-and-set expects to find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// The key must not exist.
    Absent,
    /// The key must exist and have been written last at this revision.
    Modified(Revision),
}

/// An endless stream of changes. It reconnects by itself and never yields an error: while the backend is away it is
/// silent, and when it is back it goes on, with a new snapshot if something was missed. Dropping it ends the watch.
pub type WatchStream = Pin<Box<dyn Stream<Item = Change> + Send>>;

/// Why a coordination call failed. One variant for each thing a caller can do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A compare-and-set found something else. Read again, then decide.
    #[error("key `{key}` is not as expected")]
    Conflict {
        /// The key.
        key: String,
    },
    /// The lease has ended. Grant a new one and write the keys again.
    #[error("lease `{lease}` has ended")]
    LeaseEnded {
        /// The lease.
        lease: LeaseId,
    },
    /// The backend does not answer. A write may or may not have happened. Retry with backoff.
    #[error("coordination is unavailable: {reason}")]
    Unavailable {
        /// What failed, for people.
        reason: String,
    },
    /// The request can never succeed: an empty key, a value over the limit, a ttl out of range.
    #[error("invalid coordination request: {reason}")]
    Invalid {
        /// What is wrong.
        reason: String,
    },
}

/// Keys, leases and watches. Every clause below is a function of the conformance suite.
///
/// - Writes are linearizable: a read that starts after a write returned sees it.
/// - [`Revision`]s only grow, also across a restart of the process or of the backend.
/// - Keys under a lease disappear when it expires or is revoked, and a watch tells so.
/// - A watch yields a snapshot first, then every later change under the prefix exactly once, in revision order.
/// - Calls fail with [`Error::Unavailable`] within a few seconds while the backend is away; none hangs.
/// - Keys, values and times outside of [`limits`](crate::limits) are refused with [`Error::Invalid`].
///
/// Dropping the future of a call leaves open whether a write happened.
#[async_trait]
pub trait Coordinator: Send + Sync + fmt::Debug + 'static {
    /// The key and its value, or `None`.
    async fn get(&self, key: &str) -> Result<Option<KeyValue>, Error>;

    /// All keys that start with `prefix`, at one revision, sorted.
    async fn range(&self, prefix: &str) -> Result<Snapshot, Error>;

    /// Writes a key. With a lease, the key lives as long as the lease.
    async fn put(&self, key: &str, value: Bytes, lease: Option<LeaseId>) -> Result<Revision, Error>;

    /// Removes a key. `false` when there was none.
    async fn delete(&self, key: &str) -> Result<bool, Error>;

    /// Writes a key if it is as `expected`, in one step. [`Error::Conflict`] when it is not.
    async fn compare_and_put(
        &self,
        key: &str,
        expected: Expected,
        value: Bytes,
        lease: Option<LeaseId>,
    ) -> Result<Revision, Error>;

    /// Removes a key if it was written last at `modified`, in one step. [`Error::Conflict`] when it was not.
    async fn compare_and_delete(&self, key: &str, modified: Revision) -> Result<(), Error>;

    /// Makes a lease that ends `ttl` (1 s to 1 h, whole seconds, rounded up) after its last keep-alive.
    async fn grant(&self, ttl: Duration) -> Result<LeaseId, Error>;

    /// Renews a lease; the time it now lasts comes back. [`Error::LeaseEnded`] when it is too late.
    async fn keep_alive(&self, lease: LeaseId) -> Result<Duration, Error>;

    /// Ends a lease and removes its keys. Ending it twice is not an error.
    async fn revoke(&self, lease: LeaseId) -> Result<(), Error>;

    /// Watches all keys that start with `prefix`. It answers at once, also while the backend is away: the first
    /// snapshot then comes when the backend is back.
    async fn watch(&self, prefix: &str) -> Result<WatchStream, Error>;
}

/// What an instance of a service tells about itself, as JSON under [`keys::instance`](crate::keys::instance).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceRecord {
    /// Name of the service.
    pub service: String,
    /// Name of the copy, unique within the service.
    pub instance_id: String,
    /// Where it listens, `host:port`.
    pub address: String,
    /// Version of its program.
    #[serde(default)]
    pub version: String,
    /// Failure domain; empty when it has none.
    #[serde(default)]
    pub zone: String,
    /// Share of the calls it takes compared with others.
    #[serde(default = "InstanceRecord::default_weight")]
    pub weight: u32,
    /// Full names of the gRPC services it serves.
    #[serde(default)]
    pub grpc_services: Vec<String>,
    /// Free marks.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// When it registered, milliseconds since 1970.
    #[serde(default)]
    pub registered_unix_ms: u64,
}

impl InstanceRecord {
    /// The weight of an instance that names none.
    pub const fn default_weight() -> u32 {
        100
    }
}
