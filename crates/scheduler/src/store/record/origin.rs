//! Where a task comes from when nobody submitted it by itself.

use bytes::Bytes;
use mcp_proto::TaskId;
use prost::Message;

/// What a task is part of, or made from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Origin {
    /// The workflow step that it carries out.
    pub step: Option<StepOf>,
    /// The schedule that started it.
    pub fire: Option<FireOf>,
    /// The task that it replays.
    pub replay_of: Option<TaskId>,
}

/// An item of a step of a run of a workflow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepOf {
    /// Id of the run.
    pub workflow: [u8; 16],
    /// Number of the step in it.
    pub step: u32,
    /// Number of the item in the step's list; 0 without one.
    pub item: u32,
    /// Name of the step.
    pub name: String,
}

/// One fire time of a schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FireOf {
    /// Name of the schedule, in the task's namespace.
    pub schedule: String,
    /// The time, milliseconds since 1970.
    pub fire_ms: u64,
}

impl Origin {
    pub(super) fn encode(&self) -> Vec<u8> {
        let wire = Wire {
            workflow: self.step.as_ref().map(|step| Bytes::copy_from_slice(&step.workflow)),
            step: self.step.as_ref().map_or(0, |step| step.step),
            item: self.step.as_ref().map_or(0, |step| step.item),
            step_name: self.step.as_ref().map(|step| step.name.clone()).unwrap_or_default(),
            schedule: self.fire.as_ref().map(|fire| fire.schedule.clone()),
            fire_ms: self.fire.as_ref().map_or(0, |fire| fire.fire_ms),
            replay_of: self.replay_of.map(|id| Bytes::copy_from_slice(&id.as_u128().to_be_bytes())),
        };
        wire.encode_to_vec()
    }

    /// `None` when the bytes are not an origin.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let Wire { workflow, step, item, step_name, schedule, fire_ms, replay_of } = Wire::decode(bytes).ok()?;
        let mut origin = Self { fire: schedule.map(|schedule| FireOf { schedule, fire_ms }), ..Self::default() };
        if let Some(workflow) = workflow {
            origin.step = Some(StepOf { workflow: workflow[..].try_into().ok()?, step, item, name: step_name });
        }
        if let Some(id) = replay_of {
            origin.replay_of = Some(TaskId::from_u128(u128::from_be_bytes(id[..].try_into().ok()?)));
        }
        Some(origin)
    }
}

/// The stored form.
#[derive(Clone, PartialEq, Eq, Message)]
struct Wire {
    #[prost(bytes = "bytes", optional, tag = "1")]
    workflow: Option<Bytes>,
    #[prost(uint32, tag = "2")]
    step: u32,
    #[prost(string, optional, tag = "3")]
    schedule: Option<String>,
    #[prost(uint64, tag = "4")]
    fire_ms: u64,
    #[prost(bytes = "bytes", optional, tag = "5")]
    replay_of: Option<Bytes>,
    #[prost(uint32, tag = "6")]
    item: u32,
    #[prost(string, tag = "7")]
    step_name: String,
}
