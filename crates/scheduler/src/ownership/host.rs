//! Running the loop: one at a time, and another one when it ends by itself.

use std::{ops::Range, sync::Arc, time::Duration};

use rand::Rng as _;
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use crate::{
    error::Error,
    shell::{self, End, Handle, Parts},
    store::Store,
};

/// First and longest pause before a loop is started again.
const PAUSE: Range<Duration> = Duration::from_millis(20)..Duration::from_secs(5);
/// A loop that ran for so long makes the next pause a short one again.
const STABLE_AFTER: Duration = Duration::from_secs(10);

/// The loop that runs. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Host {
    running: watch::Sender<Option<Handle>>,
    stop: CancellationToken,
}

impl Host {
    /// No loop yet.
    pub(crate) fn new() -> Self {
        Self { running: watch::Sender::new(None), stop: CancellationToken::new() }
    }

    /// The loop that runs.
    ///
    /// # Errors
    /// [`Error::NotOwner`]: none does, for a moment.
    pub(crate) fn handle(&self) -> Result<Handle, Error> {
        self.running.borrow().clone().filter(|handle| !handle.has_ended()).ok_or(Error::NotOwner)
    }

    /// The loop that runs, once there is one. Never resolves after [`stop`](Self::stop).
    pub(super) async fn ready(&self) -> Handle {
        let mut running = self.running.subscribe();
        let found = running.wait_for(|handle| handle.as_ref().is_some_and(|handle| !handle.has_ended())).await;
        match found.ok().and_then(|handle| handle.clone()) {
            Some(handle) => handle,
            None => std::future::pending().await, // we hold the sender
        }
    }

    /// Keeps a loop running until [`stop`](Self::stop).
    pub(super) async fn run(self, parts: Parts, store: Arc<dyn Store>) {
        let mut pause = PAUSE.start;
        while !self.stop.is_cancelled() {
            let started = Instant::now();
            match shell::start(parts.clone(), Arc::clone(&store)) {
                Ok((handle, mut end)) => {
                    self.running.send_replace(Some(handle.clone()));
                    let end = tokio::select! {
                        end = &mut end => end,
                        () = self.stop.cancelled() => {
                            handle.stop().await;
                            end.await
                        }
                    };
                    self.running.send_replace(None);
                    report(end.ok());
                }
                Err(error) => {
                    tracing::error!(error = &error as &dyn std::error::Error, "the loop cannot be started");
                }
            }
            if started.elapsed() >= STABLE_AFTER {
                pause = PAUSE.start;
            }
            let jittered = pause.mul_f64(rand::rng().random_range(0.5..1.0));
            self.stop.run_until_cancelled(sleep(jittered)).await;
            pause = (pause * 2).min(PAUSE.end);
        }
    }

    /// Lets the loop finish what is in its inbox, and starts no other. [`run`](Self::run) returns then.
    pub(super) fn stop(&self) {
        self.stop.cancel();
    }
}

/// What the loop says of its end is in its own log; only a panic says nothing.
fn report(end: Option<End>) {
    match end {
        Some(End::Failed(error)) => tracing::warn!(%error, "the loop has failed; another one takes over what is owned"),
        Some(End::Stopped) => {}
        None => tracing::error!("the loop panicked; another one takes over what is owned"),
    }
}
