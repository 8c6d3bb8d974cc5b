//! Requests about workflows.
//!
//! The rules of `mcp-flow` check names, dependencies and expressions; the tasks of the steps are checked here, as if they
//! were submitted by themselves. What is wrong comes back together.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use mcp_flow::{Fault, RunView, STEPS_MAX};
use mcp_proto::{
    Error, TaskId,
    scheduler::v1::{
        FailureMode, ListWorkflowsRequest, StepSpec, TaskSpec, WaitWorkflowRequest, WorkflowSpec, WorkflowState,
    },
};
use prost::Message as _;

use super::{
    PageToken,
    fields::{Violations, duration, length_fault, namespace_fault, page_size, queue_fault},
    queries::{CANCEL_REASON_BYTES_MAX, check_names, fnv, wait_of},
    spec::{KEY_BYTES_MAX, NAME_DEFAULT, Root, fault_of_labels, normalise},
};
use crate::workflow::{Brief, Extra, Fire, Plan, RunStates, at_home, records, workflow_id as workflow_of};

/// A checked workflow without an id.
#[derive(Debug)]
pub(crate) struct NewRun {
    /// What runs.
    pub(crate) plan: Plan,
    /// What of it never changes, as it is kept.
    pub(crate) fixed: Bytes,
    /// W3C `traceparent` of the submit; empty when there is none.
    pub(crate) trace: String,
    /// Hash of what was submitted, when it has an idempotency key.
    pub(crate) body_hash: u64,
    /// The final run that it repeats.
    pub(crate) earlier: Option<Earlier>,
}

/// What is run again.
#[derive(Debug)]
pub(crate) struct Earlier {
    /// The final run.
    pub(crate) view: RunView,
    /// Step to start from; none means whatever did not succeed.
    pub(crate) from_step: Option<String>,
}

impl NewRun {
    /// Hash of its home, for its id: that of its queue; of a repeated run, that of the first one, which a schedule may
    /// have started in its own partition.
    pub(crate) fn home(&self) -> u16 {
        self.earlier.as_ref().map_or_else(|| self.plan.extra.home(), |earlier| workflow_of(earlier.view.run.id).home())
    }

    /// Bytes it takes while it waits for the loop, about.
    pub(crate) fn len(&self) -> usize {
        self.fixed.len()
    }

    fn of(plan: Plan, trace: &str, body_hash: u64, earlier: Option<Earlier>) -> Self {
        let fixed = records::Fixed {
            definition: Arc::clone(plan.definition.raw()),
            input: plan.input.clone(),
            extra: plan.extra.to_json(),
            trace: trace.to_owned(),
            rerun_of: earlier.as_ref().map(|earlier| earlier.view.run.id),
        };
        Self { fixed: fixed.encode(), plan, trace: trace.to_owned(), body_hash, earlier }
    }
}

/// Checks a workflow that is submitted. Takes a while when it is large.
///
/// # Errors
/// `INVALID_ARGUMENT` with a violation for each fault, as many as fit.
pub(crate) fn check_workflow(workflow: Option<WorkflowSpec>, trace: &str) -> Result<NewRun, Error> {
    let mut spec = workflow.ok_or_else(|| Error::invalid("workflow", "is missing"))?;
    fill(&mut spec.namespace, NAME_DEFAULT);
    fill(&mut spec.queue, NAME_DEFAULT);
    let body_hash = if spec.idempotency_key.is_empty() { 0 } else { fnv(spec.encode_to_vec()) };
    Ok(NewRun::of(plan(spec)?, trace, body_hash, None))
}

/// Checks a workflow that a schedule in `namespace` starts.
///
/// # Errors
/// As [`check_workflow`].
pub(crate) fn scheduled_plan(mut spec: WorkflowSpec, namespace: &str) -> Result<Plan, Error> {
    fill(&mut spec.namespace, namespace);
    fill(&mut spec.queue, NAME_DEFAULT);
    spec.idempotency_key.clear(); // the fire time is what makes it one of its kind
    plan(spec)
}

/// The workflow for one fire time of a schedule.
pub(crate) fn scheduled_workflow(mut plan: Plan, fire: Fire) -> NewRun {
    plan.extra.fire = Some(fire);
    NewRun::of(plan, "", 0, None)
}

