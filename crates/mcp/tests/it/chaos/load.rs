//! What callers do meanwhile: submit, watch, and in the end wait.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use mcp_client::Client;
use mcp_proto::scheduler::v1::{ListTasksRequest, QueueRules, Task, TaskSpec, TaskState, WatchTasksRequest};
use testkit::eventually;
use tokio::{
    task::JoinHandle,
    time::{Instant, MissedTickBehavior, interval, sleep},
};
use tokio_util::sync::CancellationToken;

use super::{fleet::Fleet, history::History};
use crate::support::program;

/// Queues without a limit, which hash to several partitions.
const QUEUES: [&str; 6] = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta"];

/// A queue in which few may run at a time, and how many.
pub(super) const LIMITED: &str = "limited";
/// See [`LIMITED`].
pub(super) const LIMIT: u32 = 3;

/// Tasks in one submit, and how often one is sent: 240 tasks a second.
const BATCH: usize = 6;
const EVERY: Duration = Duration::from_millis(25);

/// Submits that may be under way at once; more are sent when some were answered.
const IN_FLIGHT_MAX: usize = 64;

/// Pause of a caller that was refused.
const PAUSE: Duration = Duration::from_millis(50);

/// Gives the limited queue its rules.
pub(super) async fn set_limits(client: &Client) {
    let rules = QueueRules { concurrency_max: LIMIT, ..QueueRules::default() };
    client.set_queue_rules("default", LIMITED, rules).await.expect("rules are taken");
}

/// A program that writes down when it began and when it ended.
fn task(queue: &str, seconds: &str) -> TaskSpec {
    let script = "write() { read -r now _ </proc/uptime; echo \"$1 $QUEUE $MCP_TASK_ID $MCP_FENCING_TOKEN $now\" >>\"$MCP_HISTORY\"; }; \
                  write start; [ \"$SECONDS_TO_RUN\" = 0 ] || sleep \"$SECONDS_TO_RUN\"; write end";
    let mut task = program(&["/bin/sh", "-c", script]);
    if let Some(mcp_proto::scheduler::v1::task_spec::Work::Process(work)) = &mut task.work {
        work.env.insert("QUEUE".to_owned(), queue.to_owned());
        work.env.insert("SECONDS_TO_RUN".to_owned(), seconds.to_owned());
    }
    task.queue = queue.to_owned();
    task
}

/// Waits until a task of each queue was done that was submitted after this call.
pub(super) async fn back_at_work(client: &Client) {
    for queue in QUEUES {
        eventually(crate::support::SOON, || async {
            let mut task = program(&["true"]);
            task.queue = queue.to_owned();
            let submitted = client.submit(task).await.map_err(|error| format!("{queue}: {error}"))?;
            let ended = client.wait(&submitted.task_id, Duration::from_secs(2)).await;
            match ended {
                Ok(task) if task.state().is_final() => Ok(()),
                other => Err(format!("{queue}: {other:?}")),
            }
        })
        .await;
    }
}

/// Submits at a steady pace until stopped.
pub(super) async fn submit(fleet: &Fleet, history: &Arc<History>, stop: &CancellationToken) -> Vec<JoinHandle<()>> {
    let client = fleet.client().await;
    let (history, stop) = (Arc::clone(history), stop.clone());
    let pace = tokio::spawn(async move {
        let room = Arc::new(tokio::sync::Semaphore::new(IN_FLIGHT_MAX));
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut sent = Vec::new();
        for number in 0_usize.. {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = ticks.tick() => {}
            }
            let permit = Arc::clone(&room).acquire_owned().await.expect("it is never closed");
            let queue = if number % 8 == 7 { LIMITED } else { QUEUES[number % QUEUES.len()] };
            let count = if queue == LIMITED { 1 } else { BATCH };
            let tasks = vec![task(queue, if queue == LIMITED { "0.05" } else { "0" }); count];
            let (client, history) = (client.clone(), Arc::clone(&history));
            sent.push(tokio::spawn(async move {
                let at = Instant::now();
                match client.submit_batch(tasks).await {
                    Ok(answer) => {
                        for result in answer.results {
                            match result.error {
                                None => history.acknowledge(result.task_id, at.into_std()),
                                Some(error) => history.fail(error.name),
                            }
                        }
                    }
                    Err(error) => history.fail(error.to_string()),
                }
                drop(permit);
            }));
        }
        for submit in sent {
            submit.await.expect("a submit does not panic");
        }
    });
    vec![pace]
}

/// Watches through the gateway until stopped.
pub(super) fn watch(fleet: &Fleet, history: &Arc<History>, stop: &CancellationToken) -> JoinHandle<()> {
    let (gateway, history, stop) = (fleet.gateway_url(), Arc::clone(history), stop.clone());
    let watch = async move {
        let client = Client::connect(&gateway).expect("the URL is right");
        loop {
            let Ok(mut stream) = client.watch(WatchTasksRequest::default()).await else {
                sleep(PAUSE).await;
                continue;
            };
            while let Ok(Some(group)) = stream.message().await {
                for event in group.events.into_iter().filter(|event| event.state().is_final()) {
                    let state = event.state();
                    history.end(event.task_id, state);
                }
            }
        }
    };
    tokio::spawn(async move {
        stop.run_until_cancelled(watch).await;
    })
}

/// Waits until every task is final, and returns how each ended.
pub(super) async fn settle(client: &Client, history: &History, limit: Duration) -> BTreeMap<String, TaskState> {
    eventually(limit, || async {
        let tasks = every_task(client).await.map_err(|error| error.to_string())?;
        let open: Vec<&Task> = tasks.iter().filter(|task| task.finish_time.is_none()).collect();
        if let Some(first) = open.first() {
            let why = client.explain(&first.id).await;
            return Err(format!(
                "{} of {} tasks are not final, the first is {first:?}: {why:?}\n{}",
                open.len(),
                tasks.len(),
                history.notes()
            ));
        }
        Ok(tasks.into_iter().map(|task| (task.id.clone(), task.state())).collect())
    })
    .await
}

async fn every_task(client: &Client) -> Result<Vec<Task>, mcp_proto::Error> {
    let (mut tasks, mut page_token) = (Vec::new(), String::new());
    loop {
        let page = client.list(ListTasksRequest { page_size: 500, page_token, ..Default::default() }).await?;
        tasks.extend(page.tasks);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(tasks);
        }
    }
}
