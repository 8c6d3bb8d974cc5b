//! The life of a task, seen by its caller.

use std::collections::BTreeMap;

use mcp_proto::{
    Code, TaskId,
    scheduler::v1::{
        BatchSubmitTasksRequest, HandlerWork, ProcessWork, SubmitTaskRequest, TaskSpec, TaskState, WaitTaskRequest,
        task_spec::Work,
    },
    worker::v1::{AttemptCancelled, WorkerHello, attempt_result::Outcome},
};
use tonic::Request;

use crate::support::{Scheduler, Worker, code, handler, hello, millis, success, text, unix_ms};

#[tokio::test(flavor = "multi_thread")]
async fn a_task_runs_and_its_result_comes_back() {
    let scheduler = Scheduler::start().await;
    let id = scheduler.submit(handler("h")).await;
    let waiting = scheduler.get(&id).await;
    assert_eq!((waiting.state(), waiting.attempt), (TaskState::Pending, 0));
    let mut worker = Worker::join(&scheduler, 1).await;
    let assignment = worker.assigned().await;
    assert_eq!(assignment.number, 1);
    assert_eq!(assignment.spec, waiting.spec);
    let running = scheduler.reaches(&id, TaskState::Running).await;
    assert_eq!((running.attempt, running.worker_id), (1, worker.id.clone()));
    worker.finish(assignment.attempt.unwrap(), success(Some(text("done")))).await;
    let done = scheduler.wait(&id).await;
    assert_eq!((done.state(), done.output), (TaskState::Succeeded, Some(text("done"))));
    assert_eq!((done.attempt, done.worker_id, done.error), (1, worker.id, None));
    assert!(unix_ms(done.create_time) <= unix_ms(done.start_time));
    assert!(unix_ms(done.start_time) <= unix_ms(done.finish_time));
    assert_eq!(code(scheduler.cancel(&id, "").await), Code::TaskFinished);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_leads_to_its_home_and_tells_its_time() {
    let scheduler = Scheduler::start().await;
    let id = scheduler.submit(TaskSpec { namespace: "n".to_owned(), queue: "q".to_owned(), ..handler("h") }).await;
    let parsed: TaskId = id.parse().unwrap();
    assert_eq!(parsed.home(), TaskId::home_of("n", "q"));
    assert_eq!(i64::try_from(parsed.unix_ms()).unwrap(), unix_ms(scheduler.get(&id).await.create_time));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_stored_whole_and_keeps_its_order() {
    let scheduler = Scheduler::start().await;
    let tasks = (0..500).map(|n| TaskSpec { name: n.to_string(), ..handler("h") }).collect();
    let request = BatchSubmitTasksRequest { tasks };
    let results = scheduler.client.clone().batch_submit_tasks(request).await.unwrap().into_inner().results;
    let ids: Vec<_> = results.into_iter().map(|result| result.task_id).collect();
    assert!(ids.len() == 500 && ids.is_sorted());
    let mut worker = Worker::join(&scheduler, 500).await;
    for (n, id) in ids.iter().enumerate() {
        let assignment = worker.assigned().await;
        assert_eq!((&assignment.attempt.unwrap().task_id, assignment.spec.unwrap().name), (id, n.to_string()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_with_one_wrong_task_stores_nothing() {
    let scheduler = Scheduler::start().await;
    let keyed =
        |name: &str, key: &str| TaskSpec { name: name.to_owned(), idempotency_key: key.to_owned(), ..handler("h") };
    scheduler.submit(keyed("first", "k")).await;
    for tasks in [vec![keyed("new", "new"), keyed("other", "k")], vec![keyed("a", "x"), keyed("b", "x")]] {
        let answer = scheduler.client.clone().batch_submit_tasks(BatchSubmitTasksRequest { tasks }).await;
        let error = mcp_proto::Error::from(answer.unwrap_err());
        assert_eq!(error.code(), Code::IdempotencyConflict);
        assert_eq!(error.violations()[0].field, "tasks[1].idempotency_key");
    }
    assert_eq!(
        scheduler.client.clone().list_tasks(Request::new(Default::default())).await.unwrap().into_inner().tasks.len(),
        1
    );
    assert!(!scheduler.try_submit(keyed("new", "new")).await.unwrap().deduplicated, "the key was not taken");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idempotency_key_returns_the_first_task() {
    let mut scheduler = Scheduler::start().await;
    let spec = TaskSpec { idempotency_key: "key".to_owned(), ..handler("h") };
    let first = scheduler.try_submit(spec.clone()).await.unwrap();
    assert!(!first.deduplicated);
    let again = scheduler.try_submit(spec.clone()).await.unwrap();
    assert_eq!((again.task_id, again.deduplicated, again.state), (first.task_id.clone(), true, first.state));
    let elsewhere = TaskSpec { queue: "other".to_owned(), ..spec.clone() };
    assert!(!scheduler.try_submit(elsewhere).await.unwrap().deduplicated);
    let conflict = TaskSpec { priority: 5, ..spec.clone() };
    assert_eq!(code(scheduler.try_submit(conflict.clone()).await), Code::IdempotencyConflict);
    let mut worker = Worker::join(&scheduler, 2).await;
    worker.work().await;
    worker.work().await;
    drop(worker);
    scheduler.restart().await; // also a finished task's key is on record
    let done = scheduler.try_submit(spec).await.unwrap();
    assert_eq!((done.task_id.clone(), done.deduplicated, done.state()), (first.task_id, true, TaskState::Succeeded));
    assert_eq!(code(scheduler.try_submit(conflict).await), Code::IdempotencyConflict);
}

#[tokio::test(flavor = "multi_thread")]
async fn higher_priorities_are_dispatched_first() {
    let scheduler = Scheduler::start().await;
    let mut ids = Vec::new();
    for priority in [0, -5, 7, 0, 100] {
        ids.push(scheduler.submit(TaskSpec { priority, ..handler("h") }).await);
    }
    let mut worker = Worker::join(&scheduler, 1).await;
    let mut order = Vec::new();
    for _ in 0..5 {
        order.push(worker.work().await);
    }
    assert_eq!(order, [4, 2, 0, 3, 1].map(|n: usize| ids[n].clone()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delayed_task_waits_for_its_time() {
    let scheduler = Scheduler::start().await;
    let id = scheduler.submit(TaskSpec { delay: millis(600), ..handler("h") }).await;
    let waiting = scheduler.get(&id).await;
    assert_eq!(waiting.state(), TaskState::Scheduled);
    let due = unix_ms(waiting.due_time);
    let mut worker = Worker::join(&scheduler, 1).await;
    worker.work().await;
    let done = scheduler.wait(&id).await;
    assert!(unix_ms(done.start_time) >= due, "started {} before {due}", unix_ms(done.start_time));
    assert!((550..=650).contains(&(due - unix_ms(done.create_time))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delayed_task_that_is_due_but_has_no_worker_is_pending() {
    let scheduler = Scheduler::start().await;
    let id = scheduler.submit(TaskSpec { delay: millis(50), ..handler("h") }).await;
    let task = scheduler.reaches(&id, TaskState::Pending).await;
    assert_eq!(task.due_time, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_task_is_cancelled_at_once() {
    let scheduler = Scheduler::start().await;
    let id = scheduler.submit(handler("h")).await;
    let cancelled = scheduler.cancel(&id, "not needed").await.unwrap();
    assert_eq!((cancelled.state(), cancelled.cancel_requested), (TaskState::Cancelled, true));
    let error = cancelled.error.unwrap();
    assert_eq!((error.code, error.name.as_str()), (3009, "TASK_CANCELLED"));
    assert!(error.message.ends_with("not needed"), "{}", error.message);
    let mut worker = Worker::join(&scheduler, 1).await;
    assert!(worker.is_idle().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_task_is_cancelled_when_its_worker_has_stopped_it() {
    let scheduler = Scheduler::start().await;
    let id = scheduler.submit(handler("h")).await;
    let mut worker = Worker::join(&scheduler, 1).await;
    let attempt = worker.assigned().await.attempt.unwrap();
    let asked = scheduler.cancel(&id, "changed my mind").await.unwrap();
    assert_eq!((asked.state(), asked.cancel_requested), (TaskState::Running, true));
    assert_eq!(worker.cancelled().await, (attempt.clone(), "changed my mind".to_owned()));
    worker.finish(attempt, Outcome::Cancelled(AttemptCancelled {})).await;
    let task = scheduler.wait(&id).await;
    assert_eq!(task.state(), TaskState::Cancelled);
    assert!(task.error.unwrap().message.ends_with("changed my mind"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_payload_arrives_whole_and_lists_leave_it_out() {
    let scheduler = Scheduler::start().await;
    let work = ProcessWork {
        argv: vec!["/bin/cat".to_owned()],
        env: BTreeMap::from([("KEY".to_owned(), "value".to_owned())]),
        stdin: vec![42; 5 << 20].into(),
        ..ProcessWork::default()
    };
    let spec = TaskSpec { work: Some(Work::Process(work.clone())), ..TaskSpec::default() };
    let id = scheduler.submit(spec).await;
    let work_of = |spec: Option<TaskSpec>| match spec.unwrap().work.unwrap() {
        Work::Process(work) => work,
        Work::Handler(work) => panic!("{work:?}"),
    };
    let mut worker = Worker::hello(&scheduler, WorkerHello { credits: 1, runs_processes: true, ..hello() }).await;
    assert_eq!(work_of(worker.assigned().await.spec), work);
    assert_eq!(work_of(scheduler.get(&id).await.spec), work);
    let listed = scheduler.client.clone().list_tasks(Request::new(Default::default())).await.unwrap().into_inner();
    let brief = work_of(listed.tasks[0].spec.clone());
    assert_eq!((brief.argv, brief.stdin.len(), brief.env.len()), (work.argv, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn outputs_are_left_out_of_lists_however_large() {
    let scheduler = Scheduler::start().await;
    let mut worker = Worker::join(&scheduler, 2).await;
    for output in ["short".to_owned(), "long".repeat(10_000)] {
        let id = scheduler.submit(handler("h")).await;
        let attempt = worker.assigned().await.attempt.unwrap();
        worker.finish(attempt, success(Some(text(&output)))).await;
        assert_eq!(scheduler.wait(&id).await.output, Some(text(&output)));
    }
    let listed = scheduler.client.clone().list_tasks(Request::new(Default::default())).await.unwrap().into_inner();
    assert!(listed.tasks.len() == 2 && listed.tasks.iter().all(|task| task.output.is_none()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_ends_with_its_time() {
    let scheduler = Scheduler::start().await;
    let id = scheduler.submit(handler("h")).await;
    let request = WaitTaskRequest { task_id: id, timeout: millis(50) };
    let task = scheduler.client.clone().wait_task(request).await.unwrap().into_inner().task.unwrap();
    assert_eq!(task.state(), TaskState::Pending);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_submits_trace_goes_with_the_task() {
    let scheduler = Scheduler::start().await;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let work = HandlerWork { handler: "h".to_owned(), input: Some(text("x")) };
    let spec = TaskSpec { work: Some(Work::Handler(work)), ..TaskSpec::default() };
    let mut request = Request::new(SubmitTaskRequest { task: Some(spec) });
    let traceparent = format!("00-{trace}-00f067aa0ba902b7-01");
    request.metadata_mut().insert("traceparent", traceparent.parse().unwrap());
    let id = scheduler.client.clone().submit_task(request).await.unwrap().into_inner().task_id;
    assert_eq!(scheduler.get(&id).await.trace_id, trace);
    let mut worker = Worker::join(&scheduler, 1).await;
    let assignment = worker.assigned().await;
    assert!(assignment.traceparent.contains(trace), "{}", assignment.traceparent);
}
