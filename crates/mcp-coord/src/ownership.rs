//! Owning a key: one owner at a time, each with a greater epoch than the one before.
//!
//! Safety comes from the epoch alone: it is the revision at which the owner's key was created, so it grows with every
//! owner, and a store that refuses writes of an older epoch is safe whatever clocks do. Time serves liveness only:
//!
//! - O-1: the key exists only under its owner's lease, and only its absence lets another one in.
//! - O-2: the owner's view ends first. It counts from before a renewal was sent, on this machine's monotonic clock, and
//!   stops a tenth of the lease's time earlier than the lease can end, so that clocks may differ by that much.
//! - O-3: once lost, an ownership never comes back; claim again for a new epoch.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{
    backoff::{Backoff, jittered},
    limits,
    model::{Change, Coordinator, Error, Expected, LeaseId, Revision, WatchStream},
};

/// Shortest pause before a failed attempt is repeated.
const PAUSE_FIRST: Duration = Duration::from_millis(50);
/// A lease is renewed this many times within its time, so that two may fail.
const RENEWALS_PER_LEASE: u32 = 3;
/// The part of a lease's time that the owner does not count on.
const MARGIN_PER_LEASE: u32 = 10;
/// How often giving the key up at the end is tried; after that its lease ends by itself.
const RELEASES_MAX: usize = 2;

/// A key that this process owns, kept in the background until it is lost, released or dropped.
#[derive(Debug)]
pub struct Ownership {
    key: String,
    epoch: Revision,
    view: Arc<View>,
    stop: DropGuard,
    task: JoinHandle<()>,
}

/// The owner's view of its own lease.
#[derive(Debug)]
struct View {
    held_until: Mutex<Instant>,
    lost: CancellationToken,
}

impl Ownership {
    /// Waits until `key` has no owner, and owns it. `owner` becomes its value, for people to read. `ttl` is brought
    /// within [`limits`]; it is how long the key stays without an owner after this process has died.
    ///
    /// While the backend is away it goes on trying.
    ///
    /// # Cancellation
    /// Dropping the future may leave a claim behind, which ends after `ttl` by itself.
    pub async fn claim(coord: Arc<dyn Coordinator>, key: String, owner: Bytes, ttl: Duration) -> Self {
        let ttl = ttl.clamp(limits::LEASE_TTL_MIN, limits::LEASE_TTL_MAX);
        let (claim, held_until) = Claimant { coord: &coord, key: &key, owner, ttl }.win().await;
        Self::keep(coord, key, claim, held_until, ttl)
    }

