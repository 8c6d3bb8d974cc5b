//! What workers are told: messages of bounded size, made from the outbox.

use std::sync::Arc;

use bytes::Bytes;
use mcp_engine::RunningAttempt;
use mcp_proto::{TaskId, worker::v1};

use super::wire::{Assignment, OpenSessionResponse};
use crate::{
    error::Error,
    service::Deps,
    shell::{Dispatch, Handle, Input, Outbox, Outgoing, SessionRef, wire_id},
    store::{self, Fixed, PartitionStore, ToRun},
    validate::Names,
};

/// Bytes of specs after which a message is sent. One that is larger goes alone.
const MESSAGE_BYTES_MAX: usize = 1024 * 1024;
/// Assignments of one message.
const ASSIGNMENTS_MAX: usize = 4_096;

/// Makes the messages of one session.
pub(super) struct Writer<'a> {
    pub(super) deps: &'a Deps,
    pub(super) handle: &'a Handle,
    pub(super) session: SessionRef,
    pub(super) outbox: &'a Outbox,
}

/// A task to read, and where; nowhere when there is nothing to read.
type Wanted = (Option<Arc<dyn PartitionStore>>, TaskId);

impl Writer<'_> {
    /// The next message; `None` when there is nothing to tell.
    ///
    /// # Errors
    /// The session was closed, or the store cannot be read.
    pub(super) async fn next(&self) -> Result<Option<OpenSessionResponse>, Error> {
        let Some(mut taken) = self.outbox.take(ASSIGNMENTS_MAX)? else { return Ok(None) };
        let mut response = OpenSessionResponse {
            assignments: Vec::with_capacity(taken.dispatches.len()),
            acknowledged: taken.acknowledged.drain(..).map(attempt_ref).collect(),
            not_mine: taken.not_mine.drain(..).map(attempt_ref).collect(),
            adopted: taken.adopted.drain(..).map(attempt_ref).collect(),
            report: taken.report,
            reclaimed: taken.reclaimed,
            revoked: taken.revoked.drain(..).map(attempt_ref).collect(),
            cancellations: taken
                .cancellations
                .drain(..)
                .map(|(attempt, reason)| v1::Cancellation { attempt: Some(attempt_ref(attempt)), reason })
                .collect(),
            ..OpenSessionResponse::default()
        };
        self.add_assignments(&mut response, &mut taken).await?;
        if !taken.dispatches.is_empty() {
            self.outbox.put_back(taken.dispatches);
        }
        Ok(Some(response))
    }

    async fn add_assignments(&self, response: &mut OpenSessionResponse, taken: &mut Outgoing) -> Result<(), Error> {
        let mut bytes = 0;
        while bytes < MESSAGE_BYTES_MAX {
            let Some(dispatch) = taken.dispatches.front() else { return Ok(()) };
            if let Some(fixed) = dispatch.fixed.as_ref().filter(|fixed| !fixed.is_brief()) {
                bytes += fixed.len();
                response.assignments.push(assignment(dispatch, fixed, fixed.spec()));
                taken.dispatches.pop_front();
                continue;
            }
            let missing = taken.dispatches.iter().take_while(|next| is_apart(next));
            let wanted: Vec<_> = missing.map(|next| (next.store.clone(), wire_id(next.attempt.task))).collect();
            let room = MESSAGE_BYTES_MAX - bytes;
            for loaded in self.deps.reads.read(move || load(&wanted, room)).await? {
                let Some(dispatch) = taken.dispatches.pop_front() else { break };
                match loaded {
                    Some(ToRun { fixed, spec }) => {
                        bytes += spec.len();
                        response.assignments.push(assignment(&dispatch, &fixed, spec));
                        self.remember(&dispatch, fixed);
                    }
                    None => self.skip(&dispatch).await?,
                }
            }
        }
        Ok(())
    }

    /// Spares the loop a read when the task ends.
    fn remember(&self, dispatch: &Dispatch, fixed: Fixed) {
        if let Ok(head) = fixed.head()
            && let Some(mut live) = self.handle.live().get_mut(&wire_id(dispatch.attempt.task))
            && live.token == dispatch.attempt.token
        {
            live.queue = Some(Names::default().queue(&head.namespace, &head.queue));
            live.fixed = Some(fixed);
        }
    }

    /// The task is gone, so the worker never hears of it: its slot is free again.
    async fn skip(&self, dispatch: &Dispatch) -> Result<(), Error> {
        tracing::warn!(task = %wire_id(dispatch.attempt.task), "dispatched task is not on record");
        let mut input = Input::empty(self.session);
        input.slots = 1;
        self.handle.input(input, 0).await
    }
}

fn is_apart(dispatch: &Dispatch) -> bool {
    dispatch.fixed.as_ref().is_none_or(Fixed::is_brief)
}

/// Reads tasks in order, until they fill the room; at least one.
fn load(wanted: &[Wanted], room: usize) -> Result<Vec<Option<ToRun>>, store::Error> {
    let (mut loaded, mut bytes) = (Vec::new(), 0);
    let is_same = |(a, _): &Wanted, (b, _): &Wanted| match (a, b) {
        (Some(a), Some(b)) => Arc::ptr_eq(a, b),
        _ => false,
    };
    for group in wanted.chunk_by(is_same) {
        let [(store, first), ..] = group else { continue };
        let found = match store {
            Some(store) => store.to_run(&group.iter().map(|(_, id)| *id).collect::<Vec<_>>(), room - bytes)?,
            None => {
                tracing::warn!(task = %first, "the partition of a dispatched task is not open");
                vec![None]
            }
        };
        let is_cut = found.len() < group.len();
        bytes += found.iter().flatten().map(|found| found.spec.len()).sum::<usize>();
        loaded.extend(found);
        if is_cut || bytes >= room {
            break;
        }
    }
    Ok(loaded)
}

fn assignment(dispatch: &Dispatch, fixed: &Fixed, spec: Bytes) -> Assignment {
    let (attempt, number) = (Some(attempt_ref(dispatch.attempt)), dispatch.number);
    Assignment { attempt, number, spec, traceparent: fixed.traceparent() }
}

/// An attempt for the wire.
pub(super) fn attempt_ref(attempt: RunningAttempt) -> v1::AttemptRef {
    let token = v1::FencingToken { epoch: attempt.token.epoch, sequence: attempt.token.sequence };
    v1::AttemptRef { task_id: wire_id(attempt.task).to_string(), token: Some(token) }
}
