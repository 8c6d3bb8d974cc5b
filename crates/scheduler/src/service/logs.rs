//! Reading logs, and following them until the task is final, wherever its partition goes meanwhile.

use std::{pin::Pin, sync::Arc};

use futures_util::{Stream, stream};
use mcp_proto::{
    TaskId,
    scheduler::v1::{ReadTaskLogsRequest, ReadTaskLogsResponse},
};
use tonic::{Status, Streaming};

use super::Tasks;
use crate::{
    error::Error,
    hub::{Heard, TopicSubscription},
    routing::{Caller, Outcome, Owner, Peer, Repeat},
    shell::Home,
};

/// Lines of one response.
const LINES_PER_RESPONSE_MAX: usize = 1_000;

/// Answers of a log.
pub(super) type LogStream = Pin<Box<dyn Stream<Item = Result<ReadTaskLogsResponse, Status>> + Send>>;

/// Where the lines come from.
enum Source {
    Here {
        home: Arc<Home>,
        /// Set to follow.
        topic: Option<TopicSubscription>,
        /// The task was final before the latest read, so nothing follows what that read gave.
        is_final: bool,
    },
    There(Peer, Box<Streaming<ReadTaskLogsResponse>>),
}

/// A reader of one log.
struct LogReader {
    tasks: Tasks,
    caller: Caller,
    id: TaskId,
    after_seq: u64,
    follow: bool,
    source: Source,
}

/// What a source gave.
enum Next {
    Lines(ReadTaskLogsResponse),
    End,
    /// The log goes on at another owner.
    Moved,
}

impl Tasks {
    /// The stored lines, and on request also those to come, until the task is final.
    pub(super) async fn logs(
        &self,
        caller: Caller,
        id: TaskId,
        request: ReadTaskLogsRequest,
    ) -> Result<LogStream, Status> {
        let ReadTaskLogsRequest { after_seq, follow, .. } = request;
        let source = self.log_source(&caller, id, after_seq, follow).await?;
        let reader = LogReader { tasks: self.clone(), caller, id, after_seq, follow, source };
        Ok(Box::pin(stream::unfold(Some(reader), |state| async {
            let mut reader = state?;
            match reader.next().await {
                Ok(Some(response)) => Some((Ok(response), Some(reader))),
                Ok(None) => None,
                Err(status) => Some((Err(status), None)),
            }
        })))
    }

    /// Begins to read at the owner.
    async fn log_source(&self, caller: &Caller, id: TaskId, after_seq: u64, follow: bool) -> Result<Source, Status> {
        let routes = &self.deps.routes;
        let partition = routes.of_id(id);
        let until = caller.until(routes.wait_max());
        loop {
            match routes.owner_of(partition, caller).await? {
                Owner::Local(home) => {
                    let topic = if follow { Some(self.deps.hub.follow(id)?) } else { None };
                    if routes.home(partition).is_some() {
                        self.stored(&home, id).await?;
                        return Ok(Source::Here { home, is_final: topic.is_none(), topic });
                    }
                }
                Owner::Peer(peer) => {
                    let request = ReadTaskLogsRequest { task_id: id.to_string(), after_seq, follow };
                    let mut client = peer.tasks();
                    let call = client.read_task_logs(caller.request(request));
                    match routes.ask(partition, &peer, call, Repeat::Allowed).await {
                        Outcome::Answered(answer) => return Ok(Source::There(peer, Box::new(answer?.into_inner()))),
                        Outcome::Again => {}
                    }
                }
            }
            if caller.is_forwarded() {
                return Err(Error::NotOwner.into());
            }
            routes.refused(until).await?;
        }
    }
}

impl LogReader {
    async fn next(&mut self) -> Result<Option<ReadTaskLogsResponse>, Status> {
        loop {
            let next = match &mut self.source {
                Source::Here { home, topic, is_final } => {
                    read_here(&self.tasks, home, self.id, self.after_seq, topic.as_mut(), is_final).await?
                }
                Source::There(peer, stream) => {
                    let routes = &self.tasks.deps.routes;
                    let call = stream.message();
                    match routes.ask(routes.of_id(self.id), peer, call, Repeat::Allowed).await {
                        Outcome::Answered(Ok(Some(lines))) => Next::Lines(lines),
                        Outcome::Answered(Ok(None)) => Next::End,
                        Outcome::Answered(Err(status)) => return Err(status),
                        Outcome::Again => Next::Moved,
                    }
                }
            };
            match next {
                Next::Lines(response) => {
                    self.after_seq = response.lines.last().map_or(self.after_seq, |line| line.seq);
                    return Ok(Some(response));
                }
                Next::End => return Ok(None),
                Next::Moved if self.caller.is_forwarded() => return Err(Error::NotOwner.into()),
                Next::Moved => {
                    self.source = self.tasks.log_source(&self.caller, self.id, self.after_seq, self.follow).await?;
                }
            }
        }
    }
}

async fn read_here(
    tasks: &Tasks,
    home: &Arc<Home>,
    id: TaskId,
    after_seq: u64,
    mut topic: Option<&mut TopicSubscription>,
    is_final: &mut bool,
) -> Result<Next, Error> {
    loop {
        let store = Arc::clone(home.store());
        let lines = tasks.deps.reads.read(move || store.logs(id, after_seq, LINES_PER_RESPONSE_MAX)).await?;
        if !lines.is_empty() {
            return Ok(Next::Lines(ReadTaskLogsResponse { lines }));
        }
        if *is_final {
            return Ok(Next::End);
        }
        *is_final = tasks.stored(home, id).await?.moving.state().is_final();
        if let Some(topic) = topic.as_mut().filter(|_| !*is_final) {
            let heard = tasks.deps.closing.run_until_cancelled(topic.changed()).await;
            if heard.ok_or(Error::ShuttingDown)? == Heard::Moved {
                return Ok(Next::Moved);
            }
        }
    }
}
