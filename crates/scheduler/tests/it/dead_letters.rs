//! Tasks that failed for good: listed with all their errors, replayed once, purged.

use std::{collections::HashSet, time::Duration};

use mcp_proto::{
    Code, Error,
    scheduler::v1::{
        DeadLetter, DeadLetterFilter, DrainQueueRequest, HandlerWork, ListDeadLettersRequest, ListDeadLettersResponse,
        PurgeDeadLettersRequest, PurgeDeadLettersResponse, ReplayDeadLettersRequest, ReplayDeadLettersResponse,
        RetryPolicy, RetryTaskRequest, TaskSpec, TaskState, task_spec::Work,
    },
};
use scheduler::config::Settings;
use tonic::Status;

use crate::support::{LIMIT, Scheduler, Worker, code, failure, handler, millis, success, text};

fn once(queue: &str) -> TaskSpec {
    let retry = Some(RetryPolicy { max_attempts: 1, ..RetryPolicy::default() });
    TaskSpec { queue: queue.to_owned(), retry, ..handler("h") }
}

fn all() -> DeadLetterFilter {
    DeadLetterFilter { all: true, ..DeadLetterFilter::default() }
}

fn these(ids: &[&String]) -> DeadLetterFilter {
    DeadLetterFilter { task_ids: ids.iter().map(|id| (*id).clone()).collect(), ..DeadLetterFilter::default() }
}

async fn page(scheduler: &Scheduler, request: ListDeadLettersRequest) -> ListDeadLettersResponse {
    scheduler.queues().list_dead_letters(request).await.unwrap().into_inner()
}

async fn list(scheduler: &Scheduler, queue: &str, filter: DeadLetterFilter) -> Vec<DeadLetter> {
    let request =
        ListDeadLettersRequest { queue: queue.to_owned(), filter: Some(filter), ..ListDeadLettersRequest::default() };
    page(scheduler, request).await.dead_letters
}

async fn listed(scheduler: &Scheduler, queue: &str) -> Vec<String> {
    list(scheduler, queue, all()).await.into_iter().map(|letter| letter.task.unwrap().id).collect()
}

async fn try_replay(
    scheduler: &Scheduler,
    queue: &str,
    filter: DeadLetterFilter,
    limit: u32,
) -> Result<ReplayDeadLettersResponse, Status> {
    let request =
        ReplayDeadLettersRequest { queue: queue.to_owned(), filter: Some(filter), limit, ..Default::default() };
    scheduler.queues().replay_dead_letters(request).await.map(tonic::Response::into_inner)
}

async fn replay(scheduler: &Scheduler, queue: &str, filter: DeadLetterFilter) -> ReplayDeadLettersResponse {
    try_replay(scheduler, queue, filter, 0).await.unwrap()
}

async fn try_purge(
    scheduler: &Scheduler,
    queue: &str,
    filter: Option<DeadLetterFilter>,
) -> Result<PurgeDeadLettersResponse, Status> {
    let request = PurgeDeadLettersRequest { queue: queue.to_owned(), filter, ..Default::default() };
    scheduler.queues().purge_dead_letters(request).await.map(tonic::Response::into_inner)
}

async fn retry(scheduler: &Scheduler, id: &str) -> Result<String, Status> {
    let request = RetryTaskRequest { task_id: id.to_owned() };
    scheduler.client.clone().retry_task(request).await.map(|answer| answer.into_inner().task_id)
}