/// Checks a run of a final workflow, perhaps in a newer version, which has the same home.
///
/// # Errors
/// `INVALID_ARGUMENT`: the newer version is wrong, or the old one does not pass today's check.
pub(crate) fn check_rerun(
    view: RunView,
    from_step: String,
    newer: Option<WorkflowSpec>,
    trace: &str,
) -> Result<NewRun, Error> {
    // The schedule that started the earlier run has heard of its end.
    let extra = Extra { fire: None, ..Extra::of(&view.run.extra) };
    let plan = match newer {
        Some(mut spec) => {
            fill(&mut spec.namespace, &extra.namespace);
            fill(&mut spec.queue, &extra.queue);
            for (name, is, was) in
                [("namespace", &spec.namespace, &extra.namespace), ("queue", &spec.queue, &extra.queue)]
            {
                if is != was {
                    let fault = format!("is `{is}`; it must be `{was}`, as in the earlier run");
                    return Err(Error::invalid(format!("workflow.{name}"), fault));
                }
            }
            spec.idempotency_key.clear(); // it is for submits
            plan(spec)?
        }
        None => {
            let definition = mcp_flow::Definition::check((*view.run.definition).clone())
                .map_err(|faults| into_error(faults.into_iter().collect(), &[]))?;
            Plan { definition: Arc::new(definition), input: view.run.input.clone(), extra }
        }
    };
    let from_step = (!from_step.is_empty()).then_some(from_step);
    if let Some(name) = &from_step
        && !plan.definition.raw().steps.iter().any(|step| step.name == *name)
    {
        return Err(Error::invalid("from_step", format!("names no step: there is no `{name}`")));
    }
    Ok(NewRun::of(plan, trace, 0, Some(Earlier { view, from_step })))
}

/// Fills in what a step's task has by default; one that is wrong stays as it is.
pub(crate) fn with_defaults(task: &mut TaskSpec) {
    normalise(task, Root::Single, &mut Violations::default());
}

fn plan(spec: WorkflowSpec) -> Result<Plan, Error> {
    let names: Vec<String> = spec.steps.iter().map(|step| step.name.clone()).collect();
    if spec.steps.len() > STEPS_MAX {
        let fault = format!("there are {} steps; 1 to {STEPS_MAX} are allowed", spec.steps.len());
        return Err(Error::invalid("workflow.steps", fault));
    }
    let mut violations = Violations::default();
    check_frame(&spec, &mut violations);
    check_tasks(&spec, &mut violations);
    let mut faults: Vec<Fault> = match violations.into_result() {
        Ok(()) => Vec::new(),
        Err(error) => error
            .violations()
            .iter()
            .map(|fault| Fault { field: fault.field.clone(), description: fault.description.clone() })
            .collect(),
    };
    let plan = Plan::check(spec);
    if let Err(found) = &plan {
        let known: BTreeSet<String> = faults.iter().map(|fault| fault.field.clone()).collect();
        faults.extend(found.iter().filter(|fault| !known.contains(&fault.field)).cloned());
    }
    match plan {
        Ok(plan) if faults.is_empty() => Ok(plan),
        _ => Err(into_error(faults, &names)),
    }
}

fn check_frame(spec: &WorkflowSpec, violations: &mut Violations) {
    let mut note = |field: &str, fault: Option<String>| {
        if let Some(fault) = fault {
            violations.add(format_args!("workflow.{field}"), fault);
        }
    };
    note("namespace", namespace_fault(&spec.namespace));
    note("queue", queue_fault(&spec.queue));
    note("idempotency_key", length_fault(&spec.idempotency_key, KEY_BYTES_MAX));
    note("labels", fault_of_labels(&spec.labels));
    note("timeout", spec.timeout.and_then(|timeout| duration(timeout).err()));
}

fn check_tasks(spec: &WorkflowSpec, violations: &mut Violations) {
    // What is wrong with the workflow itself was said already.
    let extra = Extra {
        namespace: NAME_DEFAULT.to_owned(),
        queue: NAME_DEFAULT.to_owned(),
        labels: if fault_of_labels(&spec.labels).is_none() { spec.labels.clone() } else { BTreeMap::new() },
        ..Extra::default()
    };
    for (index, step) in spec.steps.iter().enumerate() {
        check_step(step, Root::Step(index), &extra, violations);
        if violations.is_full() {
            return;
        }
    }
    if let Some(step) = &spec.on_failure {
        check_step(step, Root::OnFailure, &extra, violations);
    }
}

