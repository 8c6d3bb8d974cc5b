//! Bringing notices to the owners of other partitions, outside of the loop.
//!
//! The courier reads what a notice says, finds the owner and asks it; what came of it goes back to the loop, which deletes
//! the notice or sends it again later. It keeps nothing itself: whatever it forgets is sent again.

use std::sync::Arc;

use mcp_proto::{
    Code, Error as WireError, TaskId,
    scheduler::v1::{CancelTaskRequest, task_service_server::TaskService as _},
};
use tokio::{sync::mpsc, task::JoinSet};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Status};

use crate::{
    conductor::{Delivered, End, Errand, Message, Outcome, end_of, end_to_wire, item_of_submit},
    error::Error,
    service::{Deps, Peers, Tasks},
    store,
};

/// Errands that may wait for the courier.
pub(crate) const ERRANDS_MAX: usize = 1_024;
/// Errands that are carried out at a time.
const AT_ONCE_MAX: usize = 64;

/// Carries errands.
#[derive(Debug, Clone)]
pub(crate) struct Courier {
    deps: Deps,
    peers: Peers,
    tasks: Tasks,
}

impl Courier {
    /// With what services work with.
    pub(crate) fn new(deps: Deps) -> Self {
        Self { peers: Peers::new(deps.clone()), tasks: Tasks::new(deps.clone()), deps }
    }

    /// Carries errands until `stop`; those under way are broken off then, and sent again by the next owner.
    pub(crate) async fn run(self, mut errands: mpsc::Receiver<Errand>, stop: CancellationToken) {
        let mut under_way = JoinSet::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                Some(_) = under_way.join_next(), if !under_way.is_empty() => {}
                errand = errands.recv(), if under_way.len() < AT_ONCE_MAX => match errand {
                    Some(errand) => drop(under_way.spawn(self.clone().carry(errand))),
                    None => break,
                },
            }
        }
        under_way.shutdown().await;
    }

    async fn carry(self, errand: Errand) {
        let outcome = match Box::pin(self.deliver(errand)).await {
            Ok(outcome) => outcome,
            Err(error) => {
                tracing::debug!(task_id = %errand.task, kind = ?errand.kind, %error, "an errand failed; it is repeated");
                Outcome::Again
            }
        };
        // Without a loop there is nobody to tell: what follows sends it again.
        if let Ok(handle) = self.deps.host.handle() {
            handle.delivered(Delivered { errand, outcome }).await;
        }
    }

    async fn deliver(&self, errand: Errand) -> Result<Outcome, Error> {
        let Some(home) = self.deps.routes.home(errand.partition) else { return Ok(Outcome::Again) };
        let (store, task) = (Arc::clone(home.store()), errand.task);
        let read = self.deps.reads.read(move || {
            let value = store.entry(store::Table::Notice, &errand.key())?;
            let message = value.map(|value| Message::read(&value)).transpose()?;
            let end = match &message {
                Some(Message { report: Some(_), .. }) => Some(end_on_record(&*store, task)?),
                _ => None,
            };
            Ok((message, end))
        });
        let (Some(message), end) = read.await? else { return Ok(Outcome::Done(None)) };
        match message {
            Message { submit: Some(request), .. } => {
                let item = item_of_submit(&request)?;
                let caller = self.peers.own_call(&request.traceparent);
                match Box::pin(self.peers.submit(&caller, request)).await {
                    Ok(response) => Ok(Outcome::Done(response.end.map(|end| (item, end_of(end))))),
                    Err(status) => Ok(after_refusal(status, |error| Outcome::Rejected(item, error))),
                }
            }
            Message { cancel: Some(reason), .. } => {
                let request = CancelTaskRequest { task_id: task.to_string(), reason };
                let answer = self.tasks.cancel_task(Request::new(request)).await;
                // One that is over, or unknown to its owner, has nothing to cancel.
                Ok(answer.map_or_else(|status| after_refusal(status, |_| Outcome::Done(None)), |_| Outcome::Done(None)))
            }
            Message { report: Some(mut request), .. } => {
                request.end = end.map(end_to_wire).transpose()?;
                let answer = self.peers.report(&self.peers.own_call(""), request).await;
                Ok(answer
                    .map_or_else(|status| after_refusal(status, |_| Outcome::Done(None)), |()| Outcome::Done(None)))
            }
            Message { .. } => Ok(Outcome::Done(None)),
        }
    }
}

/// How a task ended; one whose retention has passed has failed, for all that anybody can tell.
fn end_on_record(store: &dyn store::PartitionStore, task: TaskId) -> Result<End, store::Error> {
    Ok(match store.get(task)? {
        Some(stored) => End::of(&stored.moving),
        None => {
            End::failed(WireError::new(Code::TaskNotFound, format!("task `{task}` ended too long ago to tell how")))
        }
    })
}

/// A refusal for good has its own outcome; after anything else the errand is repeated.
fn after_refusal(status: Status, for_good: impl FnOnce(WireError) -> Outcome) -> Outcome {
    let error = WireError::from(status);
    match error.code() {
        Code::InvalidArgument
        | Code::PayloadTooLarge
        | Code::QueueClosed
        | Code::TaskNotFound
        | Code::TaskFinished
        | Code::IdempotencyConflict => for_good(error),
        code => {
            tracing::debug!(?code, %error, "the owner did not take an errand; it is repeated");
            Outcome::Again
        }
    }
}
