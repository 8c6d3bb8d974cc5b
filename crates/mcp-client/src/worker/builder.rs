//! Puts a worker together.

use std::{future::Future, sync::Arc, time::Duration};

use serde_json::Value;

use super::{
    abilities::Abilities,
    context::AttemptContext,
    executor::ProcessExecutor,
    handler::{Handler, HandlerError},
    options::{SLOTS_MAX, Schedulers, Taint, WorkerOptions},
    supervisor::Worker,
};

impl Worker {
    /// Starts to make a worker.
    pub fn builder(schedulers: Schedulers) -> WorkerBuilder {
        WorkerBuilder::new(schedulers)
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

    /// Gives the worker a label, which placement rules of tasks compare; a later one under the same name replaces it.
    #[must_use]
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.options.labels.insert(key.into(), value.into());
        self
    }

    /// Keeps tasks away that do not tolerate this.
    #[must_use]
    pub fn taint(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.options.taints.push(Taint { key: key.into(), value: value.into() });
        self
    }

    /// What tasks may take of the machine: CPU in thousandths of a core, memory in bytes. 0 means it is not counted.
    #[must_use]
    pub fn resources(mut self, cpu_millis: u32, memory_bytes: u64) -> Self {
        (self.options.cpu_millis, self.options.memory_bytes) = (cpu_millis, memory_bytes);
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
