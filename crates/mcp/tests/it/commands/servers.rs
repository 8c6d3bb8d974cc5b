//! The services of a scheduler without any of its rules: they keep what they are told and answer from a script.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
};

use mcp_proto::{
    Code, Error,
    scheduler::v1::{
        queue_service_server::{QueueService, QueueServiceServer},
        schedule_service_server::{ScheduleService, ScheduleServiceServer},
        workflow_service_server::{WorkflowService, WorkflowServiceServer},
        *,
    },
};
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;
use tonic::{Request, Response, Status, transport::server::TcpIncoming};

/// Dead letters that one call replays or removes.
const GROUP: usize = 2;

/// What the services know. A test fills it in before, and looks at it afterwards.
#[derive(Debug, Default)]
pub(super) struct Script {
    pub(super) queue: Queue,
    pub(super) dead: Vec<String>,
    /// Calls that replayed or removed dead letters.
    pub(super) dead_calls: usize,
    pub(super) filters: Vec<DeadLetterFilter>,
    pub(super) schedules: BTreeMap<String, Schedule>,
    pub(super) backfill: Option<BackfillScheduleRequest>,
    pub(super) fires: Vec<Fire>,
    /// What is wrong with every workflow that comes in.
    pub(super) fault: Option<Error>,
    pub(super) submitted: Vec<WorkflowSpec>,
    pub(super) rerun: Option<RerunWorkflowRequest>,
    /// What a workflow looks like, look by look; the last one stays.
    pub(super) looks: VecDeque<Workflow>,
}

/// The services on a port of their own.
#[derive(Debug)]
pub(super) struct Servers {
    pub(super) url: String,
    script: Arc<Mutex<Script>>,
    _task: AbortOnDropHandle<()>,
}

impl Servers {
    pub(super) async fn start(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let script = Arc::new(Mutex::new(script));
        let services = Services(Arc::clone(&script));
        let serve = tonic::transport::Server::builder()
            .add_service(QueueServiceServer::new(services.clone()))
            .add_service(ScheduleServiceServer::new(services.clone()))
            .add_service(WorkflowServiceServer::new(services))
            .serve_with_incoming(TcpIncoming::from(listener));
        let task = AbortOnDropHandle::new(tokio::spawn(async move { serve.await.unwrap() }));
        Self { url, script, _task: task }
    }

    pub(super) fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap()
    }
}

#[derive(Debug, Clone)]
struct Services(Arc<Mutex<Script>>);

impl Services {
    fn script(&self) -> MutexGuard<'_, Script> {
        self.0.lock().unwrap()
    }

    fn scheduled(&self, name: &str) -> Result<Schedule, Status> {
        let found = self.script().schedules.get(name).cloned();
        found.ok_or_else(|| Error::new(Code::ScheduleNotFound, format!("there is no schedule `{name}`")).into())
    }

    /// The workflow as it looks now.
    fn look(&self) -> Option<Workflow> {
        let looks = &mut self.script().looks;
        if looks.len() > 1 { looks.pop_front() } else { looks.front().cloned() }
    }

    /// Takes the next group of dead letters off the list.
    fn take_dead(&self, filter: Option<DeadLetterFilter>) -> (Vec<String>, bool) {
        let mut script = self.script();
        script.dead_calls += 1;
        script.filters.extend(filter);
        let count = script.dead.len().min(GROUP);
        let taken = script.dead.drain(..count).collect();
        (taken, !script.dead.is_empty())
    }

    fn checked(&self) -> Result<(), Status> {
        self.script().fault.clone().map_or(Ok(()), |fault| Err(fault.into()))
    }
}

type Answer<T> = Result<Response<T>, Status>;

/// A method that no test calls.
fn unused<T>() -> Answer<T> {
    Err(Status::unimplemented("not in the script"))
}

#[tonic::async_trait]
impl QueueService for Services {
    async fn get_queue(&self, _: Request<GetQueueRequest>) -> Answer<GetQueueResponse> {
        Ok(Response::new(GetQueueResponse { queue: Some(self.script().queue.clone()) }))
    }

