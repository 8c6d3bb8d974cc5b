//! Notices as they are stored, and items and ends as replicas tell them to each other.

use mcp_cron::ScheduleId;
use mcp_proto::{
    Error as WireError, TaskId,
    scheduler::v1::{FireRef, ReportStepRequest, StepEnd, StepRef, SubmitStepRequest, TaskSpec},
};
use prost::Message as _;

use super::{
    Item,
    batch::{End, Ended},
};
use crate::store::{self, StepOf};

/// The stored form of a notice: one of the fields is set.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Message {
    /// A task to start.
    #[prost(message, optional, tag = "1")]
    pub(crate) submit: Option<SubmitStepRequest>,
    /// Why a task is to be cancelled.
    #[prost(string, optional, tag = "2")]
    pub(crate) cancel: Option<String>,
    /// Whose task has ended. How, says the task's record.
    #[prost(message, optional, tag = "3")]
    pub(crate) report: Option<ReportStepRequest>,
}

impl Message {
    /// A task to start.
    pub(super) fn of_submit(item: &Item, id: TaskId, task: TaskSpec, traceparent: &str) -> Self {
        let (step, fire) = refs(item);
        let submit = SubmitStepRequest {
            step,
            task_id: id.to_string(),
            task: Some(task),
            fire,
            traceparent: traceparent.to_owned(),
        };
        Self { submit: Some(submit), ..Self::default() }
    }

    /// A task to cancel.
    pub(super) fn of_cancel(reason: &str) -> Self {
        Self { cancel: Some(reason.to_owned()), ..Self::default() }
    }

    /// A task that ended.
    pub(super) fn of_report(item: &Item, id: TaskId) -> Self {
        let (step, fire) = refs(item);
        let report = ReportStepRequest { step, task_id: id.to_string(), end: None, fire };
        Self { report: Some(report), ..Self::default() }
    }

    /// The stored bytes.
    pub(super) fn encode(&self) -> Vec<u8> {
        self.encode_to_vec()
    }

    /// Reads the stored bytes.
    ///
    /// # Errors
    /// [`store::Error::Corrupt`].
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, store::Error> {
        Self::decode(bytes)
            .map_err(|error| store::Error::Corrupt { key: "a notice".to_owned(), reason: error.to_string() })
    }
}

fn refs(item: &Item) -> (Option<StepRef>, Option<FireRef>) {
    match item {
        Item::Step(StepOf { workflow, step, item, name }) => {
            let workflow_id = TaskId::from_u128(u128::from_be_bytes(*workflow)).to_string();
            (Some(StepRef { workflow_id, step: *step, item: *item, step_name: name.clone() }), None)
        }
        Item::Fire { schedule, fire_ms } => {
            let fire = FireRef {
                namespace: schedule.namespace().to_owned(),
                schedule: schedule.name().to_owned(),
                fire_time: Some(time_of(*fire_ms)),
            };
            (None, Some(fire))
        }
    }
}

/// Whose task is to be started.
///
/// # Errors
/// `INVALID_ARGUMENT`.
pub(crate) fn item_of_submit(request: &SubmitStepRequest) -> Result<Item, WireError> {
    item(request.step.as_ref(), request.fire.as_ref())
}

/// Whose task has ended.
///
/// # Errors
/// `INVALID_ARGUMENT`.
pub(crate) fn item_of_report(request: &ReportStepRequest) -> Result<Item, WireError> {
    item(request.step.as_ref(), request.fire.as_ref())
}

fn item(step: Option<&StepRef>, fire: Option<&FireRef>) -> Result<Item, WireError> {
    if let Some(step) = step {
        let id: TaskId =
            step.workflow_id.parse().map_err(|_| WireError::invalid("step.workflow_id", "must be a UUID"))?;
        let workflow = id.as_u128().to_be_bytes();
        return Ok(Item::Step(StepOf { workflow, step: step.step, item: step.item, name: step.step_name.clone() }));
    }
    let fire = fire.ok_or_else(|| WireError::invalid("step", "is missing: set `step` or `fire`"))?;
    let schedule = ScheduleId::new(&fire.namespace, &fire.schedule)
        .ok_or_else(|| WireError::invalid("fire.schedule", "is not the name of a schedule"))?;
    let time = fire.fire_time.and_then(|time| {
        let (seconds, nanos) = (u64::try_from(time.seconds).ok()?, u64::try_from(time.nanos).ok()?);
        seconds.checked_mul(1_000)?.checked_add(nanos / 1_000_000)
    });
    let fire_ms = time.ok_or_else(|| WireError::invalid("fire.fire_time", "must be a moment after 1970"))?;
    Ok(Item::Fire { schedule, fire_ms })
}

fn time_of(unix_ms: u64) -> prost_types::Timestamp {
    let seconds = i64::try_from(unix_ms / 1_000).unwrap_or(i64::MAX);
    let nanos = i32::try_from(unix_ms % 1_000).unwrap_or_default() * 1_000_000;
    prost_types::Timestamp { seconds, nanos }
}

/// An end for the wire.
///
/// # Errors
/// [`store::Error::Corrupt`]: the output cannot be read.
pub(crate) fn end_to_wire(end: End) -> Result<StepEnd, store::Error> {
    let output = end.output.map(prost_types::Value::decode).transpose();
    let output =
        output.map_err(|error| store::Error::Corrupt { key: "an output".to_owned(), reason: error.to_string() })?;
    Ok(StepEnd { state: end.state.into(), output, error: end.error })
}

/// An end from the wire.
pub(crate) fn end_of(end: StepEnd) -> End {
    let output = end.output.as_ref().map(|output| output.encode_to_vec().into());
    End { state: end.state(), output, error: end.error }
}

/// What a report says.
///
/// # Errors
/// `INVALID_ARGUMENT`.
pub(crate) fn ended_of(request: ReportStepRequest) -> Result<Ended, WireError> {
    let item = item_of_report(&request)?;
    let task = request.task_id.parse()?;
    let end = request.end.ok_or_else(|| WireError::invalid("end", "is missing"))?;
    Ok(Ended { item, task, end: end_of(end), was_started: true })
}