fn check_step(step: &StepSpec, root: Root, extra: &Extra, violations: &mut Violations) {
    if FailureMode::try_from(step.failure_mode).is_err() {
        let step_field = root.to_string();
        let field = format!("{}.failure_mode", step_field.trim_end_matches(".task"));
        violations.add(field, format!("{} is not a failure mode", step.failure_mode));
    }
    let Some(task) = &step.task else {
        violations.add(root, "is missing: it says what to run");
        return;
    };
    let unwanted = [
        ("namespace", !task.namespace.is_empty()),
        ("delay", task.delay.is_some()),
        ("idempotency_key", !task.idempotency_key.is_empty()),
        ("unique_key", !task.unique_key.is_empty()),
    ];
    for (name, _) in unwanted.iter().filter(|(_, is_set)| *is_set) {
        violations.add(root.field(name), "must be empty in a step");
    }
    if unwanted.iter().any(|(_, is_set)| *is_set) {
        return;
    }
    let mut task = task.clone();
    at_home(&mut task, extra);
    normalise(&mut task, root, violations);
}

/// The error for faults, of which there is at least one. Those of a step name it.
fn into_error(faults: Vec<Fault>, names: &[String]) -> Error {
    let mut error: Option<Error> = None;
    for Fault { field, description } in faults {
        let step = field.strip_prefix("workflow.steps[").and_then(|rest| rest.split_once(']'));
        let name = step.and_then(|(number, _)| names.get(number.parse::<usize>().ok()?));
        let description = match name {
            Some(name) if !description.contains(&format!("`{name}`")) && field.len() > "workflow.steps[]".len() => {
                format!("in step `{name}`: {description}")
            }
            _ => description,
        };
        error = Some(match error {
            None => Error::invalid(field, description),
            Some(error) => error.with_violation(field, description),
        });
    }
    error.unwrap_or_else(|| Error::invalid("workflow", "is wrong"))
}

fn fill(text: &mut String, default: &str) {
    if text.is_empty() {
        default.clone_into(text);
    }
}

/// The id in a request about a workflow.
///
/// # Errors
/// `INVALID_ARGUMENT`.
pub(crate) fn workflow_id(text: &str) -> Result<TaskId, Error> {
    text.parse()
        .map_err(|_| Error::invalid("workflow_id", "must be a UUID such as `018f3b1e-7c1a-7000-8000-0123456789ab`"))
}

/// Checks the reason of a cancel.
///
/// # Errors
/// `INVALID_ARGUMENT`.
pub(crate) fn reason(text: &str) -> Result<(), Error> {
    length_fault(text, CANCEL_REASON_BYTES_MAX).map_or(Ok(()), |fault| Err(Error::invalid("reason", fault)))
}

/// How long to wait.
///
/// # Errors
/// `INVALID_ARGUMENT`.
pub(crate) fn wait_workflow(request: &WaitWorkflowRequest) -> Result<Duration, Error> {
    wait_of(request.timeout)
}

/// A checked list request.
#[derive(Debug, Clone)]
pub(crate) struct RunFilter {
    /// In one of these states.
    pub(crate) states: RunStates,
    /// Of this namespace; empty means any.
    pub(crate) namespace: String,
    /// Of this queue; empty means any.
    pub(crate) queue: String,
    /// Most workflows of the page.
    pub(crate) limit: usize,
    /// Where the page begins.
    pub(crate) before: Option<TaskId>,
    /// Hash of the filters, for the next page's token.
    pub(crate) hash: u64,
}

impl RunFilter {
    /// True when a workflow is wanted.
    pub(crate) fn takes(&self, brief: &Brief) -> bool {
        self.states.has(brief.state)
            && (self.namespace.is_empty() || self.namespace == brief.extra.namespace)
            && (self.queue.is_empty() || self.queue == brief.extra.queue)
    }
}

/// Checks a list request.
///
/// # Errors
/// `INVALID_ARGUMENT` or `INVALID_PAGE_TOKEN`.
pub(crate) fn list_workflows(request: &ListWorkflowsRequest) -> Result<RunFilter, Error> {
    let mut violations = Violations::default();
    check_names(&request.namespace, &request.queue, &mut violations);
    let mut states = if request.states.is_empty() { RunStates::ALL } else { RunStates::NONE };
    for (index, number) in request.states.iter().enumerate() {
        match WorkflowState::try_from(*number) {
            Ok(WorkflowState::Unspecified) => states = RunStates::ALL,
            Ok(state) => states = states.with(state),
            Err(_) => violations.add(format_args!("states[{index}]"), format!("{number} is not a state")),
        }
    }
    let limit = page_size(request.page_size, &mut violations);
    violations.into_result()?;
    let texts = [request.namespace.as_str(), &request.queue, &states.bits().to_string()];
    let hash = fnv(texts.into_iter().flat_map(|text| text.bytes().chain([0])));
    let before = match request.page_token.as_str() {
        "" => None,
        token => Some(PageToken::decode(token, hash)?.before),
    };
    Ok(RunFilter { states, namespace: request.namespace.clone(), queue: request.queue.clone(), limit, before, hash })
}
