//! A worker under test.

use std::{sync::Arc, time::Duration};

use mcp_client::{
    testing::FakeScheduler,
    worker::{AttemptContext, Schedulers, Worker, WorkerBuilder},
};
use serde_json::{Value, json};
use tokio::{sync::Semaphore, task::JoinHandle};
use tokio_util::sync::CancellationToken;

/// A running worker; dropping it drops its future.
pub(crate) struct Running {
    pub(crate) stop: CancellationToken,
    pub(crate) task: JoinHandle<()>,
    /// Each permit lets one call of the handler `wait` end.
    pub(crate) gate: Arc<Semaphore>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A worker of one scheduler that reconnects fast.
pub(crate) fn builder(scheduler: &FakeScheduler) -> WorkerBuilder {
    builder_for(Schedulers::Fixed(vec![scheduler.url()]))
}

pub(crate) fn builder_for(schedulers: Schedulers) -> WorkerBuilder {
    Worker::builder(schedulers)
        .name("test")
        .slots(4)
        .reconnect(Duration::from_millis(5), Duration::from_millis(50))
        .drain_grace(Duration::ZERO)
}

/// Runs it with some handlers: `echo` gives its input back, `wait` waits for a permit of the gate, `talk` too, with a
/// line before and one after it.
pub(crate) fn run(builder: WorkerBuilder) -> Running {
    let gate = Arc::new(Semaphore::new(0));
    let doorkeeper = Arc::clone(&gate);
    let talking = Arc::clone(&gate);
    let worker = builder
        .handler("echo", |_: AttemptContext, input: Value| async move { Ok(input) })
        .handler("wait", move |_: AttemptContext, _: Value| {
            let gate = Arc::clone(&doorkeeper);
            async move {
                gate.acquire().await?.forget();
                Ok(json!("waited"))
            }
        })
        .handler("talk", move |context: AttemptContext, _: Value| {
            let gate = Arc::clone(&talking);
            async move {
                context.log("begin").await;
                gate.acquire().await?.forget();
                context.log("end").await;
                Ok(json!("talked"))
            }
        })
        .build();
    let stop = CancellationToken::new();
    let task = tokio::spawn(worker.run(stop.clone()));
    Running { stop, task, gate }
}
