//! Lists: filters, pages, tokens.

use mcp_proto::{
    Code,
    scheduler::v1::{ListTasksRequest, ListTasksResponse, TaskSpec, TaskState},
};
use scheduler::config::Settings;
use tonic::Status;

use crate::support::{Scheduler, Worker, code, handler, success};

async fn try_list(scheduler: &Scheduler, request: ListTasksRequest) -> Result<ListTasksResponse, Status> {
    scheduler.client.clone().list_tasks(request).await.map(tonic::Response::into_inner)
}

/// Ids of all pages.
async fn list(scheduler: &Scheduler, mut request: ListTasksRequest) -> Vec<String> {
    let mut ids = Vec::new();
    loop {
        let page = try_list(scheduler, request.clone()).await.unwrap();
        ids.extend(page.tasks.into_iter().map(|task| task.id));
        if page.next_page_token.is_empty() {
            return ids;
        }
        request.page_token = page.next_page_token;
    }
}

fn states(states: &[TaskState]) -> ListTasksRequest {
    ListTasksRequest { states: states.iter().map(|state| (*state).into()).collect(), ..ListTasksRequest::default() }
}

fn in_queue(namespace: &str, queue: &str) -> TaskSpec {
    TaskSpec { namespace: namespace.to_owned(), queue: queue.to_owned(), ..handler("h") }
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_filter_by_queue_and_namespace_newest_first() {
    let scheduler = Scheduler::start().await;
    let mut ids = Vec::new();
    for (namespace, queue) in [("n", "a"), ("n", "b"), ("m", "a")] {
        ids.push(scheduler.submit(in_queue(namespace, queue)).await);
    }
    let filter = |namespace: &str, queue: &str| ListTasksRequest {
        namespace: namespace.to_owned(),
        queue: queue.to_owned(),
        ..ListTasksRequest::default()
    };
    let pick = |picked: &[usize]| picked.iter().map(|n| ids[*n].clone()).collect::<Vec<_>>();
    assert_eq!(list(&scheduler, filter("", "")).await, pick(&[2, 1, 0]));
    assert_eq!(list(&scheduler, filter("n", "")).await, pick(&[1, 0]));
    assert_eq!(list(&scheduler, filter("", "a")).await, pick(&[2, 0]));
    assert_eq!(list(&scheduler, filter("m", "b")).await, pick(&[]));
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_filter_by_the_state_a_task_is_really_in() {
    let scheduler = Scheduler::start().await;
    let done = scheduler.submit(handler("h")).await;
    let mut worker = Worker::join(&scheduler, 2).await;
    let attempt = worker.assigned().await.attempt.unwrap();
    let running = scheduler.submit(handler("h")).await;
    worker.assigned().await;
    let result =
        mcp_proto::worker::v1::AttemptResult { attempt: Some(attempt), outcome: Some(success(None)), exit_code: None };
    worker.send(mcp_proto::worker::v1::OpenSessionRequest { results: vec![result], ..Default::default() }).await;
    scheduler.wait(&done).await;
    let pending = scheduler.submit(handler("h")).await;
    let scheduled = scheduler.submit(TaskSpec { delay: crate::support::millis(60_000), ..handler("h") }).await;
    use TaskState::{Pending, Running, Scheduled, Succeeded, Unspecified};
    assert_eq!(list(&scheduler, states(&[Running])).await, [&*running]);
    let elsewhere = ListTasksRequest { queue: "other".to_owned(), ..states(&[Running]) };
    assert_eq!(list(&scheduler, elsewhere).await, [""; 0]);
    assert_eq!(list(&scheduler, states(&[Pending])).await, [&*pending]);
    assert_eq!(list(&scheduler, states(&[Scheduled])).await, [&*scheduled]);
    assert_eq!(list(&scheduler, states(&[Succeeded])).await, [&*done]);
    assert_eq!(list(&scheduler, states(&[Succeeded, Running])).await, [running.clone(), done.clone()]);
    assert_eq!(list(&scheduler, states(&[Unspecified])).await, [scheduled, pending, running, done]);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_hold_what_was_asked_for_and_miss_nothing() {
    let scheduler = Scheduler::start().await;
    let mut ids = Vec::new();
    for _ in 0..7 {
        ids.push(scheduler.submit(handler("h")).await);
    }
    ids.reverse();
    let first = try_list(&scheduler, ListTasksRequest { page_size: 3, ..Default::default() }).await.unwrap();
    assert_eq!(first.tasks.len(), 3);
    scheduler.submit(handler("h")).await; // newer ones do not move the pages
    scheduler.cancel(&ids[4], "").await.unwrap();
    let rest = ListTasksRequest { page_size: 3, page_token: first.next_page_token, ..Default::default() };
    assert_eq!(list(&scheduler, rest).await, ids[3..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_looks_at_a_bounded_number_of_tasks() {
    let scheduler = Scheduler::with(Settings { list_scan_max: 8, ..Settings::default() }).await;
    let wanted = scheduler.submit(in_queue("n", "wanted")).await;
    for _ in 0..20 {
        scheduler.submit(in_queue("n", "other")).await;
    }
    let request = ListTasksRequest { queue: "wanted".to_owned(), ..ListTasksRequest::default() };
    let first = try_list(&scheduler, request.clone()).await.unwrap();
    assert!(first.tasks.is_empty() && !first.next_page_token.is_empty());
    assert_eq!(list(&scheduler, request).await, [wanted]);
}

#[tokio::test(flavor = "multi_thread")]
async fn running_tasks_come_in_pages_too() {
    let scheduler = Scheduler::start().await;
    let mut ids = Vec::new();
    let mut worker = Worker::join(&scheduler, 5).await;
    for _ in 0..5 {
        ids.push(scheduler.submit(handler("h")).await);
        worker.assigned().await;
    }
    ids.reverse();
    scheduler.submit(handler("h")).await;
    let request = ListTasksRequest { page_size: 2, ..states(&[TaskState::Running]) };
    let first = try_list(&scheduler, request.clone()).await.unwrap();
    assert_eq!(first.tasks.len(), 2);
    assert_eq!(list(&scheduler, request).await, ids);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_belongs_to_its_filters() {
    let scheduler = Scheduler::start().await;
    for _ in 0..3 {
        scheduler.submit(handler("h")).await;
    }
    let page = try_list(&scheduler, ListTasksRequest { page_size: 1, ..Default::default() }).await.unwrap();
    let elsewhere = ListTasksRequest { queue: "q".to_owned(), page_token: page.next_page_token, ..Default::default() };
    assert_eq!(code(try_list(&scheduler, elsewhere).await), Code::InvalidPageToken);
}
