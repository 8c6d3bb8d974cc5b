//! Schedules and their ledgers as they are stored.

use std::sync::Arc;

use mcp_cron::{FireRecord, ScheduleRecord};
use mcp_proto::scheduler::v1::{TaskSpec, WorkflowSpec};
use prost::Message as _;
use serde::{Deserialize, Serialize};

use crate::store;

/// What a schedule starts, as it was put. Cheap to clone.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Target {
    /// A task.
    Task(Arc<TaskSpec>),
    /// A workflow.
    Workflow(Arc<WorkflowSpec>),
}

impl Target {
    /// Bytes it takes when it is stored.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Task(spec) => spec.encoded_len(),
            Self::Workflow(spec) => spec.encoded_len(),
        }
    }
}

/// A schedule as it is stored: its rules and how far it is, and what it starts.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Kept {
    /// Rules and position.
    pub(crate) record: Box<ScheduleRecord>,
    /// What it starts.
    pub(crate) target: Target,
}

/// The stored form of [`Kept`].
#[derive(Clone, PartialEq, prost::Message)]
struct Wire {
    /// The record, as JSON.
    #[prost(bytes = "vec", tag = "1")]
    record: Vec<u8>,
    #[prost(message, optional, tag = "2")]
    task: Option<TaskSpec>,
    #[prost(message, optional, tag = "3")]
    workflow: Option<WorkflowSpec>,
}

impl Kept {
    /// The stored bytes of a record and its target.
    pub(super) fn encode(record: &ScheduleRecord, target: &Target) -> Vec<u8> {
        let (task, workflow) = match target {
            Target::Task(spec) => (Some(TaskSpec::clone(spec)), None),
            Target::Workflow(spec) => (None, Some(WorkflowSpec::clone(spec))),
        };
        let record = serde_json::to_vec(record).expect("a record has no map whose keys are no texts");
        Wire { record, task, workflow }.encode_to_vec()
    }

    /// Reads the stored bytes.
    ///
    /// # Errors
    /// [`store::Error::Corrupt`].
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, store::Error> {
        let Wire { record, task, workflow } = Wire::decode(bytes).map_err(|error| corrupt(&error))?;
        let record = serde_json::from_slice(&record).map_err(|error| corrupt(&error))?;
        let target = match (task, workflow) {
            (Some(spec), None) => Target::Task(Arc::new(spec)),
            (None, Some(spec)) => Target::Workflow(Arc::new(spec)),
            _ => return Err(corrupt(&"it starts nothing, or two things")),
        };
        Ok(Self { record, target })
    }
}

/// An entry of a ledger as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FireEntry {
    /// What became of the fire.
    #[serde(flatten)]
    pub(crate) fire: FireRecord,
    /// It started a workflow, not a task.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) is_workflow: bool,
}

impl FireEntry {
    /// The stored bytes.
    pub(super) fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("an entry has no map whose keys are no texts")
    }

    /// Reads the stored bytes.
    ///
    /// # Errors
    /// [`store::Error::Corrupt`].
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, store::Error> {
        serde_json::from_slice(bytes).map_err(|error| corrupt(&error))
    }
}

fn corrupt(reason: &dyn std::fmt::Display) -> store::Error {
    store::Error::Corrupt { key: "a schedule".to_owned(), reason: reason.to_string() }
}
