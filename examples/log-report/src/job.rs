//! The job: one task for each part of the log, then one that reduces what they put out.

use std::{io, sync::Arc, time::Duration};

use anyhow::{Context, bail};
use futures_util::{StreamExt, TryStreamExt, stream};
use mcp_client::{Client, value};
use mcp_proto::{
    MESSAGE_BYTES_MAX,
    scheduler::v1::{ProcessWork, Task, TaskSpec, TaskState, WatchTasksRequest, task_spec::Work},
};
use prost_types::Duration as WireDuration;
use tokio::{task::JoinSet, time::timeout};

use crate::{
    generate::Part,
    live::{Live, follow_changes, follow_lines},
    report::Report,
    scripts,
};

/// Queue of the job's tasks.
pub const QUEUE: &str = "log-report";
/// Parts read from disk and submitted at the same time.
const SUBMITS_MAX: usize = 4;
/// How long a task of the job may run.
const RUN_TIMEOUT_SECONDS: i64 = 300;
/// How long the job waits for one task, its wait in the queue included.
const TASK_LIMIT: Duration = Duration::from_secs(900);
/// How long the last lines of the logs may take to arrive when all tasks are final.
const LAST_LINES_LIMIT: Duration = Duration::from_secs(5);
/// Largest part: what a task may be, less what surrounds its standard input.
pub const PART_BYTES_MAX: usize = MESSAGE_BYTES_MAX - 64 * 1024;

/// Runs the job over `parts`. `run` makes its idempotency keys, so that a submit that is repeated on the way makes
/// no second task.
///
/// # Errors
/// When the gateway cannot be reached, a part is too large or a task fails; the tasks that are left are cancelled.
pub async fn run(client: &Client, run: &str, parts: &[Part], live: &Arc<Live>) -> anyhow::Result<Report> {
    let request = WatchTasksRequest { queue: QUEUE.to_owned(), ..WatchTasksRequest::default() };
    let mut changes = client.watch(request).await.context("cannot watch the tasks")?;
    changes.message().await.context("cannot watch the tasks")?; // The watch is in place: no change gets lost.

    let mut followers = JoinSet::new();
    followers.spawn({
        let (client, live) = (client.clone(), Arc::clone(live));
        async move {
            if let Err(status) = follow_changes(&client, changes, &live).await {
                live.say(&format!("the watch broke off: {}", mcp_proto::Error::from(status)));
            }
        }
    });
    let (mut logs, mut ids) = (JoinSet::new(), Vec::with_capacity(parts.len()));
    let outputs = async {
        submit_parts(client, run, parts, live, &mut logs, &mut ids).await?;
        all_outputs(client, &ids, live).await
    };
    let outputs = match outputs.await {
        Ok(outputs) => outputs,
        Err(error) => {
            for id in &ids {
                // Those that are final refuse; the others end.
                drop(client.cancel(id, "another part of the job failed").await);
            }
            return Err(error);
        }
    };
    let id = submit_reduction(client, run, &outputs, live).await?;
    follow(&mut logs, client, &id, "reduce", live);
    let report = output(client, &id, "reduce", live).await?;
    if timeout(LAST_LINES_LIMIT, async { while logs.join_next().await.is_some() {} }).await.is_err() {
        live.say("the last lines of the logs are still on their way: not waiting for them");
    }
    serde_json::from_value(report).context("the reduction's output is not a report")
}

/// Submits the parts in their order and follows what they write.
async fn submit_parts(
    client: &Client,
    run: &str,
    parts: &[Part],
    live: &Arc<Live>,
    logs: &mut JoinSet<()>,
    ids: &mut Vec<String>,
) -> anyhow::Result<()> {
    let mut submits = stream::iter(parts).map(|part| submit_part(client, run, part, live)).buffered(SUBMITS_MAX);
    while let Some(id) = submits.try_next().await? {
        follow(logs, client, &id, &parts[ids.len()].name, live);
        ids.push(id);
    }
    Ok(())
}

fn follow(logs: &mut JoinSet<()>, client: &Client, id: &str, name: &str, live: &Arc<Live>) {
    let (client, id, name, live) = (client.clone(), id.to_owned(), name.to_owned(), Arc::clone(live));
    logs.spawn(async move { follow_lines(client, id, name, &live).await });
}

async fn submit_part(client: &Client, run: &str, part: &Part, live: &Live) -> anyhow::Result<String> {
    let lines = tokio::fs::read(&part.path).await.with_context(|| format!("cannot read {}", part.path.display()))?;
    if lines.len() > PART_BYTES_MAX {
        bail!(
            "{} has {} bytes and a task takes {PART_BYTES_MAX}: cut the log into more parts with --parts",
            part.name,
            lines.len()
        );
    }
    submit(client, run, &part.name, scripts::parse(&part.name, part.lines), lines, live).await
}

async fn submit_reduction(
    client: &Client,
    run: &str,
    outputs: &[serde_json::Value],
    live: &Live,
) -> anyhow::Result<String> {
    let mut lines = Vec::new();
    for output in outputs {
        serde_json::to_writer(&mut lines, output).map_err(io::Error::from)?;
        lines.push(b'\n');
    }
    submit(client, run, "reduce", scripts::reduce(), lines, live).await
}

async fn submit(
    client: &Client,
    run: &str,
    name: &str,
    argv: Vec<String>,
    stdin: Vec<u8>,
    live: &Live,
) -> anyhow::Result<String> {
    let process = ProcessWork { argv, stdin: stdin.into(), ..ProcessWork::default() };
    let task = TaskSpec {
        queue: QUEUE.to_owned(),
        name: name.to_owned(),
        work: Some(Work::Process(process)),
        run_timeout: Some(WireDuration { seconds: RUN_TIMEOUT_SECONDS, nanos: 0 }),
        idempotency_key: format!("{run}/{name}"),
        labels: [("job".to_owned(), "log-report".to_owned()), ("run".to_owned(), run.to_owned())].into(),
        ..TaskSpec::default()
    };
    let submitted = client.submit(task).await.with_context(|| format!("cannot submit {name}"))?;
    live.add(&submitted.task_id, name);
    Ok(submitted.task_id)
}

/// The outputs of the tasks, in their order; the first failure ends the wait.
async fn all_outputs(client: &Client, ids: &[String], live: &Live) -> anyhow::Result<Vec<serde_json::Value>> {
    let waits = ids.iter().map(|id| output(client, id, id, live));
    stream::iter(waits).buffered(ids.len().max(1)).try_collect().await
}

async fn output(client: &Client, id: &str, name: &str, live: &Live) -> anyhow::Result<serde_json::Value> {
    let task: Task = client.wait(id, TASK_LIMIT).await.with_context(|| format!("cannot wait for {name}"))?;
    live.change(id, task.state());
    match (task.state(), task.output) {
        (TaskState::Succeeded, Some(output)) => Ok(value::from_value(output)),
        (TaskState::Succeeded, None) => bail!("task {id} ({name}) put nothing out"),
        (state, _) => {
            let why = task.error.map_or_else(|| "no reason given".to_owned(), |error| error.message);
            bail!("task {id} ({name}) is {}: {why}; its log: `mcp logs {id}`", state.as_str_name())
        }
    }
}