    async fn list_queues(&self, _: Request<ListQueuesRequest>) -> Answer<ListQueuesResponse> {
        let queues = vec![self.script().queue.clone()];
        Ok(Response::new(ListQueuesResponse { queues, truncated: false }))
    }

    async fn set_queue_rules(&self, request: Request<SetQueueRulesRequest>) -> Answer<SetQueueRulesResponse> {
        let mut script = self.script();
        script.queue.rules = request.into_inner().rules;
        Ok(Response::new(SetQueueRulesResponse { queue: Some(script.queue.clone()) }))
    }

    async fn pause_queue(&self, _: Request<PauseQueueRequest>) -> Answer<PauseQueueResponse> {
        let mut script = self.script();
        script.queue.pause_time = Some(prost_types::Timestamp::default());
        Ok(Response::new(PauseQueueResponse { queue: Some(script.queue.clone()) }))
    }

    async fn drain_queue(&self, _: Request<DrainQueueRequest>) -> Answer<DrainQueueResponse> {
        unused()
    }

    async fn resume_queue(&self, _: Request<ResumeQueueRequest>) -> Answer<ResumeQueueResponse> {
        unused()
    }

    async fn get_queue_scaling(&self, _: Request<GetQueueScalingRequest>) -> Answer<GetQueueScalingResponse> {
        let signal = GetQueueScalingResponse { needed_workers: 3.0, queue_depth: 12.0, ..Default::default() };
        Ok(Response::new(signal))
    }

    async fn list_dead_letters(&self, request: Request<ListDeadLettersRequest>) -> Answer<ListDeadLettersResponse> {
        let request = request.into_inner();
        let dead = self.script().dead.clone();
        let from: usize = request.page_token.parse().unwrap_or_default();
        let to = dead.len().min(from + GROUP);
        let letter = |id: &String| {
            let task = Task { id: id.clone(), ..Task::default() };
            DeadLetter { task: Some(task), time: Some(prost_types::Timestamp::default()) }
        };
        let next_page_token = if to < dead.len() { to.to_string() } else { String::new() };
        let dead_letters = dead[from..to].iter().map(letter).collect();
        Ok(Response::new(ListDeadLettersResponse { dead_letters, next_page_token }))
    }

    async fn replay_dead_letters(
        &self,
        request: Request<ReplayDeadLettersRequest>,
    ) -> Answer<ReplayDeadLettersResponse> {
        let (taken, more) = self.take_dead(request.into_inner().filter);
        let replayed = |id: String| Replayed { new_task_id: format!("{id}-again"), task_id: id };
        let replayed = taken.into_iter().map(replayed).collect();
        Ok(Response::new(ReplayDeadLettersResponse { replayed, errors: Vec::new(), more }))
    }

    async fn purge_dead_letters(&self, request: Request<PurgeDeadLettersRequest>) -> Answer<PurgeDeadLettersResponse> {
        let (taken, more) = self.take_dead(request.into_inner().filter);
        let purged = u32::try_from(taken.len()).unwrap();
        Ok(Response::new(PurgeDeadLettersResponse { purged, more }))
    }
}

#[tonic::async_trait]
impl ScheduleService for Services {
    async fn put_schedule(&self, request: Request<PutScheduleRequest>) -> Answer<PutScheduleResponse> {
        self.checked()?;
        let schedule = request.into_inner().schedule.unwrap();
        self.script().schedules.insert(schedule.name.clone(), schedule.clone());
        Ok(Response::new(PutScheduleResponse { schedule: Some(schedule) }))
    }

    async fn get_schedule(&self, request: Request<GetScheduleRequest>) -> Answer<GetScheduleResponse> {
        let schedule = self.scheduled(&request.into_inner().name)?;
        Ok(Response::new(GetScheduleResponse { schedule: Some(schedule) }))
    }

    async fn list_schedules(&self, _: Request<ListSchedulesRequest>) -> Answer<ListSchedulesResponse> {
        let schedules = self.script().schedules.values().cloned().collect();
        Ok(Response::new(ListSchedulesResponse { schedules, next_page_token: String::new() }))
    }

