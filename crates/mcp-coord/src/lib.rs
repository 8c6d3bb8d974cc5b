//! Coordination: keys, leases, watches and ownership.
//!
//! One trait, [`Coordinator`], with two backends: [`Etcd`] for a cluster and [`Embedded`] for one process. Both pass
//! the same conformance suite (`conformance`, feature `test-util`), whose functions are the clauses of the trait's
//! documentation. This crate is the only one that talks to etcd. It holds coordination only, never task data.
//!
//! On top of the trait: [`Registration`] keeps an instance registered, [`Ownership`] keeps a key owned, and [`keys`]
//! says where everything lies.

mod backoff;
#[cfg(feature = "test-util")]
pub mod conformance;
mod embedded;
mod etcd;
pub mod keys;
pub mod limits;
mod model;
mod ownership;
mod registration;

pub use embedded::Embedded;
pub use etcd::Etcd;
pub use model::{
    Change, Coordinator, Error, Expected, InstanceRecord, KeyValue, LeaseId, Revision, Snapshot, WatchStream,
};
pub use ownership::Ownership;
pub use registration::Registration;
