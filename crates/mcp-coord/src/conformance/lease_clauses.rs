//! Clauses about leases: grant, keep-alive, expiry, revoke.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep};

use super::{LEASE_LONG, LEASE_SHORT, eventually, text};
use crate::{Coordinator, Error, Expected, LeaseId};

/// A key under a lease disappears when nobody keeps the lease alive, but not before its time.
pub async fn a_key_ends_with_its_lease(coord: Arc<dyn Coordinator>) {
    let lease = coord.grant(LEASE_SHORT).await.unwrap();
    let start = Instant::now();
    coord.put("/leased", text("x"), Some(lease)).await.unwrap();
    assert_eq!(coord.get("/leased").await.unwrap().expect("the lease is fresh").lease, Some(lease));
    eventually(&coord, "/leased", |entry| entry.is_none()).await;
    // Counted from after the grant, so a little less than the lease's time may have passed here.
    assert!(start.elapsed() > LEASE_SHORT / 2, "the lease ended after {:?}", start.elapsed());
    assert!(coord.range("/leased").await.unwrap().entries.is_empty());
}

/// Each keep-alive gives the lease its whole time again and tells it.
pub async fn a_lease_that_is_kept_alive_does_not_end(coord: Arc<dyn Coordinator>) {
    let lease = coord.grant(2 * LEASE_SHORT).await.unwrap();
    coord.put("/leased", text("x"), Some(lease)).await.unwrap();
    let end = Instant::now() + 4 * LEASE_SHORT;
    while Instant::now() < end {
        let left = coord.keep_alive(lease).await.unwrap();
        assert!((2 * LEASE_SHORT..5 * LEASE_SHORT).contains(&left), "{left:?}");
        assert!(coord.get("/leased").await.unwrap().is_some());
        sleep(LEASE_SHORT / 4).await; // the renewal interval, not a synchronisation
    }
}

/// A lease that has ended, or never was, is refused by every call that needs it; revoking it is not an error.
pub async fn an_ended_lease_cannot_be_used(coord: Arc<dyn Coordinator>) {
    let revoked = coord.grant(LEASE_LONG).await.unwrap();
    coord.revoke(revoked).await.unwrap();
    let expired = coord.grant(LEASE_SHORT).await.unwrap();
    coord.put("/leased", text("x"), Some(expired)).await.unwrap();
    eventually(&coord, "/leased", |entry| entry.is_none()).await;

    for ended in [revoked, expired, LeaseId(i64::MAX / 7)] {
        let is_ended = |error: &Error| matches!(error, Error::LeaseEnded { lease } if *lease == ended);
        let outcome = coord.keep_alive(ended).await;
        assert!(outcome.as_ref().is_err_and(is_ended), "{outcome:?}");
        let outcome = coord.put("/leased", text("x"), Some(ended)).await;
        assert!(outcome.as_ref().is_err_and(is_ended), "{outcome:?}");
        let outcome = coord.compare_and_put("/leased", Expected::Absent, text("x"), Some(ended)).await;
        assert!(outcome.as_ref().is_err_and(is_ended), "{outcome:?}");
        coord.revoke(ended).await.unwrap();
        assert_eq!(coord.get("/leased").await.unwrap(), None);
    }
}

/// Revoking a lease removes all its keys, and no others.
pub async fn a_revoked_lease_takes_its_keys_with_it(coord: Arc<dyn Coordinator>) {
    let lease = coord.grant(LEASE_LONG).await.unwrap();
    let other = coord.grant(LEASE_LONG).await.unwrap();
    assert_ne!(lease, other);
    coord.put("/l/1", text("x"), Some(lease)).await.unwrap();
    coord.put("/l/2", text("x"), Some(other)).await.unwrap();
    coord.compare_and_put("/l/3", Expected::Absent, text("x"), Some(lease)).await.unwrap();
    coord.put("/l/4", text("x"), None).await.unwrap();
    coord.revoke(lease).await.unwrap();
    let left: Vec<String> = coord.range("/l/").await.unwrap().entries.into_iter().map(|entry| entry.key).collect();
    assert_eq!(left, ["/l/2", "/l/4"]);
}

/// The latest write says which lease a key is under, if any.
pub async fn a_key_leaves_its_lease_when_it_is_written_without(coord: Arc<dyn Coordinator>) {
    let lease = coord.grant(LEASE_LONG).await.unwrap();
    let other = coord.grant(Duration::from_secs(60)).await.unwrap();
    for key in ["/l/free", "/l/moved"] {
        coord.put(key, text("x"), Some(lease)).await.unwrap();
    }
    coord.put("/l/free", text("y"), None).await.unwrap();
    coord.put("/l/moved", text("y"), Some(other)).await.unwrap();
    coord.revoke(lease).await.unwrap();
    assert_eq!(coord.get("/l/free").await.unwrap().expect("it left the lease").lease, None);
    assert_eq!(coord.get("/l/moved").await.unwrap().expect("it left the lease").lease, Some(other));
}
