//! What a worker is made of.

use std::{collections::HashMap, fmt, future::Future, sync::Arc, time::Duration};

use serde_json::Value;
use uuid::Uuid;

use super::{
    context::AttemptContext,
    executor::ProcessExecutor,
    handler::{Handler, HandlerError},
    supervisor::Worker,
};
use crate::discovery::Discovery;

/// Most slots that a worker may have; a scheduler refuses one that claims more attempts than twice as many.
pub const SLOTS_MAX: usize = 10_000;

/// Slots of a worker that says nothing else.
const SLOTS_DEFAULT: usize = 4;
/// How long running attempts may go on after the stop signal.
const DRAIN_GRACE_DEFAULT: Duration = Duration::from_secs(25);
/// First wait before a broken session is opened again, before jitter.
const RECONNECT_MIN_DEFAULT: Duration = Duration::from_millis(100);
/// Longest wait before a broken session is opened again, before jitter.
const RECONNECT_MAX_DEFAULT: Duration = Duration::from_secs(10);

/// Where the schedulers are.
#[derive(Debug, Clone)]
pub enum Schedulers {
    /// These URLs, `http://host:port`, each a scheduler replica or a gateway, which passes the session on to one.
    Fixed(Vec<String>),
    /// The instances of service `scheduler`, as they come and go.
    Discovered(Discovery),
}

/// What a worker tells the schedulers and how it behaves.
#[derive(Debug, Clone)]
pub struct WorkerOptions {
    /// The same in each of its sessions; by default a new UUID.
    pub worker_id: Uuid,
    /// Name for people.
    pub name: String,
    /// Version of the worker's program.
    pub version: String,
    /// Attempts it runs at the same time, 1 to [`SLOTS_MAX`]. With more replicas than slots, a replica may get no
    /// credit while others hold them all, so have at least as many slots as there are replicas.
    pub slots: usize,
    /// Namespaces it serves; none means every one.
    pub namespaces: Vec<String>,
    /// Queues it serves in them; none means every one.
    pub queues: Vec<String>,
    /// How long running attempts may go on after the stop signal before they are handed back.
    pub drain_grace: Duration,
    /// First wait before a broken session is opened again; it doubles, and the wait is drawn between 0 and it.
    pub reconnect_min: Duration,
    /// Longest wait before a broken session is opened again; a quarter of the scheduler's lease when that is shorter,
    /// so that running attempts are claimed in time.
    pub reconnect_max: Duration,
}

impl Default for WorkerOptions {
    fn default() -> Self {
        Self {
            worker_id: Uuid::now_v7(),
            name: String::new(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            slots: SLOTS_DEFAULT,
            namespaces: Vec::new(),
            queues: Vec::new(),
            drain_grace: DRAIN_GRACE_DEFAULT,
            reconnect_min: RECONNECT_MIN_DEFAULT,
            reconnect_max: RECONNECT_MAX_DEFAULT,
        }
    }
}

/// What a worker can run.
#[derive(Default)]
pub(super) struct Abilities {
    pub(super) handlers: HashMap<String, Handler>,
    pub(super) processes: Option<Arc<dyn ProcessExecutor>>,
}

impl fmt::Debug for Abilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Abilities")
            .field("handlers", &self.handlers.keys())
            .field("processes", &self.processes)
            .finish()
    }
}

/// Makes a [`Worker`].
#[derive(Debug)]
pub struct WorkerBuilder {
    schedulers: Schedulers,
    options: WorkerOptions,
    abilities: Abilities,
}

impl WorkerBuilder {
    pub(super) fn new(schedulers: Schedulers) -> Self {
        Self { schedulers, options: WorkerOptions::default(), abilities: Abilities::default() }
    }

    /// Replaces all options at once.
    #[must_use]
    pub fn options(mut self, options: WorkerOptions) -> Self {
        self.options = options;
        self
    }

    /// Runs at most this many attempts at the same time, 1 to [`SLOTS_MAX`]; what is outside is moved to the nearest.
    #[must_use]
    pub fn slots(mut self, slots: usize) -> Self {
        self.options.slots = slots;
        self
    }

    /// The worker's name for people.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.options.name = name.into();
        self
    }

    /// The version of the worker's program.
    #[must_use]
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.options.version = version.into();
        self
    }

    /// Serves only these namespaces.
    #[must_use]
    pub fn namespaces(mut self, namespaces: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.options.namespaces = namespaces.into_iter().map(Into::into).collect();
        self
    }

    /// Serves only these queues.
    #[must_use]
    pub fn queues(mut self, queues: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.options.queues = queues.into_iter().map(Into::into).collect();
        self
    }

    /// How long running attempts may go on after the stop signal before they are handed back.
    #[must_use]
    pub fn drain_grace(mut self, drain_grace: Duration) -> Self {
        self.options.drain_grace = drain_grace;
        self
    }

    /// The first and the longest wait before a broken session is opened again.
    #[must_use]
    pub fn reconnect(mut self, min: Duration, max: Duration) -> Self {
        (self.options.reconnect_min, self.options.reconnect_max) = (min, max);
        self
    }

    /// Registers a function under a name; a later one under the same name replaces it.
    ///
    /// It runs as an own tokio task, so it must not block the thread for long (`tokio::task::spawn_blocking` is for
    /// that). A cancel, the run timeout and the end of the drain grace drop its future at its next await. A panic
    /// fails the attempt, not the worker.
    #[must_use]
    pub fn handler<F, Fut>(mut self, name: impl Into<String>, function: F) -> Self
    where
        F: Fn(AttemptContext, Value) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Value, HandlerError>> + Send + 'static,
    {
        self.abilities.handlers.insert(name.into(), Handler::new(function));
        self
    }

    /// Runs programs by this executor.
    #[must_use]
    pub fn processes(mut self, executor: Arc<dyn ProcessExecutor>) -> Self {
        self.abilities.processes = Some(executor);
        self
    }

    /// The worker. It does nothing before [`Worker::run`].
    pub fn build(mut self) -> Worker {
        self.options.slots = self.options.slots.clamp(1, SLOTS_MAX);
        Worker::new(self.schedulers, self.options, self.abilities)
    }
}
