//! Streams: watches and logs.

use std::pin::Pin;

use futures_util::{Stream, StreamExt as _, stream};
use mcp_proto::{
    TaskId,
    scheduler::v1::{ReadTaskLogsResponse, WatchTasksResponse},
};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::Tasks;
use crate::{
    error::Error,
    hub::{TopicSubscription, Watch},
};

/// Lines of one response.
const LINES_PER_RESPONSE_MAX: usize = 1_000;

/// Answers of a watch.
pub(super) type WatchStream = Pin<Box<dyn Stream<Item = Result<WatchTasksResponse, Status>> + Send>>;
/// Answers of a log.
pub(super) type LogStream = Pin<Box<dyn Stream<Item = Result<ReadTaskLogsResponse, Status>> + Send>>;

/// First an empty response, then changes until the caller leaves or the service closes.
pub(super) fn watch(watch: Watch, closing: CancellationToken) -> WatchStream {
    let in_place = stream::iter([Ok(WatchTasksResponse::default())]);
    let changes = stream::unfold(Some((watch, closing)), |state| async {
        let (mut watch, closing) = state?;
        match closing.run_until_cancelled(watch.next()).await {
            Some(response) => Some((Ok(response), Some((watch, closing)))),
            None => Some((Err(Error::ShuttingDown.into()), None)),
        }
    });
    Box::pin(in_place.chain(changes))
}

/// A reader of one log.
struct LogReader {
    tasks: Tasks,
    id: TaskId,
    after_seq: u64,
    /// Set to follow.
    topic: Option<TopicSubscription>,
    /// The task was final before the latest read, so nothing follows what that read gave.
    is_final: bool,
}

/// The stored lines, and with a topic also those to come, until the task is final.
pub(super) fn logs(tasks: Tasks, id: TaskId, after_seq: u64, topic: Option<TopicSubscription>) -> LogStream {
    let reader = LogReader { tasks, id, after_seq, is_final: topic.is_none(), topic };
    Box::pin(stream::unfold(Some(reader), |state| async {
        let mut reader = state?;
        match reader.next().await {
            Ok(Some(response)) => Some((Ok(response), Some(reader))),
            Ok(None) => None,
            Err(error) => Some((Err(error.into()), None)),
        }
    }))
}

impl LogReader {
    async fn next(&mut self) -> Result<Option<ReadTaskLogsResponse>, Error> {
        loop {
            let handle = self.tasks.deps.partition.handle()?;
            let (id, after_seq) = (self.id, self.after_seq);
            let read =
                self.tasks.deps.reads.read(&handle, move |store| store.logs(id, after_seq, LINES_PER_RESPONSE_MAX));
            let lines = read.await?;
            if let Some(last) = lines.last() {
                self.after_seq = last.seq;
                return Ok(Some(ReadTaskLogsResponse { lines }));
            }
            if self.is_final {
                return Ok(None);
            }
            self.is_final = self.tasks.stored(&handle, id).await?.moving.state().is_final();
            if let Some(topic) = self.topic.as_mut().filter(|_| !self.is_final) {
                let closing = &self.tasks.deps.closing;
                closing.run_until_cancelled(topic.changed()).await.ok_or(Error::ShuttingDown)?;
            }
        }
    }
}
