//! What callers do meanwhile: submit, watch, and in the end wait.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use mcp_client::Client;
use mcp_proto::scheduler::v1::{ListTasksRequest, TaskSpec, TaskState, WatchTasksRequest, task_spec::Work};
use testkit::eventually;
use tokio::{
    task::JoinHandle,
    time::{Instant, MissedTickBehavior, interval, sleep},
};
use tokio_util::sync::CancellationToken;

use super::{
    fleet::Fleet,
    history::{End, History},
    worker,
};
use crate::support::{SOON, call, program};

/// Queues without a limit, which hash to several partitions.
const QUEUES: [&str; 6] = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta"];

/// A queue whose tasks take a while.
pub(super) const SLOW: &str = "slow";

/// Tasks in one submit, and how often one is sent: 240 tasks a second.
const BATCH: usize = 6;
const EVERY: Duration = Duration::from_millis(25);

/// Submits that may be under way at once; more are sent when some were answered, and what was missed is made up for.
const IN_FLIGHT_MAX: usize = 256;

/// Priority of a task that goes before all others.
const PRIORITY: i32 = 100;

/// How long one probing task is waited for before there is another one.
const ONE_WAIT: Duration = Duration::from_secs(10);

/// Pause of a caller that was refused.
const PAUSE: Duration = Duration::from_millis(50);

/// A task that writes down when it began and when it ended: a program or a function, both do the same.
fn task(queue: &str, is_program: bool) -> TaskSpec {
    let task = match (is_program, queue) {
        (true, _) => noted_program(queue),
        (false, SLOW) => call(worker::SLOW),
        (false, _) => call(worker::QUICK),
    };
    TaskSpec { queue: queue.to_owned(), ..task }
}

fn noted_program(queue: &str) -> TaskSpec {
    let script = "write() { read -r now _ </proc/uptime; echo \"$1 $QUEUE $MCP_TASK_ID $MCP_FENCING_TOKEN $now\" >>\"$MCP_HISTORY\"; }; \
                  write start; [ \"$SECONDS_TO_RUN\" = 0 ] || sleep \"$SECONDS_TO_RUN\"; write end";
    let mut task = program(&["/bin/sh", "-c", script]);
    if let Some(Work::Process(work)) = &mut task.work {
        work.env.insert("QUEUE".to_owned(), queue.to_owned());
        work.env.insert("SECONDS_TO_RUN".to_owned(), if queue == SLOW { "0.3" } else { "0" }.to_owned());
    }
    task
}

/// Waits until a task of each queue was done that was submitted after this call, and that goes before all others.
pub(super) async fn back_at_work(client: &Client, history: &History) {
    for queue in QUEUES {
        let task = || TaskSpec { queue: queue.to_owned(), priority: PRIORITY, ..program(&["true"]) };
        eventually(SOON, || async {
            let submitted = client.submit(task()).await.map_err(|error| format!("{queue}: {error}"))?;
            match client.wait(&submitted.task_id, ONE_WAIT).await {
                Ok(task) if task.state().is_final() => Ok(()),
                other => Err(format!("{queue}: {other:?}\n{}", history.notes())),
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
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut sent = Vec::new();
        for number in 0_usize.. {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = ticks.tick() => {}
            }
            let permit = Arc::clone(&room).acquire_owned().await.expect("it is never closed");
            let queue = if number % 8 == 7 { SLOW } else { QUEUES[number % QUEUES.len()] };
            let count = if queue == SLOW { 1 } else { BATCH };
            // Programs are few, since to start one takes more of the machine than all the rest.
            let is_program = |n: usize| if queue == SLOW { number % 16 == 7 } else { n == 0 };
            let mut tasks: Vec<TaskSpec> = (0..count).map(|n| task(queue, is_program(n))).collect();
            if number % 4 != 0 {
                // A repeat is recognised, so the client repeats the submit when its owner vanished.
                tasks.iter_mut().enumerate().for_each(|(n, task)| task.idempotency_key = format!("{number}-{n}"));
            }
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
                    let end = End { state: event.state(), time: event.time };
                    history.end(event.task_id, end);
                }
            }
        }
    };
    tokio::spawn(async move {
        stop.run_until_cancelled(watch).await;
    })
}

/// Waits until every task is final, and returns how each ended.
pub(super) async fn settle(client: &Client, history: &History, limit: Duration) -> BTreeMap<String, End> {
    let unfinished = ListTasksRequest {
        states: [TaskState::Pending, TaskState::Scheduled, TaskState::Running, TaskState::Retrying]
            .map(i32::from)
            .into(),
        page_size: 500,
        ..Default::default()
    };
    eventually(limit, || async {
        let open = client.list(unfinished.clone()).await.map_err(|error| error.to_string())?.tasks;
        match open.first() {
            None => Ok(()),
            Some(first) => {
                Err(format!("{} tasks or more are not final, the first is {first:?}\n{}", open.len(), history.notes()))
            }
        }
    })
    .await;
    let (mut ends, mut page_token) = (BTreeMap::new(), String::new());
    loop {
        let request = ListTasksRequest { page_size: 500, page_token, ..Default::default() };
        let page = client.list(request).await.expect("nothing is broken any more");
        for task in page.tasks {
            let end = End { state: task.state(), time: task.finish_time };
            assert!(ends.insert(task.id.clone(), end).is_none(), "{} is listed twice", task.id);
        }
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return ends;
        }
    }
}