/// Submits tasks that fail, each with its error; their ids.
async fn fail(scheduler: &Scheduler, worker: &mut Worker, queue: &str, errors: &[(Code, &str)]) -> Vec<String> {
    let mut ids = Vec::new();
    for (code, message) in errors {
        let id = scheduler.submit(once(queue)).await;
        let attempt = worker.assigned().await.attempt.unwrap();
        assert_eq!(attempt.task_id, id);
        worker.finish(attempt, failure(*code, message)).await;
        ids.push(id);
    }
    ids
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_is_given_up_is_listed_with_every_error() {
    let mut scheduler = Scheduler::start().await;
    let initial_backoff = millis(1);
    let policy = RetryPolicy { max_attempts: 3, initial_backoff, jitter: Some(0.0), ..RetryPolicy::default() };
    let work = HandlerWork { handler: "h".to_owned(), input: Some(text("secret")) };
    let spec =
        TaskSpec { queue: "q".to_owned(), retry: Some(policy), work: Some(Work::Handler(work)), ..Default::default() };
    let id = scheduler.submit(spec).await;
    let mut worker = Worker::join(&scheduler, 1).await;
    for n in 1..=3 {
        assert_eq!(listed(&scheduler, "q").await, Vec::<String>::new(), "attempt {n} may still succeed");
        let attempt = worker.assigned().await.attempt.unwrap();
        worker.finish(attempt, failure(Code::HandlerFailed, &format!("boom {n}"))).await;
    }
    let unserved = || TaskSpec { work: handler("unserved").work, ..once("q") };
    let timed_out = scheduler.submit(TaskSpec { queue_timeout: millis(1), ..unserved() }).await;
    assert_eq!(scheduler.wait(&timed_out).await.state(), TaskState::Failed);
    let cancelled = scheduler.submit(unserved()).await;
    scheduler.cancel(&cancelled, "").await.unwrap();
    scheduler.restart().await;
    let letters = list(&scheduler, "q", all()).await;
    let task = letters[0].task.clone().unwrap();
    assert_eq!((task.id.as_str(), task.state(), task.attempt), (id.as_str(), TaskState::Failed, 3));
    assert_eq!(letters[0].time, scheduler.get(&id).await.finish_time);
    let messages: Vec<_> = task.failures.iter().map(|failed| failed.error.clone().unwrap().message).collect();
    assert_eq!(messages, ["boom 1", "boom 2", "boom 3"]);
    assert!(task.failures.iter().all(|failed| failed.worker_id == worker.id && failed.start_time.is_some()));
    assert_eq!(task.error.unwrap().message, "boom 3");
    let Some(Work::Handler(work)) = task.spec.unwrap().work else { panic!("it is a handler's") };
    assert_eq!(work.input, None, "lists leave the input out");
    let second = letters[1].task.clone().unwrap();
    assert_eq!((second.id, second.error.unwrap().name.as_str()), (timed_out, "QUEUE_TIMEOUT"));
    assert_eq!(letters.len(), 2, "a cancelled task is none");
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_filter_and_come_in_pages() {
    let scheduler = Scheduler::with(Settings { list_scan_max: 3, ..Settings::default() }).await;
    let mut worker = Worker::join(&scheduler, 1).await;
    let errors = [(Code::HandlerFailed, "a"), (Code::ExitNonZero, "b")].repeat(4);
    let ids = fail(&scheduler, &mut worker, "q", &errors).await;
    fail(&scheduler, &mut worker, "q2", &errors[..1]).await;
    let mut request = ListDeadLettersRequest { queue: "q".to_owned(), page_size: 2, ..Default::default() };
    let mut seen = Vec::new();
    loop {
        let page = page(&scheduler, request.clone()).await;
        assert!(page.dead_letters.len() <= 2);
        seen.extend(page.dead_letters.into_iter().map(|letter| letter.task.unwrap().id));
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert_eq!(seen, ids, "the oldest first, each once");
    request.filter = Some(DeadLetterFilter { error_name: "EXIT_NON_ZERO".to_owned(), ..Default::default() });
    assert_eq!(code(scheduler.queues().list_dead_letters(request.clone()).await), Code::InvalidPageToken);
    request.page_token = String::new();
    let page = page(&scheduler, request).await;
    assert_eq!(page.dead_letters[0].task.clone().unwrap().id, ids[1], "{page:?}");
    assert!(page.dead_letters.len() == 1 && !page.next_page_token.is_empty(), "three were looked at");

    let found = list(&scheduler, "q", these(&[&ids[3], &ids[2]])).await;
    assert_eq!(found.iter().map(|letter| letter.task.clone().unwrap().id).collect::<Vec<_>>(), ids[2..4]);
    let time = found[0].time;
    let since = list(&scheduler, "q", DeadLetterFilter { since: time, ..these(&[&ids[0], &ids[2]]) }).await;
    let until = list(&scheduler, "q", DeadLetterFilter { until: time, ..these(&[&ids[0], &ids[2]]) }).await;
    assert_eq!(
        (since[0].task.clone().unwrap().id, until.last().unwrap().task.clone().unwrap().id),
        (ids[2].clone(), ids[0].clone())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_is_a_new_task_made_once() {
    let mut scheduler = Scheduler::start().await;
    let mut worker = Worker::join(&scheduler, 1).await;
    let spec = TaskSpec {
        idempotency_key: "mine".to_owned(),
        unique_key: "one".to_owned(),
        delay: millis(1),
        priority: 7,
        work: Some(Work::Handler(HandlerWork { handler: "h".to_owned(), input: Some(text(&"x".repeat(5_000))) })),
        ..once("q")
    };
    let id = scheduler.submit(spec.clone()).await;
    let attempt = worker.assigned().await.attempt.unwrap();
    worker.finish_last(attempt, failure(Code::HandlerFailed, "boom")).await;
    drop(worker); // it has no free slot, so the replay waits, also while the scheduler does not know that it is gone
    let first = replay(&scheduler, "q", these(&[&id])).await;
    assert_eq!((first.errors.len(), first.more, first.replayed[0].task_id.as_str()), (0, false, id.as_str()));
    let new = first.replayed[0].new_task_id.clone();
    assert_ne!(new, id);
    assert_eq!(listed(&scheduler, "q").await, Vec::<String>::new());
    for _ in 0..2 {
        assert_eq!(replay(&scheduler, "q", these(&[&id])).await, first, "a repeat does nothing");
        assert_eq!(retry(&scheduler, &id).await.unwrap(), new);
        assert_eq!(replay(&scheduler, "q", all()).await.replayed, []);
        let (old, task) = (scheduler.get(&id).await, scheduler.get(&new).await);
        assert_eq!((old.state(), old.replayed_as.as_str(), old.failures.len()), (TaskState::Failed, new.as_str(), 1));
        assert_eq!((task.replay_of.as_str(), task.state(), task.attempt), (id.as_str(), TaskState::Pending, 0));
        let (old, new) = (old.spec.unwrap(), task.spec.unwrap());
        assert_eq!((new.work, new.priority, new.unique_key), (old.work, 7, old.unique_key));
        assert_eq!((new.delay, old.idempotency_key.as_str()), (None, "mine"));
        scheduler.restart().await;
    }
    let mut worker = Worker::join(&scheduler, 1).await;
    assert_eq!(worker.work().await, new);
    assert_eq!(scheduler.wait(&new).await.state(), TaskState::Succeeded);
    assert_eq!(retry(&scheduler, &id).await.unwrap(), new, "also when it is done");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_replays_at_once_make_one_task() {
    let scheduler = Scheduler::start().await;
    let mut worker = Worker::join(&scheduler, 1).await;
    let ids = fail(&scheduler, &mut worker, "q", &[(Code::HandlerFailed, "a")]).await;
    drop(worker);
    let replays: Vec<_> = (0..20)
        .map(|n| {
            let (id, mut tasks, mut queues) = (ids[0].clone(), scheduler.client.clone(), scheduler.queues());
            tokio::spawn(async move {
                if n % 2 == 0 {
                    return tasks.retry_task(RetryTaskRequest { task_id: id }).await.unwrap().into_inner().task_id;
                }
                let filter = Some(DeadLetterFilter { task_ids: vec![id], ..DeadLetterFilter::default() });
                let request = ReplayDeadLettersRequest { queue: "q".to_owned(), filter, ..Default::default() };
                let answer = queues.replay_dead_letters(request).await.unwrap().into_inner();
                answer.replayed[0].new_task_id.clone()
            })
        })
        .collect();
    let mut made = HashSet::new();
    for replay in replays {
        made.insert(replay.await.unwrap());
    }
    assert_eq!(made.len(), 1, "{made:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_or_some_letters_are_replayed() {
    let scheduler = Scheduler::start().await;
    let mut worker = Worker::join(&scheduler, 1).await;
    let errors = [(Code::HandlerFailed, "a"), (Code::ExitNonZero, "b")].repeat(50);
    let ids = fail(&scheduler, &mut worker, "q", &errors).await;
    let named = DeadLetterFilter { error_name: "EXIT_NON_ZERO".to_owned(), ..DeadLetterFilter::default() };
    let some = try_replay(&scheduler, "q", named, 3).await.unwrap();
    assert_eq!(some.replayed.iter().map(|one| &one.task_id).collect::<Vec<_>>(), [&ids[1], &ids[3], &ids[5]]);
    assert!(some.more);
    let rest = replay(&scheduler, "q", all()).await;
    assert_eq!((rest.replayed.len(), rest.errors.len(), rest.more), (97, 0, false));
    assert_eq!(listed(&scheduler, "q").await, Vec::<String>::new());
    for _ in 0..100 {
        worker.work().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_replayed_stays_with_the_reason() {
    let scheduler = Scheduler::start().await;
    let mut worker = Worker::join(&scheduler, 1).await;
    let unique = || TaskSpec { unique_key: "one".to_owned(), ..once("q") };
    let id = scheduler.submit(unique()).await;
    let attempt = worker.assigned().await.attempt.unwrap();
    worker.finish(attempt, failure(Code::HandlerFailed, "a")).await;
    drop(worker);
    let holder = scheduler.submit(TaskSpec { delay: millis(3_600_000), ..unique() }).await;
    let unknown = mcp_proto::TaskId::from_u128(7).to_string();
    let answer = replay(&scheduler, "q", these(&[&id, &unknown])).await;
    assert_eq!((answer.replayed.len(), answer.more), (0, false));
    let errors: Vec<_> =
        answer.errors.iter().map(|error| (error.name.as_str(), error.metadata["task_id"].clone())).collect();
    assert_eq!(errors, [("ALREADY_EXISTS", id.clone()), ("NOT_FOUND", unknown.clone())]);
    assert_eq!(answer.errors[0].metadata["unique_task_id"], holder);
    scheduler.cancel(&holder, "").await.unwrap();

    let request = DrainQueueRequest { queue: "q".to_owned(), ..Default::default() };
    scheduler.queues().drain_queue(request).await.unwrap();
    let answer = replay(&scheduler, "q", all()).await;
    assert_eq!((answer.errors[0].name.as_str(), answer.more), ("QUEUE_CLOSED", false));
    assert_eq!(code(retry(&scheduler, &id).await), Code::QueueClosed);
    assert_eq!(listed(&scheduler, "q").await, [id]);

    assert_eq!(code(try_replay(&scheduler, "q", DeadLetterFilter::default(), 0).await), Code::InvalidArgument);
    assert_eq!(code(try_replay(&scheduler, "q", all(), 1_001).await), Code::InvalidArgument);
    assert_eq!(code(try_purge(&scheduler, "q", None).await), Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn purged_letters_are_gone_and_their_tasks_stay() {
    let mut scheduler = Scheduler::start().await;
    let mut worker = Worker::join(&scheduler, 1).await;
    let errors = [(Code::HandlerFailed, "a"), (Code::ExitNonZero, "b"), (Code::HandlerFailed, "c")];
    let ids = fail(&scheduler, &mut worker, "q", &errors).await;
    let named = DeadLetterFilter { error_name: "EXIT_NON_ZERO".to_owned(), ..DeadLetterFilter::default() };
    let purged = try_purge(&scheduler, "q", Some(named)).await.unwrap();
    assert_eq!((purged.purged, purged.more), (1, false));
    assert_eq!(listed(&scheduler, "q").await, [ids[0].clone(), ids[2].clone()]);
    assert_eq!(try_purge(&scheduler, "q", Some(these(&[&ids[0]]))).await.unwrap().purged, 1);
    assert_eq!(try_purge(&scheduler, "q", Some(all())).await.unwrap().purged, 1);
    scheduler.restart().await;
    assert_eq!(listed(&scheduler, "q").await, Vec::<String>::new());
    assert_eq!(scheduler.get(&ids[1]).await.state(), TaskState::Failed);
    assert!(retry(&scheduler, &ids[1]).await.is_ok(), "the task itself can be retried");
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_go_with_the_retention_of_their_tasks() {
    let settings = Settings {
        retention: Duration::from_millis(300),
        sweep_interval: Duration::from_millis(50),
        ..Settings::default()
    };
    let scheduler = Scheduler::with(settings).await;
    let id = scheduler.submit(TaskSpec { queue_timeout: millis(1), ..once("q") }).await;
    assert_eq!(scheduler.wait(&id).await.state(), TaskState::Failed);
    testkit::eventually(LIMIT, || async {
        let left = listed(&scheduler, "q").await;
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_came_to_nothing_is_retried() {
    let scheduler = Scheduler::start().await;
    let mut worker = Worker::join(&scheduler, 1).await;
    let id = scheduler.submit(once("q")).await;
    let attempt = worker.assigned().await.attempt.unwrap();
    assert_eq!(code(retry(&scheduler, &id).await), Code::FailedPrecondition, "it runs");
    worker.finish(attempt, success(None)).await;
    let refused = Error::from(retry(&scheduler, &id).await.unwrap_err());
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.to_string().contains("SUCCEEDED"), "{refused}");
    let unknown = mcp_proto::TaskId::from_u128(7).to_string();
    assert_eq!(code(retry(&scheduler, &unknown).await), Code::TaskNotFound);

    let cancelled = scheduler.submit(TaskSpec { delay: millis(3_600_000), ..once("q") }).await;
    scheduler.cancel(&cancelled, "").await.unwrap();
    let new = retry(&scheduler, &cancelled).await.unwrap();
    assert_eq!(worker.work().await, new, "without the delay");
    assert_eq!(scheduler.get(&cancelled).await.replayed_as, new);
}
