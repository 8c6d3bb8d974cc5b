//! A workflow as it is submitted, between the wire and the rules.

use std::{collections::BTreeMap, sync::Arc};

use mcp_flow::{Definition, FailureMode, Fault, Json, RawDefinition, RawStep};
use mcp_proto::{
    TaskId,
    scheduler::v1::{FailureMode as WireFailureMode, StepSpec, TaskSpec, WorkflowSpec},
};
use serde::{Deserialize, Serialize};

use super::json::{checked_value, from_task, to_task, value};

/// What of a workflow the rules need not know, kept in the record of its run.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Extra {
    /// Its namespace.
    pub(crate) namespace: String,
    /// Its queue: the home of the workflow, and of its steps unless they name another.
    pub(crate) queue: String,
    /// Marks of the workflow and of all its tasks.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) labels: BTreeMap<String, String>,
    /// Key under which a repeated submit finds it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) idempotency_key: String,
    /// The fire time that started it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) fire: Option<Fire>,
}

/// One fire time of a schedule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Fire {
    /// Namespace of the schedule.
    pub(crate) namespace: String,
    /// Its name.
    pub(crate) schedule: String,
    /// The time, milliseconds since 1970.
    pub(crate) fire_ms: u64,
}

impl Extra {
    /// As the rules keep it.
    pub(crate) fn to_json(&self) -> Json {
        serde_json::to_value(self).expect("it holds nothing but text").into()
    }

    /// From the record of a run. What is missing is empty.
    pub(crate) fn of(json: &Json) -> Self {
        Self::deserialize(&**json).unwrap_or_default()
    }

    /// Hash of the home, for the id.
    pub(crate) fn home(&self) -> u16 {
        TaskId::home_of(&self.namespace, &self.queue)
    }
}

/// A checked workflow.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// What runs.
    pub(crate) definition: Arc<Definition>,
    /// What expressions see as `input`.
    pub(crate) input: Json,
    /// The rest.
    pub(crate) extra: Extra,
}

impl Plan {
    /// Checks names, dependencies and expressions of a workflow whose tasks were checked, and whose namespace and queue
    /// are set.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn check(spec: WorkflowSpec) -> Result<Self, Vec<Fault>> {
        let fault = |field: &str, description: String| vec![Fault { field: field.to_owned(), description }];
        let extra = Extra {
            namespace: spec.namespace,
            queue: spec.queue,
            labels: spec.labels,
            idempotency_key: spec.idempotency_key,
            fire: None,
        };
        let input = spec.input.map_or(Ok(serde_json::Value::Null), checked_value);
        let input = input.map_err(|reason| fault("workflow.input", reason))?.into();
        let mut steps = Vec::with_capacity(spec.steps.len());
        for (number, step) in spec.steps.into_iter().enumerate() {
            steps.push(raw_step(step).map_err(|why| fault(&format!("workflow.steps[{number}].task"), why))?);
        }
        let on_failure = spec.on_failure.map(raw_step).transpose();
        let raw = RawDefinition {
            name: spec.name,
            steps,
            on_failure: on_failure.map_err(|reason| fault("workflow.on_failure.task", reason))?,
            output: spec.output,
            timeout: spec.timeout.map(|timeout| wire_millis(&timeout)),
        };
        let definition = Definition::check(raw).map_err(named_as_on_the_wire)?;
        Ok(Self { definition: Arc::new(definition), input, extra })
    }
}

fn raw_step(step: StepSpec) -> Result<RawStep, String> {
    let failure_mode = match step.failure_mode() {
        WireFailureMode::Unspecified | WireFailureMode::Fail => FailureMode::Fail,
        WireFailureMode::Continue => FailureMode::Continue,
    };
    Ok(RawStep {
        name: step.name,
        task: from_task(step.task.unwrap_or_default())?,
        depends_on: step.depends_on,
        condition: step.condition,
        for_each: step.for_each,
        parallel_max: step.parallel_max,
        failure_mode,
    })
}

/// Fields of proto3 JSON by the names that the contract gives them.
fn named_as_on_the_wire(mut faults: Vec<Fault>) -> Vec<Fault> {
    for fault in &mut faults {
        for (json, wire) in [(".task.idempotencyKey", ".task.idempotency_key"), (".task.uniqueKey", ".task.unique_key")]
        {
            if let Some(step) = fault.field.strip_suffix(json) {
                fault.field = format!("{step}{wire}");
            }
        }
    }
    faults
}

/// Milliseconds of a duration that was checked not to be negative.
fn wire_millis(duration: &prost_types::Duration) -> u64 {
    let seconds = u64::try_from(duration.seconds).unwrap_or_default();
    seconds.saturating_mul(1_000).saturating_add(u64::try_from(duration.nanos / 1_000_000).unwrap_or_default())
}

/// The spec of a workflow, for callers. `task` fills in what a task has by default.
pub(crate) fn spec_of(raw: &RawDefinition, input: &Json, extra: &Extra, task: impl Fn(&mut TaskSpec)) -> WorkflowSpec {
    let step = |raw: &RawStep| step_of(raw, extra, &task);
    WorkflowSpec {
        namespace: extra.namespace.clone(),
        queue: extra.queue.clone(),
        name: raw.name.clone(),
        input: (!input.is_null()).then(|| value(input)),
        steps: raw.steps.iter().map(step).collect(),
        on_failure: raw.on_failure.as_ref().map(step),
        output: raw.output.clone(),
        timeout: raw.timeout.and_then(|timeout| std::time::Duration::from_millis(timeout).try_into().ok()),
        idempotency_key: extra.idempotency_key.clone(),
        labels: extra.labels.clone(),
    }
}

fn step_of(raw: &RawStep, extra: &Extra, fill: &impl Fn(&mut TaskSpec)) -> StepSpec {
    let task = task_of(&raw.task, extra).ok().map(|mut task| {
        fill(&mut task);
        task
    });
    let failure_mode = match raw.failure_mode {
        FailureMode::Fail => WireFailureMode::Fail,
        FailureMode::Continue => WireFailureMode::Continue,
    };
    StepSpec {
        name: raw.name.clone(),
        task,
        depends_on: raw.depends_on.clone(),
        condition: raw.condition.clone(),
        for_each: raw.for_each.clone(),
        parallel_max: raw.parallel_max,
        failure_mode: failure_mode.into(),
    }
}

/// The task of a step: what its JSON says, in the workflow's namespace, by default in its queue, with its labels.
///
/// # Errors
/// The JSON is no task.
pub(crate) fn task_of(json: &serde_json::Value, extra: &Extra) -> Result<TaskSpec, String> {
    let mut task = to_task(json)?;
    at_home(&mut task, extra);
    Ok(task)
}

/// Puts a step's task into its workflow.
pub(crate) fn at_home(task: &mut TaskSpec, extra: &Extra) {
    task.namespace.clone_from(&extra.namespace);
    if task.queue.is_empty() {
        task.queue.clone_from(&extra.queue);
    }
    for (key, label) in &extra.labels {
        task.labels.entry(key.clone()).or_insert_with(|| label.clone());
    }
}