    async fn delete_schedule(&self, request: Request<DeleteScheduleRequest>) -> Answer<DeleteScheduleResponse> {
        let name = request.into_inner().name;
        self.scheduled(&name)?;
        self.script().schedules.remove(&name);
        Ok(Response::new(DeleteScheduleResponse {}))
    }

    async fn pause_schedule(&self, _: Request<PauseScheduleRequest>) -> Answer<PauseScheduleResponse> {
        unused()
    }

    async fn resume_schedule(&self, _: Request<ResumeScheduleRequest>) -> Answer<ResumeScheduleResponse> {
        unused()
    }

    async fn trigger_schedule(&self, _: Request<TriggerScheduleRequest>) -> Answer<TriggerScheduleResponse> {
        let fire = self.script().fires.first().cloned();
        Ok(Response::new(TriggerScheduleResponse { fire }))
    }

    async fn backfill_schedule(&self, request: Request<BackfillScheduleRequest>) -> Answer<BackfillScheduleResponse> {
        self.script().backfill = Some(request.into_inner());
        Ok(Response::new(BackfillScheduleResponse { accepted: 7, ran_before: 2 }))
    }

    async fn list_fires(&self, _: Request<ListFiresRequest>) -> Answer<ListFiresResponse> {
        let fires = self.script().fires.clone();
        Ok(Response::new(ListFiresResponse { fires, next_page_token: String::new() }))
    }
}

#[tonic::async_trait]
impl WorkflowService for Services {
    async fn submit_workflow(&self, request: Request<SubmitWorkflowRequest>) -> Answer<SubmitWorkflowResponse> {
        self.checked()?;
        self.script().submitted.extend(request.into_inner().workflow);
        Ok(Response::new(SubmitWorkflowResponse { workflow_id: "W1".to_owned(), deduplicated: false }))
    }

    async fn check_workflow(&self, _: Request<CheckWorkflowRequest>) -> Answer<CheckWorkflowResponse> {
        self.checked()?;
        Ok(Response::new(CheckWorkflowResponse {}))
    }

    async fn get_workflow(&self, _: Request<GetWorkflowRequest>) -> Answer<GetWorkflowResponse> {
        match self.look() {
            Some(workflow) => Ok(Response::new(GetWorkflowResponse { workflow: Some(workflow) })),
            None => Err(Error::new(Code::WorkflowNotFound, "there is no such workflow").into()),
        }
    }

    async fn list_workflows(&self, _: Request<ListWorkflowsRequest>) -> Answer<ListWorkflowsResponse> {
        let workflows = self.look().into_iter().collect();
        Ok(Response::new(ListWorkflowsResponse { workflows, next_page_token: String::new() }))
    }

    async fn wait_workflow(&self, _: Request<WaitWorkflowRequest>) -> Answer<WaitWorkflowResponse> {
        // The end comes when all looks before it were taken.
        loop {
            let last = {
                let script = self.script();
                (script.looks.len() == 1).then(|| script.looks[0].clone())
            };
            if let Some(workflow) = last {
                return Ok(Response::new(WaitWorkflowResponse { workflow: Some(workflow) }));
            }
            tokio::task::yield_now().await;
        }
    }

    async fn cancel_workflow(&self, _: Request<CancelWorkflowRequest>) -> Answer<CancelWorkflowResponse> {
        unused()
    }

    async fn pause_workflow(&self, _: Request<PauseWorkflowRequest>) -> Answer<PauseWorkflowResponse> {
        unused()
    }

    async fn resume_workflow(&self, _: Request<ResumeWorkflowRequest>) -> Answer<ResumeWorkflowResponse> {
        unused()
    }

    async fn rerun_workflow(&self, request: Request<RerunWorkflowRequest>) -> Answer<RerunWorkflowResponse> {
        self.script().rerun = Some(request.into_inner());
        Ok(Response::new(RerunWorkflowResponse { workflow_id: "W2".to_owned() }))
    }
}