    /// Owns `key` if nobody does; `None` when somebody does. Otherwise like [`claim`](Self::claim), but tries once.
    ///
    /// # Errors
    /// [`Error::Unavailable`]: try again with backoff.
    ///
    /// # Cancellation
    /// As for [`claim`](Self::claim); so rather let it end, which takes a few seconds at most, and release what it won.
    pub async fn try_claim(
        coord: Arc<dyn Coordinator>,
        key: String,
        owner: Bytes,
        ttl: Duration,
    ) -> Result<Option<Self>, Error> {
        let ttl = ttl.clamp(limits::LEASE_TTL_MIN, limits::LEASE_TTL_MAX);
        let claimant = Claimant { coord: &coord, key: &key, owner, ttl };
        let asked = Instant::now();
        let claim = match claimant.attempt().await {
            Ok(claim) => claim,
            Err(Error::Conflict { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let held_until = view_end(asked, ttl);
        if Instant::now() >= held_until {
            claimant.give_back(claim.lease).await;
            return Err(Error::Unavailable { reason: "the claim took longer than its lease".to_owned() });
        }
        Ok(Some(Self::keep(coord, key, claim, held_until, ttl)))
    }

    fn keep(coord: Arc<dyn Coordinator>, key: String, claim: Claim, held_until: Instant, ttl: Duration) -> Self {
        tracing::info!(key, epoch = claim.epoch.0, "owned");
        let view = Arc::new(View { held_until: Mutex::new(held_until), lost: CancellationToken::new() });
        let stop = CancellationToken::new();
        let keeper = Keeper { coord, key: key.clone(), claim, ttl, view: Arc::clone(&view) };
        let task = tokio::spawn(keeper.run(stop.clone()));
        Self { key, epoch: claim.epoch, view, stop: stop.drop_guard(), task }
    }

    /// The key.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The revision at which this ownership began. Greater than that of every owner before.
    pub fn epoch(&self) -> u64 {
        self.epoch.0.unsigned_abs()
    }

    /// True while nobody else can own the key, as far as clocks run alike (O-2). It looks at the clock itself, so it
    /// is right also when this process was stopped for a while.
    pub fn is_held(&self) -> bool {
        !self.view.lost.is_cancelled() && Instant::now() < self.view.held_until()
    }

    /// Resolves when the ownership can no longer be assured: the lease was not renewed in time, or the key is
    /// gone. The future stands on its own and may outlive this value.
    pub fn lost(&self) -> impl Future<Output = ()> + Send + 'static {
        self.view.lost.clone().cancelled_owned()
    }

    /// Gives the key up, so that another may own it at once. Returns after a few seconds at most; when the backend is
    /// away by then, the key is free when its lease ends. Dropping the ownership does the same in the background.
    ///
    /// Stop writing under its epoch first.
    pub async fn release(self) {
        drop(self.stop);
        if let Err(error) = self.task.await {
            tracing::error!(%error, "ownership task failed");
        }
    }
}

impl View {
    fn held_until(&self) -> Instant {
        *self.held_until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn renewed(&self, held_until: Instant) {
        *self.held_until.lock().unwrap_or_else(PoisonError::into_inner) = held_until;
    }
}

/// A won key.
#[derive(Debug, Clone, Copy)]
struct Claim {
    lease: LeaseId,
    epoch: Revision,
}

/// The end of the owner's view of a lease that lasts `left` from when it was `asked` for.
fn view_end(asked: Instant, left: Duration) -> Instant {
    asked + left - left / MARGIN_PER_LEASE
}

struct Claimant<'a> {
    coord: &'a Arc<dyn Coordinator>,
    key: &'a str,
    owner: Bytes,
    ttl: Duration,
}

impl Claimant<'_> {
    async fn win(&self) -> (Claim, Instant) {
        let mut backoff = Backoff::new(PAUSE_FIRST, self.ttl);
        loop {
            let asked = Instant::now();
            match self.attempt().await {
                // A claim that took longer than its own lease may be over already.
                Ok(claim) if Instant::now() < view_end(asked, self.ttl) => return (claim, view_end(asked, self.ttl)),
                Ok(claim) => self.give_back(claim.lease).await,
                Err(Error::Conflict { .. }) => {
                    backoff.reset();
                    self.vacancy().await;
                }
                Err(error) => {
                    let pause = backoff.pause();
                    tracing::warn!(key = self.key, %error, ?pause, "claim failed");
                    sleep(pause).await;
                }
            }
        }
    }

    async fn attempt(&self) -> Result<Claim, Error> {
        if self.coord.get(self.key).await?.is_some() {
            return Err(Error::Conflict { key: self.key.to_owned() });
        }
        let lease = self.coord.grant(self.ttl).await?;
        match self.coord.compare_and_put(self.key, Expected::Absent, self.owner.clone(), Some(lease)).await {
            Ok(epoch) => Ok(Claim { lease, epoch }),
            Err(error) => {
                self.give_back(lease).await; // also undoes a write whose answer was lost
                Err(error)
            }
        }
    }

    /// Best effort: a lease that stays behind ends by itself.
    async fn give_back(&self, lease: LeaseId) {
        if let Err(error) = self.coord.revoke(lease).await {
            tracing::debug!(key = self.key, %error, "unused lease was not revoked");
        }
    }

    /// Waits until the key is not there.
    async fn vacancy(&self) {
        let mut changes: WatchStream = match self.coord.watch(self.key).await {
            Ok(changes) => changes,
            Err(error) => {
                tracing::warn!(key = self.key, %error, "owned key cannot be watched");
                return sleep(jittered(self.ttl)).await;
            }
        };
        while let Some(change) = changes.next().await {
            let vacant = match &change {
                Change::Snapshot(snapshot) => !snapshot.entries.iter().any(|entry| entry.key == self.key),
                Change::Delete { key, .. } => key == self.key,
                Change::Put(_) => false,
            };
            if vacant {
                return;
            }
        }
    }
}

struct Keeper {
    coord: Arc<dyn Coordinator>,
    key: String,
    claim: Claim,
    ttl: Duration,
    view: Arc<View>,
}

impl Keeper {
    async fn run(self, stop: CancellationToken) {
        let reason = stop.run_until_cancelled(self.keep()).await;
        self.view.lost.cancel(); // before the key is free (O-2)
        match reason {
            Some(reason) => tracing::warn!(key = self.key, epoch = self.claim.epoch.0, reason, "ownership lost"),
            None => self.give_up().await,
        }
    }

    /// Renews the lease until the ownership is lost; says why.
    async fn keep(&self) -> &'static str {
        let interval = self.ttl / RENEWALS_PER_LEASE;
        let mut backoff = Backoff::new(PAUSE_FIRST, interval);
        let mut pause = jittered(interval);
        loop {
            let renewal = async {
                sleep(pause).await;
                self.renew().await
            };
            let outcome = tokio::select! {
                outcome = renewal => outcome,
                () = sleep_until(self.view.held_until()) => return "not renewed in time",
            };
            pause = match outcome {
                Ok(()) => {
                    backoff.reset();
                    jittered(interval)
                }
                Err(Error::LeaseEnded { .. }) => return "lease ended",
                Err(Error::Conflict { .. }) => return "key removed",
                Err(error) => {
                    let pause = backoff.pause();
                    tracing::warn!(key = self.key, %error, ?pause, "lease renewal failed");
                    pause
                }
            };
        }
    }

    /// Renews the lease, and only then the view: the key must still be the one that was won.
    async fn renew(&self) -> Result<(), Error> {
        let asked = Instant::now();
        let left = self.coord.keep_alive(self.claim.lease).await?;
        match self.coord.get(&self.key).await? {
            Some(found) if found.created == self.claim.epoch => {
                self.view.renewed(view_end(asked, left));
                Ok(())
            }
            _ => Err(Error::Conflict { key: self.key.clone() }),
        }
    }

    async fn give_up(&self) {
        for _ in 0..RELEASES_MAX {
            match self.coord.revoke(self.claim.lease).await {
                Ok(()) => {
                    tracing::info!(key = self.key, epoch = self.claim.epoch.0, "ownership released");
                    return;
                }
                Err(error) => tracing::warn!(key = self.key, %error, "ownership was not released"),
            }
            sleep(jittered(PAUSE_FIRST)).await;
        }
    }
}
