//! The conformance suite: one function for each clause of [`Coordinator`]'s documentation and of what is built on it.
//!
//! Every backend passes it: [`conformance!`](crate::conformance!) makes one test of each clause, and
//! [`restart_conformance!`](crate::restart_conformance!) those for backends that outlast a restart. A clause takes a
//! backend of its own, works under keys of its own and panics when the clause does not hold.

#![expect(clippy::unwrap_used, reason = "a clause panics when it does not hold")]

mod key_clauses;
mod lease_clauses;
mod owner_clauses;
mod restart_clauses;
mod watch_clauses;

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::time::{sleep, timeout};

pub use self::{key_clauses::*, lease_clauses::*, owner_clauses::*, restart_clauses::*, watch_clauses::*};
use crate::{Change, Coordinator, InstanceRecord, KeyValue, Snapshot, WatchStream};

/// A backend under test; dropping it removes it.
#[async_trait]
pub trait Backend: Send + fmt::Debug {
    /// A handle on it. It stays good over a restart only when the backend says so; ask again after one.
    fn coordinator(&self) -> Arc<dyn Coordinator>;

    /// Stops it and starts it again on the same data.
    async fn restart(&mut self);
}

/// Longest wait for what takes well under a second on an idle machine.
const SOON: Duration = Duration::from_secs(30);
/// The shortest lease.
const LEASE_SHORT: Duration = Duration::from_secs(1);
/// A lease that does not end during a test.
const LEASE_LONG: Duration = Duration::from_secs(600);

/// Makes a module `$module` with a test for each clause. `$start` is an expression that makes a fresh
/// `Box<dyn Backend>`; it is evaluated within each test, in async code.
#[macro_export]
macro_rules! conformance {
    ($module:ident, $start:expr) => {
        $crate::conformance! { @tests $module, $start;
            a_written_key_is_read_back
            a_key_keeps_its_creation_when_it_is_written_again
            a_range_is_sorted_and_holds_its_prefix_only
            a_long_range_is_whole
            deleting_tells_whether_there_was_a_key
            compare_and_put_needs_what_it_expects
            compare_and_delete_needs_what_it_expects
            of_many_writers_one_wins
            revisions_grow_with_every_write
            requests_outside_of_the_limits_are_refused
            a_key_ends_with_its_lease
            a_lease_that_is_kept_alive_does_not_end
            an_ended_lease_cannot_be_used
            a_revoked_lease_takes_its_keys_with_it
            a_key_leaves_its_lease_when_it_is_written_without
            a_watch_tells_what_is_there_then_every_change_in_order
            a_watch_tells_nothing_of_other_prefixes
            a_watch_tells_the_end_of_a_lease
            watches_under_load_tell_every_change_once
            a_slow_watch_ends_up_with_the_truth
            a_key_has_one_owner_at_a_time
            an_owner_keeps_its_key_longer_than_one_lease
            every_owner_has_a_greater_epoch
            an_owner_notices_that_its_key_is_gone
            an_owner_notices_that_its_lease_is_gone
            an_instance_is_registered_until_it_deregisters
            an_instance_registers_again_after_its_lease_was_lost
            an_instance_registers_again_after_its_key_was_removed
            an_instance_shows_its_labels_of_the_moment
            a_dropped_registration_removes_its_instance
        }
    };
    (@tests $module:ident, $start:expr; $($clause:ident)+) => {
        mod $module {
            use super::*;
            $(
                #[tokio::test]
                async fn $clause() {
                    let backend: Box<dyn $crate::conformance::Backend> = $start;
                    $crate::conformance::$clause(backend.coordinator()).await;
                }
            )+
        }
    };
}

/// Makes a module `$module` with a test for each clause about restarts. See [`conformance!`](crate::conformance!).
#[macro_export]
macro_rules! restart_conformance {
    ($module:ident, $start:expr) => {
        $crate::restart_conformance! { @tests $module, $start;
            revisions_grow_over_a_restart
            keys_without_a_lease_survive_a_restart
            an_epoch_grows_over_a_restart
        }
    };
    (@tests $module:ident, $start:expr; $($clause:ident)+) => {
        mod $module {
            use super::*;
            $(
                #[tokio::test]
                async fn $clause() {
                    let backend: Box<dyn $crate::conformance::Backend> = $start;
                    $crate::conformance::$clause(backend).await;
                }
            )+
        }
    };
}

fn text(value: &str) -> Bytes {
    Bytes::copy_from_slice(value.as_bytes())
}

async fn next(watch: &mut WatchStream) -> Change {
    timeout(SOON, watch.next()).await.expect("the watch tells something in time").expect("a watch never ends")
}

async fn next_snapshot(watch: &mut WatchStream) -> Snapshot {
    match next(watch).await {
        Change::Snapshot(snapshot) => snapshot,
        other => panic!("a snapshot was expected, not {other:?}"),
    }
}

async fn next_put(watch: &mut WatchStream) -> KeyValue {
    match next(watch).await {
        Change::Put(entry) => entry,
        other => panic!("a put was expected, not {other:?}"),
    }
}

/// Reads `key` until it is as `wanted`.
async fn eventually(coord: &Arc<dyn Coordinator>, key: &str, wanted: impl Fn(Option<&KeyValue>) -> bool) {
    let wait = async {
        while !wanted(coord.get(key).await.expect("the backend answers").as_ref()) {
            sleep(Duration::from_millis(10)).await;
        }
    };
    let last = timeout(SOON, wait).await;
    assert!(last.is_ok(), "`{key}` is still {:?}", coord.get(key).await);
}

fn instance(id: &str) -> InstanceRecord {
    InstanceRecord {
        service: "conformance".to_owned(),
        instance_id: id.to_owned(),
        address: "127.0.0.1:1".to_owned(),
        version: "1".to_owned(),
        zone: String::new(),
        weight: InstanceRecord::default_weight(),
        grpc_services: Vec::new(),
        labels: std::collections::BTreeMap::new(),
        registered_unix_ms: 0,
    }
}
