//! Changes of tasks, for those who watch, and for the view of what runs.

use mcp_engine::{QueueKey, State, WorkerId};
use mcp_proto::{
    TaskId,
    scheduler::v1::{TaskEvent, TaskState},
};

use super::{
    Shell,
    effects::Context,
    live::{Live, LiveChange, engine_id},
};
use crate::{hub::Event, store};

impl Shell {
    /// Notes where a task stands now.
    ///
    /// # Errors
    /// The store failed.
    pub(super) fn stage_change(
        &mut self,
        id: TaskId,
        state: State,
        attempt: u32,
        worker: Option<WorkerId>,
        context: &mut Context<'_>,
    ) -> Result<(), store::Error> {
        if let Some(worker) = worker.filter(|_| context.dispatched != Some(id))
            && let Some(view) = self.engine.view(engine_id(id))
            && let Some(token) = view.token
        {
            // Claimed, not dispatched: the worker ran it before we knew of it.
            let live = Live { cancel_requested: view.cancel_requested, ..self.live(worker, token, attempt) };
            self.staging.live.push(LiveChange::Start(id, live));
        }
        if !self.hub.has_watches() {
            return Ok(());
        }
        let queue = match context.ended_in.take_if(|(of, _)| *of == id) {
            Some((_, queue)) => queue,
            None => self.queue_of(id)?,
        };
        let state = wire_state(state);
        let error = context.error.as_ref().filter(|(of, _)| *of == id).map(|(_, error)| error.clone());
        let wire = TaskEvent {
            task_id: id.to_string(),
            namespace: queue.namespace.to_string(),
            queue: queue.queue.to_string(),
            state: state.into(),
            attempt,
            time: Some(super::wire_time(self.now)),
            error: error.filter(|_| matches!(state, TaskState::Retrying | TaskState::Failed | TaskState::Cancelled)),
            progress: None,
        };
        self.staging.events.push(Event { id, wire });
        Ok(())
    }

    /// The queue of a task. It is read only when the task is not among the unfinished ones any more.
    ///
    /// # Errors
    /// The store failed.
    pub(super) fn queue_of(&mut self, id: TaskId) -> Result<QueueKey, store::Error> {
        if let Some(queue) = self.engine.queue(engine_id(id)) {
            return Ok(queue.clone());
        }
        let head = self.record(id, None)?.0.head()?;
        Ok(self.names.queue(&head.namespace, &head.queue))
    }
}

/// A state as the wire names it.
pub(super) fn wire_state(state: State) -> TaskState {
    match state {
        State::Pending => TaskState::Pending,
        State::Scheduled => TaskState::Scheduled,
        State::Running => TaskState::Running,
        State::Retrying => TaskState::Retrying,
        State::Succeeded => TaskState::Succeeded,
        State::Failed => TaskState::Failed,
        State::Cancelled => TaskState::Cancelled,
    }
}
