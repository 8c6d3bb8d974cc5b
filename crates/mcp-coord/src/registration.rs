//! Keeping an instance registered.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep},
};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{
    backoff::{Backoff, jittered},
    keys, limits,
    model::{Coordinator, Error, Expected, InstanceRecord, LeaseId},
};

/// Shortest pause before a failed attempt is repeated.
const PAUSE_FIRST: Duration = Duration::from_millis(100);
/// A lease is renewed this many times within its time, so that two may fail.
const RENEWALS_PER_LEASE: u32 = 3;
/// All leases are lost at once when etcd's leader stalls; the instances come back spread over this part of their ttl,
/// at most [`RETURN_SPREAD_MAX`].
const RETURN_SPREAD_PER_LEASE: u32 = 5;
const RETURN_SPREAD_MAX: Duration = Duration::from_secs(2);
/// How often removing the instance at the end is tried; after that its lease ends by itself.
const REMOVALS_MAX: usize = 2;

/// An instance that is kept registered in the background until it is dropped or deregistered.
///
/// It registers under a lease, renews the lease three times within its time, and registers again, after a random
/// pause, when the lease was lost or the key was removed. While the backend is away it goes on trying.
/// Another instance under the same name overwrites it; the later one counts.
#[derive(Debug)]
pub struct Registration {
    stop: DropGuard,
    task: JoinHandle<()>,
    registered: watch::Receiver<bool>,
}

impl Registration {
    /// Starts to register `record` in `cluster`. `ttl` is brought within [`limits`]; it is how long others
    /// see the instance after it has died. A record without a time of registration gets the present one.
    ///
    /// Must be called within a tokio runtime.
    pub fn start(coord: Arc<dyn Coordinator>, cluster: &str, record: InstanceRecord, ttl: Duration) -> Self {
        Self::start_with(coord, cluster, record, ttl, watch::channel(BTreeMap::new()).1)
    }

    /// The same for an instance some of whose labels change while it is registered. `labels` go over those of the record;
    /// a change is written at once, and again until it is there.
    pub fn start_with(
        coord: Arc<dyn Coordinator>,
        cluster: &str,
        mut record: InstanceRecord,
        ttl: Duration,
        labels: watch::Receiver<BTreeMap<String, String>>,
    ) -> Self {
        if record.registered_unix_ms == 0 {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            record.registered_unix_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        }
        let ttl = ttl.clamp(limits::LEASE_TTL_MIN, limits::LEASE_TTL_MAX);
        let (registered, receiver) = watch::channel(false);
        let keeper = Keeper {
            coord,
            key: keys::instance(cluster, &record.service, &record.instance_id),
            record,
            labels,
            ttl,
            registered,
            backoff: Backoff::new(PAUSE_FIRST, ttl / RENEWALS_PER_LEASE),
            displaced: false,
        };
        let stop = CancellationToken::new();
        let task = tokio::spawn(keeper.run(stop.clone()));
        Self { stop: stop.drop_guard(), task, registered: receiver }
    }

    /// Whether it is registered, as far as this process can know: false before the first success, and from the moment
    /// its lease may have ended.
    pub fn is_registered(&self) -> watch::Receiver<bool> {
        self.registered.clone()
    }

    /// Removes the instance at once. Returns after a few seconds at most; when the backend is away by then, the
    /// instance disappears with its lease. Dropping the registration does the same in the background.
    pub async fn deregister(self) {
        drop(self.stop);
        if let Err(error) = self.task.await {
            tracing::error!(%error, "registration task failed");
        }
    }
}

struct Keeper {
    coord: Arc<dyn Coordinator>,
    key: String,
    record: InstanceRecord,
    labels: watch::Receiver<BTreeMap<String, String>>,
    ttl: Duration,
    registered: watch::Sender<bool>,
    backoff: Backoff,
    /// Another instance has written our key.
    displaced: bool,
}

impl Keeper {
    async fn run(mut self, stop: CancellationToken) {
        let mut lease = None;
        stop.run_until_cancelled(self.keep(&mut lease)).await;
        if let Some(lease) = lease {
            self.remove(lease).await;
        }
        self.tell(false);
    }

