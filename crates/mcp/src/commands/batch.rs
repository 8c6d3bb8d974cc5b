//! `mcp submit --file`: many tasks, in batches that are each stored as a whole.

use std::{io, path::Path};

use mcp_proto::scheduler::v1::{BatchSubmitTasksResponse, TaskSpec};
use prost::Message;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, BufReader};

use super::{context::Context, trace::print_trace, wait};
use crate::{
    exit::{Exit, Failure},
    output::{json, print},
};

/// Most tasks in a batch.
const BATCH_TASKS_MAX: usize = 1_000;
/// Bytes after which a batch is full; one task more than that may be in it.
const BATCH_BYTES_FULL: usize = 1024 * 1024;
/// Most tasks of a file: their ids are kept for the answer.
const FILE_TASKS_MAX: usize = 1_000_000;

/// Submits all tasks of `file`, then waits for them when `wait` says so.
pub(super) async fn run(context: &Context, file: &Path, wait: bool) -> Result<Exit, Failure> {
    let failed = |error: io::Error| {
        Failure::usage(format!("cannot read {}: {error}", file.display()), "check the file that --file names")
    };
    let submitted = if file == Path::new("-") {
        submit_all(context, BufReader::new(tokio::io::stdin())).await?
    } else {
        submit_all(context, BufReader::new(tokio::fs::File::open(file).await.map_err(failed)?)).await?
    };
    if wait {
        let ids: Vec<String> = submitted.results.into_iter().map(|result| result.task_id).collect();
        return context.within(wait::until_final(context, &ids)).await;
    }
    context.answer(&submitted, |submitted| {
        submitted.results.iter().map(|result| result.task_id.as_str()).collect::<Vec<_>>().join("\n")
    })?;
    Ok(Exit::Done)
}

async fn submit_all(context: &Context, from: impl AsyncBufRead + Unpin) -> Result<BatchSubmitTasksResponse, Failure> {
    let mut lines = Lines { from: from.lines(), number: 0 };
    let mut all = BatchSubmitTasksResponse::default();
    loop {
        let first = lines.number + 1;
        let batch = next_batch(&mut lines).await.map_err(|failure| stored_so_far(failure, all.results.len(), first))?;
        if batch.is_empty() {
            break;
        }
        if all.results.len() + batch.len() > FILE_TASKS_MAX {
            let what = format!("more than {FILE_TASKS_MAX} tasks");
            return Err(stored_so_far(Failure::usage(what, "cut the file"), all.results.len(), first));
        }
        let submitted = context.client.submit_batch(batch).await;
        let submitted = submitted.map_err(|error| stored_so_far(context.failure(error), all.results.len(), first))?;
        all.results.extend(submitted.results);
    }
    print_trace();
    print::note(format!("{} tasks submitted", all.results.len()));
    Ok(all)
}

/// The failure with what is stored already, so that nothing is submitted twice.
fn stored_so_far(mut failure: Failure, stored: usize, line: usize) -> Failure {
    if stored > 0 {
        failure.what = format!("{}\n  {stored} tasks were submitted before", failure.what);
        failure.next = Some(format!("{}, then go on from line {line}", failure.next.unwrap_or_default()));
    }
    failure
}

#[derive(Debug)]
struct Lines<R> {
    from: tokio::io::Lines<R>,
    number: usize,
}

async fn next_batch(lines: &mut Lines<impl AsyncBufRead + Unpin>) -> Result<Vec<TaskSpec>, Failure> {
    let (mut batch, mut bytes) = (Vec::new(), 0);
    while batch.len() < BATCH_TASKS_MAX && bytes < BATCH_BYTES_FULL {
        let line = lines.from.next_line().await.map_err(|error| {
            Failure::usage(format!("cannot read line {}: {error}", lines.number + 1), "check the file")
        })?;
        let Some(line) = line else { break };
        lines.number += 1;
        if line.trim().is_empty() {
            continue;
        }
        let spec: TaskSpec = json::from_json(&line).map_err(|error| {
            Failure::usage(format!("line {} is not a task: {error}", lines.number), "see `mcp submit --help`")
        })?;
        bytes += spec.encoded_len();
        batch.push(spec);
    }
    Ok(batch)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncBufReadExt, BufReader};

    use super::{BATCH_TASKS_MAX, Lines, next_batch};

    fn lines(text: &str) -> Lines<BufReader<&[u8]>> {
        Lines { from: BufReader::new(text.as_bytes()).lines(), number: 0 }
    }

    #[tokio::test]
    async fn batches_are_bounded_and_nothing_is_left_out() {
        let text = "{\"process\":{\"argv\":[\"true\"]}}\n\n".repeat(BATCH_TASKS_MAX + 1);
        let mut lines = lines(&text);
        let mut sizes = Vec::new();
        loop {
            let batch = next_batch(&mut lines).await.unwrap();
            if batch.is_empty() {
                break;
            }
            sizes.push(batch.len());
        }
        assert_eq!(sizes, [BATCH_TASKS_MAX, 1]);
    }

    #[tokio::test]
    async fn a_wrong_line_is_named() {
        let mut lines = lines("{\"process\":{\"argv\":[\"true\"]}}\n{\"proces\":{}}\n");
        let failure = next_batch(&mut lines).await.unwrap_err();
        assert!(failure.what.contains("line 2") && failure.what.contains("proces"), "{}", failure.what);
    }
}
