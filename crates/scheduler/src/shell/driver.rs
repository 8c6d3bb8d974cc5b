//! The loop, on a thread of its own.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use dashmap::DashMap;
use mcp_engine::{Command, Engine};
use tokio::sync::{mpsc, oneshot};

use super::{
    GAUGES_EVERY, Shell, cache::Cache, effects::Context, handle::Handle, hosted::Hosted, ids::Ids, logs::Logs,
    queues::Queues, request::Request, staging::Staging, workers::Workers,
};
use crate::{
    clock::{Clock, millis},
    conductor::{Conductor, Errand},
    config::Settings,
    error::Error,
    hub::Hub,
    metrics::Metrics,
    store::{self, Store},
    validate::Names,
    workflow::Showing,
};

/// Bytes of staged records after which a batch is committed.
const BATCH_BYTES_MAX: usize = 16 * 1024 * 1024;
/// How long the loop sleeps when no timer is due.
const SLEEP_MAX: Duration = Duration::from_secs(3600);

/// What a loop is made of besides its store.
#[derive(Debug, Clone)]
pub(crate) struct Parts {
    /// Limits and times.
    pub(crate) settings: Arc<Settings>,
    /// Who hears of changes.
    pub(crate) hub: Arc<Hub>,
    /// What is measured.
    pub(crate) metrics: Arc<Metrics>,
    /// The time.
    pub(crate) clock: Clock,
    /// Where errands to the owners of other partitions go.
    pub(crate) errands: mpsc::Sender<Errand>,
}

/// How a loop ended.
#[derive(Debug)]
pub(crate) enum End {
    /// It was told to, and finished what was in its inbox.
    Stopped,
    /// The store failed, or somebody else opened a partition.
    Failed(store::Error),
}

/// Starts a loop that hosts no partition yet.
///
/// How the loop ends comes out of the receiver; nothing comes when it panicked.
///
/// # Errors
/// Its thread cannot be started.
pub(crate) fn start(parts: Parts, store: Arc<dyn Store>) -> Result<(Handle, oneshot::Receiver<End>), store::Error> {
    let mut ids = Ids::new();
    let settings = Arc::clone(&parts.settings);
    let (sender, inbox) = mpsc::channel(settings.inbox_len_max);
    let (live, showing) = (Arc::new(DashMap::new()), Arc::<Showing>::default());
    let shell = Shell {
        engine: Engine::new(engine_config(&settings, ids.seed())),
        store,
        hosted: Hosted::none_of(settings.partitions),
        inbox,
        hub: parts.hub,
        live: Arc::clone(&live),
        metrics: parts.metrics,
        clock: parts.clock,
        now: parts.clock.now(),
        ids,
        names: Names::default(),
        cache: Cache::new(settings.payload_cache_bytes),
        workers: Workers::new(settings.sessions_max, settings.worker_slots_max, millis(settings.worker_lease)),
        queues: Queues::default(),
        logs: Logs::new(settings.log_lines_max, settings.log_bytes_max),
        staging: Staging::new(settings.partitions),
        conductor: Some(Box::new(Conductor::new(Arc::clone(&settings), parts.errands, Arc::clone(&showing)))),
        effects: Vec::new(),
        gauges_at: Instant::now(),
        gauges_stale: false,
        settings: Arc::clone(&settings),
    };
    let (ended, end) = oneshot::channel();
    std::thread::Builder::new()
        .name("scheduler-loop".to_owned())
        .spawn(move || drop(ended.send(shell.run_blocking())))
        .map_err(|error| store::Error::Unavailable { what: "start its thread", source: Box::new(error) })?;
    Ok((Handle::new(sender, settings, live, showing), end))
}

fn engine_config(settings: &Settings, seed: u64) -> mcp_engine::Config {
    mcp_engine::Config {
        seed,
        worker_lease: millis(settings.worker_lease),
        run_timeout_grace: millis(settings.run_timeout_grace),
        lost_attempts_max: settings.lost_attempts_max,
        queue_len_max: settings.queue_len_max,
        tasks_max: settings.tasks_max,
        queues_max: settings.queues_max,
        idempotency_keys_max: settings.idempotency_keys_max,
        ..mcp_engine::Config::default()
    }
}

impl Shell {
    fn run_blocking(mut self) -> End {
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_time().build() {
            Ok(runtime) => runtime,
            Err(error) => {
                return End::Failed(store::Error::Unavailable { what: "start its loop", source: Box::new(error) });
            }
        };
        match runtime.block_on(self.run()) {
            Ok(()) => {
                self.workers.close_all(&Error::ShuttingDown);
                End::Stopped
            }
            Err(error) => {
                tracing::error!(error = %Chain(&error), "the loop stopped");
                let told = match &error {
                    store::Error::Fenced { .. } => Error::NotOwner,
                    _ => Error::Store(Arc::new(store::Error::Unavailable {
                        what: "commit",
                        source: Chain(&error).to_string().into(),
                    })),
                };
                self.fail(&told);
                End::Failed(error)
            }
        }
    }

    async fn run(&mut self) -> Result<(), store::Error> {
        let mut requests = Vec::with_capacity(self.settings.batch_requests_max);
        loop {
            let is_open = self.receive(&mut requests).await;
            self.gauges_stale |= !requests.is_empty();
            for request in requests.drain(..) {
                self.now = self.clock.now();
                self.accept(request)?;
                let full = self.staging.writes.len() >= self.settings.batch_records_max;
                if full || self.staging.bytes >= BATCH_BYTES_MAX {
                    self.flush()?;
                }
            }
            self.tick()?;
            self.flush()?;
            self.set_gauges();
            if !is_open {
                return Ok(());
            }
        }
    }

    /// Waits for requests or the next timer; false when the inbox is closed and empty.
    async fn receive(&mut self, requests: &mut Vec<Request>) -> bool {
        let now = Instant::now();
        let timer = self.engine.next_timer().into_iter().chain(self.conductor_timer()).min();
        let mut due = timer.map_or(now + SLEEP_MAX, |at| self.clock.instant(at).min(now + SLEEP_MAX));
        if self.gauges_stale {
            due = due.min(self.gauges_at + GAUGES_EVERY);
        }
        let received = self.inbox.recv_many(requests, self.settings.batch_requests_max);
        match tokio::time::timeout_at(due.into(), received).await {
            Ok(count) => count > 0,
            Err(_) => true,
        }
    }

    fn tick(&mut self) -> Result<(), store::Error> {
        self.now = self.clock.now();
        if self.engine.next_timer().is_some_and(|at| at <= self.now) {
            let applied = self.apply(Command::Tick, Context::default())?;
            debug_assert!(applied.is_ok(), "a tick is never refused");
        }
        Ok(())
    }

    fn set_gauges(&mut self) {
        let now = Instant::now();
        if now.duration_since(self.gauges_at) >= GAUGES_EVERY {
            self.gauges_at = now;
            let stats = self.engine.stats();
            self.gauges_stale = stats.pending > 0; // what waits grows older
            self.metrics.holds(&stats, self.inbox.len());
            self.metrics.queues(&self.engine, self.clock.now());
        }
    }
}

/// An error with its causes.
struct Chain<'a>(&'a store::Error);

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = std::error::Error::source(self.0);
        while let Some(cause) = source {
            write!(f, ": {cause}")?;
            source = cause.source();
        }
        Ok(())
    }
}
