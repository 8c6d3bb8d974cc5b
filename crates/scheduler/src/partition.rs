//! Owning the partition: claims it, opens it under the claim's epoch, and opens it again when anything goes wrong.
//!
//! # When coordination is away
//!
//! Without renewals nobody can be sure to be the owner. Stopping then would break the promise that running work goes
//! on, and it is not needed for safety: the store refuses the commits of whoever was superseded. So after a lost
//! ownership the partition goes on under the epoch it has, while the ownership is claimed again in the background:
//!
//! - claimed again, and nobody opened the store in between: the open partition moves to the new epoch. No attempt is
//!   lost, and no session breaks. The engine goes on counting tokens under its own epoch; they still only grow, and
//!   the next owner's epoch is greater than both.
//! - the store was opened by someone else: the next commit is refused, and everything is loaded again under a new
//!   epoch. Workers open new sessions and claim their attempts.
//! - someone else is seen to own the key: the partition closes and waits for its turn.

#[cfg(test)]
mod tests;

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use bytes::Bytes;
use mcp_chassis::server::Readiness;
use mcp_coord::{Coordinator, Ownership};
use rand::Rng as _;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::{
    clock::millis,
    error::Error,
    shell::{self, End, Handle, Parts},
    store::{self, PartitionStore, Store},
};

/// Number of the only partition so far.
pub(crate) const NUMBER: u32 = 0;
/// First and longest pause before a partition is opened again.
const REOPEN_PAUSE: std::ops::Range<Duration> = Duration::from_millis(50)..Duration::from_secs(5);
/// How often, while the ownership is lost, it is looked who has it.
const RIVAL_LOOK: Duration = Duration::from_secs(1);
/// Sweeps in a row before the sweeper rests.
const SWEEPS_IN_A_ROW_MAX: usize = 1_000;

/// The partition as calls see it.
#[derive(Debug)]
pub(crate) struct Partition {
    state: ArcSwap<Result<Handle, Error>>,
    draining: AtomicBool,
}

impl Partition {
    /// A partition that is not open yet.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { state: ArcSwap::from_pointee(Err(Error::NotOwner)), draining: AtomicBool::new(false) })
    }

    /// The open partition.
    ///
    /// # Errors
    /// Why it is not open.
    pub(crate) fn handle(&self) -> Result<Handle, Error> {
        if self.draining.load(Ordering::Acquire) {
            return Err(Error::ShuttingDown);
        }
        (**self.state.load()).clone()
    }

    /// Refuses calls from now on.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Release);
    }

    fn set(&self, state: Result<Handle, Error>) {
        self.state.store(Arc::new(state));
    }
}

/// What keeps a partition open.
#[derive(Debug)]
pub(crate) struct Keeper {
    /// What calls see.
    pub(crate) partition: Arc<Partition>,
    /// Where tasks are kept.
    pub(crate) store: Arc<dyn Store>,
    /// What the partition is made of.
    pub(crate) parts: Parts,
    /// Where ownership is claimed.
    pub(crate) coord: Arc<dyn Coordinator>,
    /// The key to own.
    pub(crate) key: String,
    /// What the key says of its owner; unlike any other's.
    pub(crate) owner: Bytes,
    /// How long the ownership outlives this process.
    pub(crate) lease_ttl: Duration,
    /// Set once the partition is open for the first time.
    pub(crate) readiness: Readiness,
    /// Ends it.
    pub(crate) stop: CancellationToken,
}

type Claim = Pin<Box<dyn Future<Output = Ownership> + Send>>;

/// Why an open partition closed.
enum Closed {
    /// The service stops.
    Stopping(Option<Ownership>),
    /// The loop ended by itself. The ownership is still ours, or being claimed.
    Failed(Result<Ownership, Claim>),
    /// Someone else owns the key.
    Superseded(Claim),
}

impl Keeper {
    /// Keeps the partition open until the service stops; then finishes what is in the inbox, closes the store's
    /// handle and gives the ownership up.
    pub(crate) async fn run(self) {
        let mut claim = self.claim();
        let mut fenced_pause = REOPEN_PAUSE.start;
        loop {
            let Some(ownership) = self.stop.run_until_cancelled(&mut claim).await else { return };
            let mut held = ownership;
            claim = loop {
                let Some(opened) = self.open_with_patience(held.epoch()).await else {
                    return held.release().await;
                };
                let Ok((handle, end)) = opened else {
                    // The store is past this epoch. The next one is greater; whether great enough only the store knows,
                    // so it is not asked again and again at once.
                    held.release().await;
                    let jittered = fenced_pause.mul_f64(rand::rng().random_range(0.5..1.0));
                    if self.stop.run_until_cancelled(tokio::time::sleep(jittered)).await.is_none() {
                        return;
                    }
                    fenced_pause = (fenced_pause * 2).min(REOPEN_PAUSE.end);
                    break self.claim();
                };
                fenced_pause = REOPEN_PAUSE.start;
                self.partition.set(Ok(handle.clone()));
                self.readiness.set_ready(true);
                match self.serve(handle, end, held).await {
                    Closed::Stopping(ownership) => {
                        if let Some(ownership) = ownership {
                            ownership.release().await;
                        }
                        return;
                    }
                    Closed::Failed(Ok(ownership)) => held = ownership,
                    Closed::Failed(Err(claim)) | Closed::Superseded(claim) => break claim,
                }
            };
        }
    }

    fn claim(&self) -> Claim {
        let (coord, key, owner) = (Arc::clone(&self.coord), self.key.clone(), self.owner.clone());
        Box::pin(Ownership::claim(coord, key, owner, self.lease_ttl))
    }

