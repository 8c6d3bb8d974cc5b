//! What a submitter does with a queue, whichever store is behind it.

use apalis::prelude::BoxDynError;
use serde::{Deserialize, Serialize};

/// The name of the queue.
pub(crate) const QUEUE: &str = "no-op";

/// Tasks that a worker fetches at once. The default is 10; 500 is what makes it fast.
pub(crate) const FETCH: usize = 500;

/// A task: it does nothing, or says how long ago it was submitted.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Job {
    /// When it was submitted, if that matters.
    pub(crate) submitted: Option<i64>,
}

/// The handler of the worker.
pub(crate) async fn handle(job: Job) -> Result<(), BoxDynError> {
    if let Some(submitted) = job.submitted {
        crate::stamp::record(submitted)?;
    }
    Ok(())
}

/// A queue to submit to. Clones share it, so that several submits can be under way.
pub(crate) trait Queue: Clone + Send + Sync + 'static {
    /// Tasks that may be submitted and not completed before the next bulk submit waits, if the store needs a limit.
    const BACKLOG_MAX: Option<u64>;

    /// Submits one task.
    fn push(&mut self, job: Job) -> impl Future<Output = anyhow::Result<()>> + Send;

    /// Submits many tasks at once.
    fn push_bulk(&mut self, jobs: Vec<Job>) -> impl Future<Output = anyhow::Result<()>> + Send;

    /// How many tasks are completed on record.
    fn completed(&mut self) -> impl Future<Output = anyhow::Result<u64>> + Send;

    /// Forgets all tasks and workers.
    fn reset(&mut self) -> impl Future<Output = anyhow::Result<()>> + Send;
}
