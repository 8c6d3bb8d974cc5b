//! Wrong requests: each has its catalogue entry and its gRPC status, and changes nothing.

use mcp_proto::{
    Code, Error,
    scheduler::v1::{
        BatchSubmitTasksRequest, CancelTaskRequest, GetTaskRequest, ListTasksRequest, ProcessWork, ReadTaskLogsRequest,
        SubmitTaskRequest, TaskSpec, WaitTaskRequest, WatchTasksRequest, task_spec::Work,
    },
};
use tonic::{Code as Grpc, Status};

use crate::support::{Scheduler, handler};

fn process(argv: &[&str], stdin: usize) -> TaskSpec {
    let argv = argv.iter().map(|argument| (*argument).to_owned()).collect();
    let work = ProcessWork { argv, stdin: vec![0; stdin].into(), ..ProcessWork::default() };
    TaskSpec { work: Some(Work::Process(work)), ..TaskSpec::default() }
}

fn seconds(seconds: i64) -> Option<prost_types::Duration> {
    Some(prost_types::Duration { seconds, nanos: 0 })
}

fn check(case: &str, answer: Result<(), Status>, code: Code, field: &str) {
    let status = answer.expect_err(case);
    let error = Error::from(&status);
    assert_eq!((error.code(), status.code()), (code, code.grpc()), "{case}: {error}");
    let fields: Vec<_> = error.violations().iter().map(|violation| violation.field.as_str()).collect();
    let expected: Vec<_> = Some(field).filter(|field| !field.is_empty()).into_iter().collect();
    assert_eq!(fields, expected, "{case}");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_submits_are_refused() {
    let scheduler = Scheduler::start().await;
    let submit =
        async |task: Option<TaskSpec>| scheduler.client.clone().submit_task(SubmitTaskRequest { task }).await.map(drop);
    let batch = async |tasks: Vec<TaskSpec>| {
        scheduler.client.clone().batch_submit_tasks(BatchSubmitTasksRequest { tasks }).await.map(drop)
    };
    let invalid = Code::InvalidArgument;
    check("no task", submit(None).await, invalid, "task");
    check("no work", submit(Some(TaskSpec::default())).await, invalid, "task.work");
    check("empty argv", submit(Some(process(&[], 0))).await, invalid, "task.process.argv");
    let negative = TaskSpec { run_timeout: seconds(-1), ..handler("h") };
    check("negative timeout", submit(Some(negative)).await, invalid, "task.run_timeout");
    check("17 MiB", submit(Some(process(&["cat"], 17 << 20))).await, Code::PayloadTooLarge, "");
    let wrong = vec![handler("h"), handler("h"), handler("h"), process(&[], 0)];
    check("wrong in a batch", batch(wrong).await, invalid, "tasks[3].process.argv");
    check("empty batch", batch(Vec::new()).await, invalid, "tasks");
    check("too many", batch(vec![handler("h"); 10_001]).await, invalid, "tasks");
    let listed = scheduler.client.clone().list_tasks(ListTasksRequest::default()).await.unwrap().into_inner();
    assert!(listed.tasks.is_empty(), "something was stored");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_and_unknown_ids_are_refused() {
    let scheduler = Scheduler::start().await;
    let unknown = uuid::Uuid::now_v7().to_string();
    for (id, code, field) in [("nonsense", Code::InvalidArgument, "task_id"), (&unknown, Code::TaskNotFound, "")] {
        let mut client = scheduler.client.clone();
        let task_id = id.to_owned();
        check("get", client.get_task(GetTaskRequest { task_id: task_id.clone() }).await.map(drop), code, field);
        let wait = WaitTaskRequest { task_id: task_id.clone(), timeout: None };
        check("wait", client.wait_task(wait).await.map(drop), code, field);
        let cancel = CancelTaskRequest { task_id: task_id.clone(), reason: String::new() };
        check("cancel", client.cancel_task(cancel).await.map(drop), code, field);
        for follow in [false, true] {
            let logs = ReadTaskLogsRequest { task_id: task_id.clone(), after_seq: 0, follow };
            check("logs", client.read_task_logs(logs).await.map(drop), code, field);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_queries_are_refused() {
    let scheduler = Scheduler::start().await;
    let mut client = scheduler.client.clone();
    let list = |change: fn(&mut ListTasksRequest)| {
        let mut request = ListTasksRequest::default();
        change(&mut request);
        request
    };
    let invalid = Code::InvalidArgument;
    let cases = [
        (list(|request| request.page_token = "bad".to_owned()), Code::InvalidPageToken, "page_token"),
        (list(|request| request.page_size = 501), invalid, "page_size"),
        (list(|request| request.page_size = -1), invalid, "page_size"),
        (list(|request| request.states = vec![42]), invalid, "states[0]"),
        (list(|request| request.queue = "a b".to_owned()), invalid, "queue"),
    ];
    for (request, code, field) in cases {
        check("list", client.list_tasks(request).await.map(drop), code, field);
    }
    let task_id = uuid::Uuid::now_v7().to_string();
    for bad in [seconds(-1), seconds(301)] {
        let wait = WaitTaskRequest { task_id: task_id.clone(), timeout: bad };
        check("wait", client.wait_task(wait).await.map(drop), invalid, "timeout");
    }
    let watch = WatchTasksRequest { task_ids: vec!["x".to_owned()], ..WatchTasksRequest::default() };
    check("watch", client.watch_tasks(watch).await.map(drop), invalid, "task_ids[0]");
    let cancel = CancelTaskRequest { task_id, reason: "x".repeat(201) };
    check("cancel", client.cancel_task(cancel).await.map(drop), invalid, "reason");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_method_is_unimplemented() {
    let scheduler = Scheduler::start().await;
    let mut grpc = tonic::client::Grpc::new(scheduler.channel.clone());
    grpc.ready().await.unwrap();
    let codec = tonic_prost::ProstCodec::<GetTaskRequest, GetTaskRequest>::default();
    let path = http::uri::PathAndQuery::from_static("/mcp.worker.v1.WorkerSessionService/Nonsense");
    let answer = grpc.unary(tonic::Request::new(GetTaskRequest::default()), path, codec).await;
    assert_eq!(answer.unwrap_err().code(), Grpc::Unimplemented);
}
