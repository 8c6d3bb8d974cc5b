//! Watches and logs.

use mcp_proto::{
    Code,
    scheduler::v1::{
        LogStream, Progress, ReadTaskLogsRequest, TaskEvent, TaskState, WatchTasksRequest, WatchTasksResponse,
    },
    worker::v1::{AttemptLogLine, AttemptLogs, AttemptProgress, AttemptRef, OpenSessionRequest},
};
use scheduler::config::Settings;
use tonic::Streaming;

use crate::support::{LIMIT, Scheduler, Worker, code, failure, handler, success};

async fn watch(scheduler: &Scheduler, request: WatchTasksRequest) -> Streaming<WatchTasksResponse> {
    let mut stream = scheduler.client.clone().watch_tasks(request).await.unwrap().into_inner();
    let first = stream.message().await.unwrap().unwrap();
    assert_eq!(first, WatchTasksResponse::default(), "the first response says that the watch is in place");
    stream
}

async fn next(stream: &mut Streaming<WatchTasksResponse>) -> Vec<TaskEvent> {
    let response = tokio::time::timeout(LIMIT, stream.message()).await.expect("an event in time").unwrap().unwrap();
    assert_eq!(response.dropped, 0);
    response.events
}

fn logs(attempt: &AttemptRef, texts: &[&str]) -> OpenSessionRequest {
    let line = |text: &&str| AttemptLogLine {
        text: (*text).to_owned(),
        stream: LogStream::Stdout.into(),
        ..AttemptLogLine::default()
    };
    let lines = texts.iter().map(line).collect();
    let logs = vec![AttemptLogs { attempt: Some(attempt.clone()), lines }];
    OpenSessionRequest { logs, ..OpenSessionRequest::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_tells_every_change_in_order() {
    let scheduler = Scheduler::start().await;
    let mut stream = watch(&scheduler, WatchTasksRequest::default()).await;
    let once = mcp_proto::scheduler::v1::RetryPolicy { max_attempts: 1, ..Default::default() };
    let id = scheduler.submit(mcp_proto::scheduler::v1::TaskSpec { retry: Some(once), ..handler("h") }).await;
    let mut worker = Worker::join(&scheduler, 1).await;
    let attempt = worker.assigned().await.attempt.unwrap();
    let progress = Progress { fraction: 0.5, message: "half".to_owned() };
    let report = AttemptProgress { attempt: Some(attempt.clone()), progress: Some(progress.clone()) };
    worker.send(OpenSessionRequest { progress: vec![report], ..OpenSessionRequest::default() }).await;
    worker.finish(attempt, failure(Code::HandlerFailed, "boom")).await;
    let mut events = Vec::new();
    while events.len() < 4 {
        events.extend(next(&mut stream).await);
    }
    assert!(events.iter().all(|event| event.task_id == id && event.queue == "default" && event.time.is_some()));
    let seen: Vec<_> = events.iter().map(|event| (event.state(), event.attempt, event.progress.is_some())).collect();
    let expected = [
        (TaskState::Pending, 0, false),
        (TaskState::Running, 1, false),
        (TaskState::Running, 1, true),
        (TaskState::Failed, 1, false),
    ];
    assert_eq!(seen, expected);
    assert_eq!(
        (&events[2].progress, &events[3].error.as_ref().unwrap().message),
        (&Some(progress), &"boom".to_owned())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_can_be_for_one_queue_or_some_tasks() {
    let scheduler = Scheduler::start().await;
    let spec = |queue: &str| mcp_proto::scheduler::v1::TaskSpec { queue: queue.to_owned(), ..handler("h") };
    let known = scheduler.submit(spec("a")).await;
    let mut queue = watch(&scheduler, WatchTasksRequest { queue: "b".to_owned(), ..Default::default() }).await;
    let mut tasks = watch(&scheduler, WatchTasksRequest { task_ids: vec![known.clone()], ..Default::default() }).await;
    scheduler.submit(spec("a")).await;
    let in_b = scheduler.submit(spec("b")).await;
    assert_eq!(next(&mut queue).await[0].task_id, in_b);
    scheduler.cancel(&known, "").await.unwrap();
    let cancelled = next(&mut tasks).await;
    assert_eq!((&cancelled[0].task_id, cancelled[0].state()), (&known, TaskState::Cancelled));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_due_task_is_told_to_watches() {
    let scheduler = Scheduler::start().await;
    let mut stream = watch(&scheduler, WatchTasksRequest::default()).await;
    let delayed = mcp_proto::scheduler::v1::TaskSpec { delay: crate::support::millis(50), ..handler("h") };
    scheduler.submit(delayed).await;
    assert_eq!(next(&mut stream).await[0].state(), TaskState::Scheduled);
    assert_eq!(next(&mut stream).await[0].state(), TaskState::Pending);
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_is_shown_while_the_attempt_runs() {
    let scheduler = Scheduler::start().await;
    let id = scheduler.submit(handler("h")).await;
    let mut worker = Worker::join(&scheduler, 1).await;
    let attempt = worker.assigned().await.attempt.unwrap();
    let progress = Progress { fraction: 7.0, message: "x".repeat(500) };
    let report = AttemptProgress { attempt: Some(attempt.clone()), progress: Some(progress) };
    worker.send(OpenSessionRequest { progress: vec![report], ..OpenSessionRequest::default() }).await;
    let shown = testkit::eventually(LIMIT, || async {
        let task = scheduler.get(&id).await;
        task.progress.clone().ok_or_else(|| format!("{task:?}"))
    })
    .await;
    assert_eq!((shown.fraction, shown.message.len()), (1.0, 200), "brought within its bounds");
    worker.finish(attempt, success(None)).await;
    assert_eq!(scheduler.wait(&id).await.progress, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_are_numbered_stored_and_read_from_any_line() {
    let mut scheduler = Scheduler::start().await;
    let id = scheduler.submit(handler("h")).await;
    assert_eq!(scheduler.log(&id, 0, false).await, [""; 0]);
    let mut worker = Worker::join(&scheduler, 1).await;
    let attempt = worker.assigned().await.attempt.unwrap();
    worker.send(logs(&attempt, &["one", "two"])).await;
    worker.send(logs(&attempt, &["three"])).await;
    let stranger =
        AttemptRef { token: Some(mcp_proto::worker::v1::FencingToken { epoch: 1, sequence: 77 }), ..attempt.clone() };
    worker.send(logs(&stranger, &["not its own"])).await;
    worker.finish(attempt, success(None)).await;
    assert_eq!(scheduler.log(&id, 0, false).await, ["1 one", "2 two", "3 three"]);
    assert_eq!(scheduler.log(&id, 2, true).await, ["3 three"], "following a final task ends");
    drop(worker);
    scheduler.restart().await;
    assert_eq!(scheduler.log(&id, 1, false).await, ["2 two", "3 three"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_gets_lines_as_they_come_until_the_task_is_final() {
    let scheduler = Scheduler::start().await;
    let id = scheduler.submit(handler("h")).await;
    let request = ReadTaskLogsRequest { task_id: id.clone(), after_seq: 0, follow: true };
    let mut stream = scheduler.client.clone().read_task_logs(request).await.unwrap().into_inner();
    let mut worker = Worker::join(&scheduler, 1).await;
    let attempt = worker.assigned().await.attempt.unwrap();
    for text in ["first", "second"] {
        worker.send(logs(&attempt, &[text])).await;
        let lines =
            tokio::time::timeout(LIMIT, stream.message()).await.expect("a line in time").unwrap().unwrap().lines;
        assert_eq!((lines[0].text.as_str(), lines[0].attempt, lines[0].stream()), (text, 1, LogStream::Stdout));
    }
    worker.send(logs(&attempt, &["last"])).await;
    worker.finish(attempt, success(None)).await;
    assert_eq!(stream.message().await.unwrap().unwrap().lines[0].text, "last");
    assert_eq!(stream.message().await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_attempt_goes_on_in_the_same_log() {
    let scheduler = Scheduler::start().await;
    let id = scheduler.submit(handler("h")).await;
    let mut worker = Worker::join(&scheduler, 1).await;
    let first = worker.assigned().await.attempt.unwrap();
    worker.send(logs(&first, &["a"])).await;
    worker.send(OpenSessionRequest { handed_back: vec![first], credits: 1, ..Default::default() }).await;
    let second = worker.assigned().await.attempt.unwrap();
    worker.send(logs(&second, &["b"])).await;
    worker.finish(second, success(None)).await;
    let request = ReadTaskLogsRequest { task_id: id, after_seq: 0, follow: false };
    let mut stream = scheduler.client.clone().read_task_logs(request).await.unwrap().into_inner();
    let lines = stream.message().await.unwrap().unwrap().lines;
    assert_eq!(lines.iter().map(|line| (line.seq, line.attempt)).collect::<Vec<_>>(), [(1, 1), (2, 2)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_bounded() {
    let scheduler = Scheduler::with(Settings { log_lines_max: 3, ..Settings::default() }).await;
    let id = scheduler.submit(handler("h")).await;
    let mut worker = Worker::join(&scheduler, 1).await;
    let attempt = worker.assigned().await.attempt.unwrap();
    worker.send(logs(&attempt, &["1", "2", "3", "4", "5"])).await;
    worker.send(logs(&attempt, &["6"])).await;
    worker.finish(attempt, success(None)).await;
    assert_eq!(scheduler.log(&id, 0, false).await, ["1 1", "2 2", "3 3", "4 output truncated"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_and_waits_end_when_the_service_stops() {
    let mut scheduler = Scheduler::start().await;
    let id = scheduler.submit(handler("h")).await;
    let mut watching = watch(&scheduler, WatchTasksRequest::default()).await;
    let request = ReadTaskLogsRequest { task_id: id.clone(), after_seq: 0, follow: true };
    let mut following = scheduler.client.clone().read_task_logs(request).await.unwrap().into_inner();
    let mut worker = Worker::join(&scheduler, 0).await;
    scheduler.stop().await;
    assert_eq!(code(watching.message().await), Code::ShuttingDown);
    assert_eq!(code(following.message().await), Code::ShuttingDown);
    let ended = loop {
        if let Err(status) = worker.receive().await {
            break status;
        }
    };
    assert_eq!(code::<()>(Err(ended)), Code::ShuttingDown);
}
