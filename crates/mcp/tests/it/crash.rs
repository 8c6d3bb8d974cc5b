//! The scheduler dies under load: what it acknowledged, it does.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use mcp_client::{
    Client,
    worker::{Schedulers, Worker},
};
use mcp_proto::{
    Error,
    scheduler::v1::{ListTasksRequest, Task, TaskState, WatchTasksRequest},
};
use testkit::eventually;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::support::{Cluster, SOON, call};

/// Tasks in each submit.
const BATCH: usize = 50;

/// Tasks to be acknowledged, over all crashes.
const TASKS_MIN: usize = 5_000;

/// How often the scheduler is killed.
const CRASHES: usize = 3;

/// Pause of the watcher while there is no scheduler.
const RECONNECT: Duration = Duration::from_millis(20);

/// Submits batches until stopped, and sends the ids of each batch that was acknowledged.
async fn submit(client: Client, acknowledged: mpsc::Sender<Vec<String>>, stop: CancellationToken) {
    while !stop.is_cancelled() {
        let tasks = vec![call("count"); BATCH];
        // A failed submit was not acknowledged: whether its tasks exist does not matter here.
        if let Ok(response) = client.submit_batch(tasks).await {
            let ids = response.results.into_iter().map(|result| result.task_id).collect();
            if acknowledged.send(ids).await.is_err() {
                return;
            }
        }
    }
}

/// Watches until stopped, also after the scheduler was killed, and counts how often each task was said to be final.
async fn count_ends(client: Client, stop: CancellationToken) -> BTreeMap<String, usize> {
    let mut ends = BTreeMap::new();
    let watch = async {
        loop {
            let Ok(mut stream) = client.watch(WatchTasksRequest::default()).await else {
                tokio::time::sleep(RECONNECT).await;
                continue;
            };
            while let Ok(Some(group)) = stream.message().await {
                for event in group.events.into_iter().filter(|event| event.state().is_final()) {
                    *ends.entry(event.task_id).or_default() += 1;
                }
            }
        }
    };
    stop.run_until_cancelled(watch).await;
    ends
}

/// Every task there is.
async fn every_task(client: &Client) -> Result<Vec<Task>, Error> {
    let mut tasks = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = ListTasksRequest { page_size: 500, page_token, ..Default::default() };
        let page = client.list(request).await?;
        tasks.extend(page.tasks);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(tasks);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acknowledged_task_ends_once_although_the_scheduler_is_killed_under_load() {
    let mut cluster = Cluster::start(&[]).await;
    let client = cluster.client().await;
    let stop = CancellationToken::new();
    let worker = Worker::builder(Schedulers::Discovered(cluster.discovery.clone()))
        .slots(64)
        .handler("count", |_, input| async move { Ok(input) })
        .build();
    let worker = tokio::spawn({
        let stop = stop.clone();
        async move { worker.run(stop).await }
    });

    let watcher = tokio::spawn(count_ends(client.clone(), stop.clone()));
    let (sender, mut acknowledged) = mpsc::channel(16);
    let load = stop.child_token();
    let submitters: Vec<_> =
        (0..4).map(|_| tokio::spawn(submit(client.clone(), sender.clone(), load.clone()))).collect();
    drop(sender);

    let mut owed = Vec::new();
    for crash in 1..=CRASHES {
        while owed.len() < TASKS_MIN * crash / CRASHES {
            owed.extend(acknowledged.recv().await.expect("submits go on"));
        }
        cluster.process("scheduler").kill();
        cluster.serve("scheduler", "scheduler");
        // Something is acknowledged by the new process: everything received before this is owed by the old one.
        let seen = owed.len();
        while owed.len() == seen {
            owed.extend(acknowledged.recv().await.expect("submits go on"));
        }
    }
    load.cancel();
    while let Some(ids) = acknowledged.recv().await {
        owed.extend(ids);
    }
    for submitter in submitters {
        submitter.await.expect("a submitter does not panic");
    }
    assert!(owed.len() >= TASKS_MIN, "{} tasks were acknowledged", owed.len());

    let client = Arc::new(client);
    let states = eventually(Duration::from_secs(120), || {
        let client = client.clone();
        async move {
            let tasks = every_task(&client).await.map_err(|error| error.to_string())?;
            let open = tasks.iter().filter(|task| task.finish_time.is_none()).count();
            if open > 0 {
                return Err(format!("{open} of {} tasks are not final", tasks.len()));
            }
            Ok(tasks.into_iter().map(|task| (task.id.clone(), task.state())).collect::<BTreeMap<_, _>>())
        }
    })
    .await;
    for id in &owed {
        assert_eq!(states.get(id), Some(&TaskState::Succeeded), "task {id} was acknowledged");
    }
    stop.cancel();
    let ends = watcher.await.expect("the watcher does not panic");
    assert!(ends.len() > TASKS_MIN / 2, "the watcher saw {} ends", ends.len());
    let twice: Vec<_> = ends.iter().filter(|(_, count)| **count > 1).collect();
    assert!(twice.is_empty(), "final more than once: {twice:?}");
    tokio::time::timeout(SOON, worker).await.expect("the worker stops").expect("it does not panic");
}
