//! A run as lists show it.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use mcp_flow::{Json, Millis, RunId, RunRecord, RunState};
use mcp_proto::{
    Code, Error, TaskId,
    common::v1::Error as WireError,
    scheduler::v1::{Workflow, WorkflowSpec, WorkflowState},
};
use serde::{Deserialize, Serialize};

use super::{Extra, json::to_error};
use crate::{clock::wire_time, traceparent::trace_id};

/// What a list shows of a run. Small: without steps, input and output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Brief {
    /// Its id.
    pub(crate) id: RunId,
    /// Namespace, queue and the like.
    pub(crate) extra: Extra,
    /// Where it stands.
    pub(crate) state: RunState,
    name: String,
    created: Millis,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    finished: Option<Millis>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    timeout: Option<Millis>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<Json>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    cancel_reason: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rerun_of: Option<RunId>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    trace: String,
    step_count: usize,
    steps_ended: usize,
}

impl Brief {
    /// Of a run with so many ended steps.
    pub(crate) fn of(record: &RunRecord, steps_ended: usize, cancel_reason: &str) -> Self {
        Self {
            id: record.id,
            extra: Extra::of(&record.extra),
            state: record.state,
            name: record.definition.name.clone(),
            created: record.created,
            finished: record.finished,
            timeout: record.definition.timeout,
            error: record.error.clone(),
            cancel_reason: cancel_reason.to_owned(),
            rerun_of: record.rerun_of,
            trace: record.trace.clone(),
            step_count: record.definition.steps.len(),
            steps_ended,
        }
    }

    /// Its id.
    pub(crate) fn id(&self) -> TaskId {
        super::workflow_id(self.id)
    }

    /// For the wire.
    pub(crate) fn workflow(&self) -> Workflow {
        let spec = WorkflowSpec {
            namespace: self.extra.namespace.clone(),
            queue: self.extra.queue.clone(),
            name: self.name.clone(),
            timeout: self.timeout.and_then(|timeout| std::time::Duration::from_millis(timeout).try_into().ok()),
            idempotency_key: self.extra.idempotency_key.clone(),
            labels: self.extra.labels.clone(),
            ..WorkflowSpec::default()
        };
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        Workflow {
            id: self.id.to_string(),
            spec: Some(spec),
            state: wire_state(self.state).into(),
            create_time: Some(wire_time(self.created)),
            finish_time: self.finished.map(wire_time),
            output: None,
            error: self.wire_error(),
            steps: Vec::new(),
            step_count: count(self.step_count),
            steps_ended: count(self.steps_ended),
            rerun_of: self.rerun_of.map(|id| id.to_string()).unwrap_or_default(),
            trace_id: trace_id(self.trace.as_bytes()).unwrap_or_default().to_owned(),
        }
    }

    fn wire_error(&self) -> Option<WireError> {
        if let Some(error) = &self.error {
            return Some(to_error(error));
        }
        (!self.cancel_reason.is_empty()).then(|| {
            let message = format!("a caller cancelled the workflow: {}", self.cancel_reason);
            Error::new(Code::TaskCancelled, message).into()
        })
    }
}

/// A state as the wire names it.
pub(crate) fn wire_state(state: RunState) -> WorkflowState {
    match state {
        RunState::Running => WorkflowState::Running,
        RunState::Paused => WorkflowState::Paused,
        RunState::Ending => WorkflowState::Ending,
        RunState::Succeeded => WorkflowState::Succeeded,
        RunState::Failed => WorkflowState::Failed,
        RunState::Cancelled => WorkflowState::Cancelled,
    }
}

/// A set of states of workflows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RunStates(u16);

impl RunStates {
    /// Every state.
    pub(crate) const ALL: Self = Self(u16::MAX);
    /// No state.
    pub(crate) const NONE: Self = Self(0);

    /// This set and `state`.
    #[must_use]
    pub(crate) const fn with(self, state: WorkflowState) -> Self {
        Self(self.0 | 1 << state as u16)
    }

    /// True when the state is in it.
    pub(crate) fn has(self, state: RunState) -> bool {
        self.0 & (1 << wire_state(state) as u16) != 0
    }

    /// True when a state that is final, or one that is not, is in it.
    pub(crate) fn has_final(self, is_final: bool) -> bool {
        use RunState::{Cancelled, Ending, Failed, Paused, Running, Succeeded};
        let all = [Running, Paused, Ending, Succeeded, Failed, Cancelled];
        all.into_iter().any(|state| state.is_final() == is_final && self.has(state))
    }

    /// The numbers of the states in it.
    pub(crate) fn bits(self) -> u16 {
        self.0
    }
}

/// The unfinished runs of a replica, for queries: a view that the loop keeps and everyone may read without asking the
/// loop. It changes after commits only.
#[derive(Debug, Default)]
pub(crate) struct Showing {
    runs: RwLock<BTreeMap<TaskId, Arc<Brief>>>,
}

impl Showing {
    /// Puts a run, in place of how it was before.
    pub(crate) fn put(&self, brief: Brief) {
        self.write().insert(brief.id(), Arc::new(brief));
    }

    /// Takes a run out.
    pub(crate) fn remove(&self, id: TaskId) {
        self.write().remove(&id);
    }

    /// True when the run is unfinished.
    pub(crate) fn has(&self, id: TaskId) -> bool {
        self.read().contains_key(&id)
    }

    /// The runs older than `before` that are wanted, newest first, at most `limit` of them; looks at no more than `scan_max`.
    /// Where to go on, unless that was the end.
    pub(crate) fn page(
        &self,
        before: Option<TaskId>,
        limit: usize,
        scan_max: usize,
        is_wanted: impl Fn(&Brief) -> bool,
    ) -> (Vec<Arc<Brief>>, Option<TaskId>) {
        let runs = self.read();
        let mut found = Vec::new();
        let older = runs.range(..before.unwrap_or_else(|| TaskId::from_u128(u128::MAX))).rev();
        for (looked_at, (id, brief)) in older.enumerate() {
            if found.len() == limit || looked_at == scan_max {
                // The run before this one was looked at: what is older than it comes next.
                return (found, Some(TaskId::from_u128(id.as_u128() + 1)));
            }
            if is_wanted(brief) {
                found.push(Arc::clone(brief));
            }
        }
        (found, None)
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<TaskId, Arc<Brief>>> {
        self.runs.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<TaskId, Arc<Brief>>> {
        self.runs.write().unwrap_or_else(PoisonError::into_inner)
    }
}