    /// Never returns. `lease` holds the lease whenever there may be one.
    async fn keep(&mut self, lease: &mut Option<LeaseId>) {
        loop {
            let asked = Instant::now();
            match self.register(lease).await {
                Ok(granted) => {
                    tracing::info!(key = self.key, lease = %granted, "registered");
                    self.backoff.reset();
                    self.displaced = false;
                    self.tell(true);
                    self.renew(granted, asked + self.ttl).await;
                    *lease = None;
                    self.tell(false);
                    tracing::warn!(key = self.key, "lease lost, registering again");
                    let spread = (self.ttl / RETURN_SPREAD_PER_LEASE).min(RETURN_SPREAD_MAX);
                    sleep(spread.mul_f64(rand::random_range(0.0..=1.0))).await;
                }
                Err(error) => {
                    let pause = self.backoff.pause();
                    tracing::warn!(key = self.key, %error, ?pause, "registration failed");
                    sleep(pause).await;
                }
            }
        }
    }

    /// Registers under the lease that an earlier attempt left behind, or a new one. Either lasts for its whole time.
    async fn register(&mut self, held: &mut Option<LeaseId>) -> Result<LeaseId, Error> {
        let outcome = self.write(held).await;
        if matches!(outcome, Err(Error::LeaseEnded { .. })) {
            *held = None;
        }
        outcome
    }

    async fn write(&mut self, held: &mut Option<LeaseId>) -> Result<LeaseId, Error> {
        let value = self.value();
        let lease = match *held {
            Some(lease) => self.coord.keep_alive(lease).await.map(|_| lease)?,
            None => *held.insert(self.coord.grant(self.ttl).await?),
        };
        self.coord.put(&self.key, value, Some(lease)).await?;
        Ok(lease)
    }

    /// The record with its labels of the moment.
    fn value(&mut self) -> Bytes {
        let mut record = self.record.clone();
        record.labels.extend(self.labels.borrow_and_update().clone());
        serde_json::to_vec(&record).expect("a record of texts and numbers is JSON").into()
    }

    /// Waits for the next renewal, or for other labels.
    async fn rest(&mut self, pause: Duration) {
        let changed = async {
            if self.labels.changed().await.is_err() {
                std::future::pending::<()>().await; // nobody can change them any more
            }
        };
        tokio::select! {
            () = sleep(pause) => {}
            () = changed => {}
        }
    }

    /// Renews the lease until it is lost. `until`: the lease cannot end before.
    async fn renew(&mut self, lease: LeaseId, mut until: Instant) {
        let interval = self.ttl / RENEWALS_PER_LEASE;
        let mut pause = jittered(interval);
        loop {
            self.rest(pause).await;
            let asked = Instant::now();
            match self.coord.keep_alive(lease).await {
                Ok(left) => {
                    until = asked + left;
                    pause = jittered(interval);
                    self.backoff.reset();
                    self.restore(lease).await;
                    self.tell(true);
                }
                Err(Error::LeaseEnded { .. }) => return,
                Err(error) => {
                    pause = self.backoff.pause();
                    tracing::warn!(key = self.key, %error, ?pause, "lease renewal failed");
                    if Instant::now() + pause >= until {
                        self.tell(false);
                    }
                }
            }
        }
    }

    /// Writes the key again when somebody removed it or the labels have changed. When this fails, the next renewal tries
    /// again.
    async fn restore(&mut self, lease: LeaseId) {
        let value = self.value();
        let outcome = match self.coord.get(&self.key).await {
            Ok(None) => {
                tracing::warn!(key = self.key, "instance was removed, registering it again");
                self.coord.compare_and_put(&self.key, Expected::Absent, value, Some(lease)).await.map(drop)
            }
            Ok(Some(found)) if found.lease == Some(lease) && found.value != value => {
                self.coord.put(&self.key, value, Some(lease)).await.map(drop)
            }
            Ok(Some(found)) => {
                let displaced = found.lease != Some(lease);
                if displaced && !self.displaced {
                    tracing::warn!(key = self.key, "another instance has registered under this name");
                }
                self.displaced = displaced;
                Ok(())
            }
            Err(error) => Err(error),
        };
        if let Err(error) = outcome {
            tracing::warn!(key = self.key, %error, "instance could not be checked");
        }
    }

    async fn remove(&mut self, lease: LeaseId) {
        for _ in 0..REMOVALS_MAX {
            match self.coord.revoke(lease).await {
                Ok(()) => {
                    tracing::info!(key = self.key, "deregistered");
                    return;
                }
                Err(error) => tracing::warn!(key = self.key, %error, "deregistration failed"),
            }
            sleep(jittered(PAUSE_FIRST)).await;
        }
    }

    fn tell(&self, registered: bool) {
        self.registered.send_if_modified(|told| std::mem::replace(told, registered) != registered);
    }
}
