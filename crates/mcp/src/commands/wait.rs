//! `mcp wait`, and the wait of `mcp submit --wait`.

use std::time::{Duration, SystemTime};

use futures_util::{StreamExt, stream};
use mcp_client::Client;
use mcp_proto::{
    Error,
    scheduler::v1::{ListTasksResponse, Task, TaskState, WatchTasksRequest, WatchTasksResponse},
};
use tonic::Streaming;

use super::{context::Context, progress::ProgressLine};
use crate::{
    exit::{Exit, Failure},
    output::{print, task},
};

/// Tasks that are waited for at the same time.
const WAITS_MAX: usize = 64;
/// Most tasks that one watch can follow; beyond that the progress line only counts what is final.
const WATCH_TASKS_MAX: usize = 1_000;
/// How long a wait without `--timeout` goes on.
const WAIT_LIMIT: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// Waits for the tasks, at most `--timeout`.
pub(super) async fn run(context: &Context, ids: &[String]) -> Result<Exit, Failure> {
    context.within(until_final(context, ids)).await
}

/// Waits until all tasks are final, then shows them. The exit code says whether all succeeded.
pub(super) async fn until_final(context: &Context, ids: &[String]) -> Result<Exit, Failure> {
    let mut tasks = wait_all(context, ids).await?;
    let all_succeeded = tasks.iter().all(|task| task.state() == TaskState::Succeeded);
    if let [task] = &*tasks {
        context.answer(task, |task| task::task(task, SystemTime::now()))?;
    } else {
        let listed = ListTasksResponse { tasks: std::mem::take(&mut tasks), next_page_token: String::new() };
        context.answer(&listed, |listed| task::tasks(&listed.tasks, SystemTime::now()))?;
    }
    Ok(if all_succeeded { Exit::Done } else { Exit::Failed })
}

/// The final tasks, in the order of `ids`.
async fn wait_all(context: &Context, ids: &[String]) -> Result<Vec<Task>, Failure> {
    let mut line = ProgressLine::new(ids);
    let mut watch = watch(&context.client, ids).await;
    let mut waits =
        stream::iter(ids.iter().enumerate()).map(|(at, id)| one(context, at, id)).buffer_unordered(WAITS_MAX);
    let mut tasks: Vec<Option<Task>> = vec![None; ids.len()];
    loop {
        tokio::select! {
            waited = waits.next() => match waited {
                Some(waited) => {
                    let (at, task) = waited?;
                    line.task(&task);
                    tasks[at] = Some(task);
                }
                None => break,
            },
            events = next(&mut watch) => match events {
                Some(response) => response.events.iter().for_each(|event| line.event(event)),
                None => watch = None, // The waits go on without it.
            },
        }
    }
    Ok(tasks.into_iter().flatten().collect())
}

/// Reads the task first, so that a wrong id or an unreachable gateway is told at once, and then waits.
async fn one(context: &Context, at: usize, id: &str) -> Result<(usize, Task), Failure> {
    let task = async {
        let task = context.client.get(id).await?;
        if task.state().is_final() { Ok(task) } else { context.client.wait(id, WAIT_LIMIT).await }
    };
    let task = task.await.map_err(|error: Error| {
        let mut failure = context.failure(error);
        if failure.exit != Exit::Unreachable {
            failure.what = format!("task {id}: {}", failure.what);
        }
        failure
    })?;
    Ok((at, task))
}

/// The changes of the tasks for the progress line, which is an ornament: without them the wait works all the same.
async fn watch(client: &Client, ids: &[String]) -> Option<Streaming<WatchTasksResponse>> {
    if ids.len() > WATCH_TASKS_MAX {
        print::note(format!("{} tasks: the progress line counts only those that are final", ids.len()));
        return None;
    }
    let request = WatchTasksRequest { task_ids: ids.to_vec(), ..WatchTasksRequest::default() };
    client.watch(request).await.ok()
}

/// The next changes; `None` when the watch ended, never when there is none.
async fn next(watch: &mut Option<Streaming<WatchTasksResponse>>) -> Option<WatchTasksResponse> {
    match watch {
        Some(stream) => stream.message().await.ok().flatten(),
        None => std::future::pending().await,
    }
}
