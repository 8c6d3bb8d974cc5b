//! Every method of the client for queues, schedules and workflows: which call it makes, and with which home.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt as _, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::Frame;
use mcp_client::Client;
use mcp_proto::scheduler::v1::{
    BackfillScheduleRequest, GetQueueScalingRequest, ListDeadLettersRequest, ListFiresRequest, ListSchedulesRequest,
    ListWorkflowsRequest, PurgeDeadLettersRequest, QueueRules, ReplayDeadLettersRequest, RerunWorkflowRequest,
    Schedule, WaitWorkflowResponse, Workflow, WorkflowSpec, WorkflowState,
};
use prost::Message as _;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Status, body::Body, codegen::Service, server::NamedService, transport::Server};

/// A field 1 that is an empty message or text.
const EMPTY_FIRST_FIELD: &[u8] = &[0x0a, 0x00];
/// Answers whose first field is neither.
const WITHOUT_FIRST_FIELD: [&str; 4] = ["GetQueueScaling", "PurgeDeadLetters", "BackfillSchedule", "CheckWorkflow"];

/// Calls as `method home`.
type Calls = Arc<Mutex<Vec<String>>>;

/// Answers every unary call of a service.
#[derive(Clone)]
struct Anything<const SERVICE: usize>(Calls);

macro_rules! named {
    ($number:literal, $name:literal) => {
        impl NamedService for Anything<$number> {
            const NAME: &'static str = $name;
        }
    };
}
named!(0, "mcp.scheduler.v1.QueueService");
named!(1, "mcp.scheduler.v1.ScheduleService");
named!(2, "mcp.scheduler.v1.WorkflowService");

impl<const SERVICE: usize> Service<Request<Body>> for Anything<SERVICE> {
    type Response = Response<UnsyncBoxBody<Bytes, Status>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let method = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
        let home = request.headers().get("mcp-partition-key").map_or("-", |key| key.to_str().unwrap()).to_owned();
        self.0.lock().unwrap().push(format!("{method} {home}"));
        let message = match method.as_str() {
            "WaitWorkflow" => {
                let workflow = Workflow { state: WorkflowState::Failed.into(), ..Workflow::default() };
                WaitWorkflowResponse { workflow: Some(workflow) }.encode_to_vec()
            }
            method if WITHOUT_FIRST_FIELD.contains(&method) => Vec::new(),
            _ => EMPTY_FIRST_FIELD.to_vec(),
        };
        let mut frame = vec![0, 0, 0, 0, u8::try_from(message.len()).unwrap()];
        frame.extend(message);
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        let frames = [Ok(Frame::data(Bytes::from(frame))), Ok(Frame::trailers(trailers))];
        let body = StreamBody::new(tokio_stream::iter(frames)).boxed_unsync();
        let response = Response::builder().header("content-type", "application/grpc").body(body).unwrap();
        Box::pin(async move { Ok(response) })
    }
}

async fn serve() -> (Client, Calls) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let calls = Calls::default();
    let server = Server::builder()
        .add_service(Anything::<0>(Arc::clone(&calls)))
        .add_service(Anything::<1>(Arc::clone(&calls)))
        .add_service(Anything::<2>(Arc::clone(&calls)))
        .serve_with_incoming(TcpListenerStream::new(listener));
    tokio::spawn(server);
    (Client::connect(&url).unwrap(), calls)
}

fn seen(calls: &Calls) -> Vec<String> {
    std::mem::take(&mut *calls.lock().unwrap())
}

#[tokio::test]
async fn queues() {
    let (client, calls) = serve().await;
    let (namespace, queue) = ("shop".to_owned(), "mail".to_owned());
    client.queue("shop", "mail").await.unwrap();
    client.queues("shop").await.unwrap();
    client.set_queue_rules("shop", "mail", QueueRules::default()).await.unwrap();
    client.pause_queue("shop", "mail").await.unwrap();
    client.drain_queue("shop", "mail").await.unwrap();
    client.resume_queue("shop", "").await.unwrap();
    let request = GetQueueScalingRequest { namespace, queue, ..GetQueueScalingRequest::default() };
    client.queue_scaling(request.clone()).await.unwrap();
    let GetQueueScalingRequest { namespace, queue, .. } = request;
    let list = ListDeadLettersRequest { namespace: namespace.clone(), queue: queue.clone(), ..Default::default() };
    client.dead_letters(list).await.unwrap();
    let replay = ReplayDeadLettersRequest { namespace: namespace.clone(), queue: queue.clone(), ..Default::default() };
    client.replay_dead_letters(replay).await.unwrap();
    client.purge_dead_letters(PurgeDeadLettersRequest { namespace, queue, filter: None }).await.unwrap();
    assert_eq!(
        seen(&calls),
        [
            "GetQueue shop/mail",
            "ListQueues -",
            "SetQueueRules shop/mail",
            "PauseQueue shop/mail",
            "DrainQueue shop/mail",
            "ResumeQueue shop/default",
            "GetQueueScaling shop/mail",
            "ListDeadLetters shop/mail",
            "ReplayDeadLetters shop/mail",
            "PurgeDeadLetters shop/mail",
        ]
    );
}

#[tokio::test]
async fn schedules() {
    let (client, calls) = serve().await;
    client.put_schedule(Schedule::default()).await.unwrap();
    client.schedule("shop", "nightly").await.unwrap();
    client.schedules(ListSchedulesRequest::default()).await.unwrap();
    client.pause_schedule("shop", "nightly").await.unwrap();
    client.resume_schedule("shop", "nightly").await.unwrap();
    client.trigger_schedule("shop", "nightly").await.unwrap();
    client.backfill_schedule(BackfillScheduleRequest::default()).await.unwrap();
    client.fires(ListFiresRequest::default()).await.unwrap();
    client.delete_schedule("shop", "nightly").await.unwrap();
    assert_eq!(
        seen(&calls),
        [
            "PutSchedule -",
            "GetSchedule -",
            "ListSchedules -",
            "PauseSchedule -",
            "ResumeSchedule -",
            "TriggerSchedule -",
            "BackfillSchedule -",
            "ListFires -",
            "DeleteSchedule -",
        ]
    );
}

#[tokio::test]
async fn workflows() {
    let (client, calls) = serve().await;
    let spec = WorkflowSpec { queue: "etl".to_owned(), ..WorkflowSpec::default() };
    client.submit_workflow(spec.clone()).await.unwrap();
    client.check_workflow(spec).await.unwrap();
    client.workflow("id").await.unwrap();
    client.workflows(ListWorkflowsRequest::default()).await.unwrap();
    assert_eq!(client.wait_workflow("id", Duration::from_secs(10)).await.unwrap().state(), WorkflowState::Failed);
    client.cancel_workflow("id", "enough").await.unwrap();
    client.pause_workflow("id").await.unwrap();
    client.resume_workflow("id").await.unwrap();
    let rerun = RerunWorkflowRequest { workflow_id: "id".to_owned(), ..RerunWorkflowRequest::default() };
    client.rerun_workflow(rerun).await.unwrap();
    assert_eq!(
        seen(&calls),
        [
            "SubmitWorkflow default/etl",
            "CheckWorkflow default/etl",
            "GetWorkflow id",
            "ListWorkflows -",
            "WaitWorkflow id",
            "CancelWorkflow id",
            "PauseWorkflow id",
            "ResumeWorkflow id",
            "RerunWorkflow id",
        ]
    );
}