    /// Opens the partition, again and again while the store does not answer. `None` when the service stops,
    /// `Some(Err)` when the store is past this epoch.
    async fn open_with_patience(&self, epoch: u64) -> Option<Result<(Handle, oneshot::Receiver<End>), store::Error>> {
        let mut pause = REOPEN_PAUSE.start;
        loop {
            let error = match self.open(epoch).await {
                Ok(opened) => return Some(Ok(opened)),
                Err(error) => error,
            };
            tracing::warn!(epoch, error = &error as &dyn std::error::Error, ?pause, "partition cannot be opened");
            if matches!(error, store::Error::Fenced { .. }) {
                return Some(Err(error));
            }
            let jittered = pause.mul_f64(rand::rng().random_range(0.5..1.0));
            self.stop.run_until_cancelled(tokio::time::sleep(jittered)).await?;
            self.partition.set(Err(Error::from(error)));
            pause = (pause * 2).min(REOPEN_PAUSE.end);
        }
    }

    async fn open(&self, epoch: u64) -> Result<(Handle, oneshot::Receiver<End>), store::Error> {
        let (store, parts) = (Arc::clone(&self.store), self.parts.clone());
        let opening = tokio::task::spawn_blocking(move || shell::open(parts, store.open(NUMBER, epoch)?, epoch));
        opening.await.unwrap_or_else(|error| {
            Err(store::Error::Unavailable { what: "open the partition", source: Box::new(error) })
        })
    }

    /// Serves the open partition until it closes, whatever the ownership does meanwhile.
    async fn serve(&self, handle: Handle, mut end: oneshot::Receiver<End>, ownership: Ownership) -> Closed {
        let mut owned: Result<Ownership, Claim> = Ok(ownership);
        let sweeping = self.sweep(Arc::clone(handle.store()));
        tokio::pin!(sweeping);
        loop {
            let change = tokio::select! {
                ended = &mut end => Change::Ended(ended.ok()),
                () = self.stop.cancelled() => Change::Stop,
                change = follow(&mut owned) => change,
                () = self.rival(), if owned.is_err() => Change::Rival,
                () = &mut sweeping => Change::Stop,
            };
            match change {
                Change::Ended(end) => {
                    self.partition.set(Err(reason(end)));
                    return Closed::Failed(owned);
                }
                Change::Stop => {
                    self.close(&handle, &mut end, Error::ShuttingDown).await;
                    return Closed::Stopping(owned.ok());
                }
                Change::Lost => {
                    tracing::warn!("ownership lost; going on under the store's fence while it is claimed again");
                    owned = Err(self.claim());
                }
                Change::Claimed(again) => {
                    // When the store refuses the epoch the loop ends, which is the next change.
                    if handle.advance(again.epoch()).await.is_ok() {
                        tracing::info!(epoch = again.epoch(), "ownership claimed again");
                    }
                    owned = Ok(again);
                }
                Change::Rival => {
                    tracing::warn!(key = self.key, "another instance owns the partition");
                    self.close(&handle, &mut end, Error::NotOwner).await;
                    return Closed::Superseded(match owned {
                        Ok(_) => self.claim(),
                        Err(claim) => claim,
                    });
                }
            }
        }
    }

    async fn close(&self, handle: &Handle, end: &mut oneshot::Receiver<End>, told: Error) {
        self.partition.set(Err(told));
        handle.stop().await;
        if let Ok(End::Failed(error)) = end.await {
            tracing::error!(error = &error as &dyn std::error::Error, "partition failed while it was closed");
        }
    }

    /// Resolves when someone else is seen to own the key.
    async fn rival(&self) {
        loop {
            tokio::time::sleep(RIVAL_LOOK).await;
            if let Ok(Some(found)) = self.coord.get(&self.key).await
                && found.value != self.owner
            {
                return;
            }
        }
    }

    /// Removes old tasks from time to time. Never resolves.
    async fn sweep(&self, store: Arc<dyn PartitionStore>) {
        let (retention, interval) = (millis(self.parts.settings.retention), self.parts.settings.sweep_interval);
        loop {
            tokio::time::sleep(interval).await;
            for _ in 0..SWEEPS_IN_A_ROW_MAX {
                let (store, now) = (Arc::clone(&store), self.parts.clock.now());
                let sweep = tokio::task::spawn_blocking(move || store.sweep(now, now.saturating_sub(retention)));
                match sweep.await {
                    Ok(Ok(swept)) => {
                        if swept.tasks > 0 {
                            tracing::debug!(tasks = swept.tasks, keys = swept.keys, "swept");
                        }
                        if !swept.more {
                            break;
                        }
                    }
                    Ok(Err(error)) => {
                        tracing::warn!(error = &error as &dyn std::error::Error, "sweep failed");
                        break;
                    }
                    Err(error) => {
                        tracing::error!(%error, "sweep panicked");
                        break;
                    }
                }
            }
        }
    }
}

/// What happens to an open partition.
enum Change {
    Ended(Option<End>),
    Stop,
    Lost,
    Claimed(Ownership),
    Rival,
}

/// Waits until the ownership is lost, or was claimed again.
async fn follow(owned: &mut Result<Ownership, Claim>) -> Change {
    match owned {
        Ok(ownership) => {
            ownership.lost().await;
            Change::Lost
        }
        Err(claim) => Change::Claimed(claim.await),
    }
}

fn reason(end: Option<End>) -> Error {
    match end {
        Some(End::Failed(error)) => Error::from(error),
        Some(End::Stopped) => Error::NotOwner,
        None => {
            tracing::error!("the partition's loop panicked; it is opened again");
            Error::NotOwner
        }
    }
}
