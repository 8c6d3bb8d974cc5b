//! Workflows over real gRPC, with the worker of the SDK.

mod control;
mod data;
mod explain;
mod failures;
mod large;
mod lists;
mod order;
mod refusals;
mod restarts;
mod scheduled;

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use mcp_client::{
    Discovery,
    value::from_value,
    worker::{HandlerError, Schedulers, Worker},
};
use mcp_proto::{
    FILE_DESCRIPTOR_SET,
    scheduler::v1::{
        CancelWorkflowRequest, GetWorkflowRequest, ListWorkflowsRequest, ListWorkflowsResponse, PauseWorkflowRequest,
        RerunWorkflowRequest, ResumeWorkflowRequest, Step, StepState, SubmitWorkflowRequest, SubmitWorkflowResponse,
        WaitWorkflowRequest, Workflow, WorkflowSpec, WorkflowState, workflow_service_client::WorkflowServiceClient,
    },
};
use prost_reflect::{DescriptorPool, DynamicMessage};
use scheduler::config::Settings;
use serde_json::{Value, json};
use tokio::{sync::Semaphore, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use tonic::{Status, transport::Channel};

use crate::support::{LIMIT, Scheduler};

/// A scheduler, and a worker with these handlers:
/// `echo` gives its input back; `gate` waits until the test lets it; `flaky` fails while the plant is broken; `fail` always.
struct Plant {
    scheduler: Scheduler,
    state: Arc<State>,
    stop: CancellationToken,
    worker: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct State {
    /// Names of tasks in the order in which they started and ended.
    journal: Mutex<Vec<String>>,
    gate: Semaphore,
    is_broken: AtomicBool,
    running: AtomicUsize,
    running_max: AtomicUsize,
}

impl State {
    fn note(&self, what: &str, name: &str) {
        self.journal.lock().unwrap().push(format!("{what} {name}"));
    }
}

impl Plant {
    async fn start() -> Self {
        Self::with(Settings::default(), 64).await
    }

    async fn with(settings: Settings, slots: usize) -> Self {
        let scheduler = Scheduler::with(settings).await;
        let state = Arc::new(State {
            journal: Mutex::default(),
            gate: Semaphore::new(0),
            is_broken: AtomicBool::new(false),
            running: AtomicUsize::new(0),
            running_max: AtomicUsize::new(0),
        });
        let stop = CancellationToken::new();
        let cluster = scheduler::Config::default().coord.cluster;
        let discovery = Discovery::start(Arc::clone(&scheduler.coord), cluster.as_str());
        let worker = worker(discovery, &state, slots);
        let worker = tokio::spawn(worker.run(stop.clone()));
        Self { scheduler, state, stop, worker: Some(worker) }
    }

    fn client(&self) -> WorkflowServiceClient<Channel> {
        WorkflowServiceClient::new(self.scheduler.channel.clone())
            .max_decoding_message_size(64 << 20)
            .max_encoding_message_size(64 << 20)
    }

    async fn try_submit(&self, spec: WorkflowSpec) -> Result<SubmitWorkflowResponse, Status> {
        let request = SubmitWorkflowRequest { workflow: Some(spec) };
        self.client().submit_workflow(request).await.map(tonic::Response::into_inner)
    }

    async fn submit(&self, spec: Value) -> String {
        self.try_submit(workflow(spec)).await.unwrap().workflow_id
    }

    /// Submits a workflow and waits for its end.
    async fn run(&self, spec: Value) -> Workflow {
        let id = self.submit(spec).await;
        self.wait(&id).await
    }

    async fn try_get(&self, id: &str) -> Result<Workflow, Status> {
        let request = GetWorkflowRequest { workflow_id: id.to_owned() };
        self.client().get_workflow(request).await.map(|answer| answer.into_inner().workflow.unwrap())
    }

    async fn get(&self, id: &str) -> Workflow {
        self.try_get(id).await.unwrap()
    }

    /// The workflow once it is final.
    async fn wait(&self, id: &str) -> Workflow {
        let request = WaitWorkflowRequest { workflow_id: id.to_owned(), timeout: Some(LIMIT.try_into().unwrap()) };
        let workflow = self.client().wait_workflow(request).await.unwrap().into_inner().workflow.unwrap();
        assert!(workflow.finish_time.is_some(), "{:?} {:?}", workflow.state(), states(&workflow));
        workflow
    }

    /// Waits until a step is in this state.
    async fn reaches(&self, id: &str, name: &str, state: StepState) -> Workflow {
        testkit::eventually(LIMIT, || async {
            let workflow = self.get(id).await;
            if step(&workflow, name).state() == state { Ok(workflow) } else { Err(format!("{:?}", states(&workflow))) }
        })
        .await
    }

    /// Waits until so many tasks have begun.
    async fn begun(&self, count: usize) {
        testkit::eventually(LIMIT, || async {
            let journal = self.journal();
            let begun = journal.iter().filter(|line| line.starts_with("start")).count();
            if begun >= count { Ok(()) } else { Err(format!("{journal:?}")) }
        })
        .await;
    }

    async fn list(&self, request: ListWorkflowsRequest) -> ListWorkflowsResponse {
        self.client().list_workflows(request).await.unwrap().into_inner()
    }

    async fn cancel(&self, id: &str, reason: &str) -> Result<Workflow, Status> {
        let request = CancelWorkflowRequest { workflow_id: id.to_owned(), reason: reason.to_owned() };
        self.client().cancel_workflow(request).await.map(|answer| answer.into_inner().workflow.unwrap())
    }

    async fn pause(&self, id: &str) -> Result<Workflow, Status> {
        let request = PauseWorkflowRequest { workflow_id: id.to_owned() };
        self.client().pause_workflow(request).await.map(|answer| answer.into_inner().workflow.unwrap())
    }

    async fn resume(&self, id: &str) -> Result<Workflow, Status> {
        let request = ResumeWorkflowRequest { workflow_id: id.to_owned() };
        self.client().resume_workflow(request).await.map(|answer| answer.into_inner().workflow.unwrap())
    }

    async fn rerun(&self, id: &str, from_step: &str, newer: Option<Value>) -> Result<String, Status> {
        let (workflow_id, from_step) = (id.to_owned(), from_step.to_owned());
        let request = RerunWorkflowRequest { workflow_id, from_step, workflow: newer.map(workflow) };
        self.client().rerun_workflow(request).await.map(|answer| answer.into_inner().workflow_id)
    }

    /// Lets so many tasks pass the gate.
    fn open_gate(&self, count: usize) {
        self.state.gate.add_permits(count);
    }

    fn set_broken(&self, is_broken: bool) {
        self.state.is_broken.store(is_broken, Ordering::SeqCst);
    }

    fn journal(&self) -> Vec<String> {
        self.state.journal.lock().unwrap().clone()
    }

    /// How often a task of this name started.
    fn starts(&self, name: &str) -> usize {
        let line = format!("start {name}");
        self.journal().iter().filter(|other| **other == line).count()
    }

    /// Where a line is in the journal.
    fn at(&self, line: &str) -> usize {
        let journal = self.journal();
        journal.iter().position(|other| other == line).unwrap_or_else(|| panic!("no `{line}` in {journal:?}"))
    }

    async fn stop(mut self) {
        self.stop.cancel();
        if let Some(worker) = self.worker.take() {
            tokio::time::timeout(LIMIT, worker).await.unwrap().unwrap();
        }
        self.scheduler.stop().await;
    }
}

impl Drop for Plant {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn worker(discovery: Discovery, state: &Arc<State>, slots: usize) -> Worker {
    let (echo, gate, flaky, fail) = (Arc::clone(state), Arc::clone(state), Arc::clone(state), Arc::clone(state));
    Worker::builder(Schedulers::Discovered(discovery))
        .slots(slots)
        .drain_grace(std::time::Duration::ZERO)
        .reconnect(std::time::Duration::from_millis(10), std::time::Duration::from_millis(100))
        .handler("echo", move |context, input| {
            let state = Arc::clone(&echo);
            async move {
                state.note("start", context.name());
                state.note("end", context.name());
                Ok(input)
            }
        })
        .handler("gate", move |context, input| {
            let state = Arc::clone(&gate);
            async move {
                state.note("start", context.name());
                let running = state.running.fetch_add(1, Ordering::SeqCst) + 1;
                state.running_max.fetch_max(running, Ordering::SeqCst);
                state.gate.acquire().await.unwrap().forget();
                state.running.fetch_sub(1, Ordering::SeqCst);
                state.note("end", context.name());
                Ok(input)
            }
        })
        .handler("flaky", move |context, input| {
            let state = Arc::clone(&flaky);
            async move {
                state.note("start", context.name());
                if state.is_broken.load(Ordering::SeqCst) {
                    return Err(HandlerError::permanent("it is broken"));
                }
                Ok(input)
            }
        })
        .handler("fail", move |context, _| {
            let state = Arc::clone(&fail);
            async move {
                state.note("start", context.name());
                Err(HandlerError::permanent("it failed"))
            }
        })
        .build()
}

/// The message of some proto3 JSON.
pub(crate) fn workflow(json: Value) -> WorkflowSpec {
    let pool = DescriptorPool::decode(FILE_DESCRIPTOR_SET).unwrap();
    let descriptor = pool.get_message_by_name("mcp.scheduler.v1.WorkflowSpec").unwrap();
    DynamicMessage::deserialize(descriptor, json).unwrap().transcode_to().unwrap()
}

/// A step that runs `handler` with an input, under its own name.
fn task(name: &str, handler: &str, input: Value, depends_on: &[&str]) -> Value {
    json!({
        "name": name,
        "task": {"name": name, "handler": {"handler": handler, "input": input}},
        "dependsOn": depends_on,
    })
}

/// A step that gives `input` back.
fn echo(name: &str, input: Value, depends_on: &[&str]) -> Value {
    task(name, "echo", input, depends_on)
}

/// A step with some more fields.
fn with(mut step: Value, more: Value) -> Value {
    let (Some(step_fields), Value::Object(more)) = (step.as_object_mut(), more) else { panic!("no objects") };
    step_fields.extend(more);
    step
}

pub(crate) fn step<'a>(workflow: &'a Workflow, name: &str) -> &'a Step {
    let found = workflow.steps.iter().find(|step| step.name == name);
    found.unwrap_or_else(|| panic!("no step `{name}`"))
}

pub(crate) fn output(value: &Option<prost_types::Value>) -> Value {
    value.clone().map_or(Value::Null, from_value)
}

/// Names and states of the steps.
pub(crate) fn states(workflow: &Workflow) -> Vec<String> {
    let state = |step: &Step| step.state().as_str_name().trim_start_matches("STEP_STATE_").to_lowercase();
    workflow.steps.iter().map(|step| format!("{} {}", step.name, state(step))).collect()
}

fn tasks(workflow: &Workflow) -> BTreeSet<String> {
    workflow.steps.iter().flat_map(|step| step.task_ids.clone()).collect()
}

pub(crate) fn assert_succeeded(workflow: &Workflow) {
    let error = &workflow.error;
    assert_eq!(workflow.state(), WorkflowState::Succeeded, "{error:?} {:?}", states(workflow));
}
