//! What a worker is to be told: filled by the loop after each commit, emptied by the worker's session.
//!
//! It needs no limit of its own for dispatches, which the worker's credits bound; acknowledgements are bounded here,
//! because a worker that never reads could otherwise make them pile up.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use mcp_engine::RunningAttempt;
use tokio::sync::Notify;

use crate::{
    error::Error,
    store::{Fixed, PartitionStore},
};

/// Notices that may wait for one worker.
const NOTICES_MAX: usize = 200_000;

/// An attempt to start.
#[derive(Debug, Clone)]
pub(crate) struct Dispatch {
    /// The attempt.
    pub(crate) attempt: RunningAttempt,
    /// Which attempt of the task it is, from 1.
    pub(crate) number: u32,
    /// The task as submitted; `None` when it has to be read.
    pub(crate) fixed: Option<Fixed>,
    /// Where to read it; `None` when there is nothing to read.
    pub(crate) store: Option<Arc<dyn PartitionStore>>,
}

/// Orders and answers for one worker.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    /// Attempts to start.
    pub(crate) dispatches: VecDeque<Dispatch>,
    /// Attempts to stop, and why.
    pub(crate) cancellations: Vec<(RunningAttempt, String)>,
    /// Results that are durable, or outdated.
    pub(crate) acknowledged: Vec<RunningAttempt>,
    /// Attempts of partitions that are not open here, or not any more.
    pub(crate) not_mine: Vec<RunningAttempt>,
    /// Attempts that were taken over from another replica.
    pub(crate) adopted: Vec<RunningAttempt>,
    /// Attempts that the worker reported and that are another's now.
    pub(crate) revoked: Vec<RunningAttempt>,
    /// Slots that it gets back, when it asked for some.
    pub(crate) reclaimed: Option<u32>,
    /// A partition was opened: say what runs and has no replica.
    pub(crate) report: bool,
}

impl Outgoing {
    fn is_empty(&self) -> bool {
        self.dispatches.is_empty() && self.notices() == 0 && self.reclaimed.is_none() && !self.report
    }

    fn notices(&self) -> usize {
        self.cancellations.len()
            + self.acknowledged.len()
            + self.not_mine.len()
            + self.adopted.len()
            + self.revoked.len()
    }

    fn extend(&mut self, more: Self) {
        if self.is_empty() {
            *self = more;
            return;
        }
        self.dispatches.extend(more.dispatches);
        self.cancellations.extend(more.cancellations);
        self.acknowledged.extend(more.acknowledged);
        self.not_mine.extend(more.not_mine);
        self.adopted.extend(more.adopted);
        self.revoked.extend(more.revoked);
        if let Some(slots) = more.reclaimed {
            *self.reclaimed.get_or_insert(0) += slots;
        }
        self.report |= more.report;
    }
}

#[derive(Debug, Default)]
struct State {
    outgoing: Outgoing,
    closed: Option<Error>,
}

/// The outbox of one session.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    state: Mutex<State>,
    ready: Notify,
}

impl Outbox {
    /// Adds orders. A worker that leaves too much unread loses its session; it keeps its attempts and may come back.
    pub(super) fn push(&self, more: Outgoing) {
        let mut state = self.lock();
        state.outgoing.extend(more);
        if state.outgoing.notices() > NOTICES_MAX {
            state.closed.get_or_insert(Error::Overloaded { what: "unread answers" });
        }
        drop(state);
        self.ready.notify_one();
    }

    /// Ends the session, for this reason.
    pub(super) fn close(&self, reason: Error) {
        self.lock().closed.get_or_insert(reason);
        self.ready.notify_one();
    }

    /// Takes notices, and dispatches up to `dispatches_max`; `None` when there is nothing.
    ///
    /// # Errors
    /// Why the session was closed.
    pub(crate) fn take(&self, dispatches_max: usize) -> Result<Option<Outgoing>, Error> {
        let mut state = self.lock();
        if let Some(reason) = &state.closed {
            return Err(reason.clone());
        }
        if state.outgoing.is_empty() {
            return Ok(None);
        }
        let mut taken = std::mem::take(&mut state.outgoing);
        if taken.dispatches.len() > dispatches_max {
            state.outgoing.dispatches = taken.dispatches.split_off(dispatches_max);
        }
        Ok(Some(taken))
    }

    /// Puts dispatches back that found no room in a message; they keep their place.
    pub(crate) fn put_back(&self, mut dispatches: VecDeque<Dispatch>) {
        let mut state = self.lock();
        dispatches.append(&mut state.outgoing.dispatches);
        state.outgoing.dispatches = dispatches;
        drop(state);
        self.ready.notify_one();
    }

    /// Waits until there may be something to take.
    pub(crate) async fn ready(&self) {
        self.ready.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use mcp_engine::{RunningAttempt, TaskId, Token};

    use super::{Dispatch, NOTICES_MAX, Outbox, Outgoing};
    use crate::error::Error;

    fn attempt(n: u128) -> RunningAttempt {
        RunningAttempt { task: TaskId(n), token: Token { epoch: 1, sequence: 1 } }
    }

    fn dispatches(ids: std::ops::Range<u128>) -> Outgoing {
        let dispatches = ids.map(|id| Dispatch { attempt: attempt(id), number: 1, fixed: None, store: None }).collect();
        Outgoing { dispatches, ..Outgoing::default() }
    }

    #[test]
    fn dispatches_keep_their_order_when_some_are_put_back() {
        let outbox = Outbox::default();
        outbox.push(dispatches(0..3));
        outbox.push(dispatches(3..5));
        let mut taken = outbox.take(3).unwrap().unwrap().dispatches;
        assert_eq!(taken.pop_front().map(|dispatch| dispatch.attempt.task.0), Some(0));
        outbox.put_back(taken);
        let rest = outbox.take(100).unwrap().unwrap().dispatches;
        assert_eq!(rest.iter().map(|dispatch| dispatch.attempt.task.0).collect::<Vec<_>>(), [1, 2, 3, 4]);
        assert!(outbox.take(1).unwrap().is_none());
    }

    #[test]
    fn a_worker_that_never_reads_loses_its_session() {
        let outbox = Outbox::default();
        outbox.push(Outgoing { acknowledged: vec![attempt(1); NOTICES_MAX], ..Outgoing::default() });
        outbox.push(Outgoing { acknowledged: vec![attempt(1)], ..Outgoing::default() });
        assert!(matches!(outbox.take(1), Err(Error::Overloaded { .. })));
    }
}
