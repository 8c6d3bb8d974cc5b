//! `mcp submit`.

use std::{io, path::Path};

use mcp_proto::{MESSAGE_BYTES_MAX, scheduler::v1::SubmitTaskResponse};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::{
    batch,
    context::Context,
    logs::{self, Style},
    trace::{print_trace, trace_id},
    wait,
};
use crate::{
    args::Submit,
    exit::{Exit, Failure},
    output::{json, print, table},
};

/// Submits one task or a file of them, and waits when it shall.
pub(super) async fn run(context: &Context, args: &Submit) -> Result<Exit, Failure> {
    if let Some(file) = &args.file {
        return batch::run(context, file, args.wait).await;
    }
    let stdin = match &args.stdin {
        Some(file) => read_stdin(file).await?,
        None => Vec::new(),
    };
    let spec = args.spec(stdin).map_err(|what| Failure::usage(what, "give a shorter time"))?;
    let submitted = context.client.submit(spec).await.map_err(|error| context.failure(error))?;
    if !args.wait && !args.follow {
        show(context, &submitted)?;
        return Ok(Exit::Done);
    }
    print::note(format!("task {}", submitted.task_id));
    print_trace();
    let ids = [submitted.task_id];
    context
        .within(async {
            if args.follow {
                let style = if context.is_json() { Style::Aside } else { Style::Plain };
                logs::show(context, &ids[0], 0, true, style).await?;
            }
            wait::until_final(context, &ids).await
        })
        .await
}

fn show(context: &Context, submitted: &SubmitTaskResponse) -> Result<(), Failure> {
    if context.is_json() {
        print_trace();
        return print::line(json::pretty(&json::to_json(submitted)));
    }
    let mut lines =
        vec![format!("task   {}", submitted.task_id), format!("state  {}", table::state(submitted.state()))];
    if submitted.deduplicated {
        lines.push("note   the idempotency key was used before: this is the task of then".to_owned());
    }
    lines.extend(trace_id().map(|id| format!("trace  {id}")));
    lines.push(format!("next   mcp logs -f {id}   or   mcp wait {id}", id = submitted.task_id));
    print::line(lines.join("\n"))
}

async fn read_stdin(file: &Path) -> Result<Vec<u8>, Failure> {
    let failed = |error: io::Error| {
        Failure::usage(format!("cannot read {}: {error}", file.display()), "check the file that --stdin names")
    };
    if file == Path::new("-") {
        return read_bounded(tokio::io::stdin(), file).await.map_err(failed)?;
    }
    let opened = tokio::fs::File::open(file).await.map_err(failed)?;
    read_bounded(opened, file).await.map_err(failed)?
}

/// All bytes, unless there are more than a task may hold.
async fn read_bounded(from: impl AsyncRead + Unpin, file: &Path) -> io::Result<Result<Vec<u8>, Failure>> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(MESSAGE_BYTES_MAX).expect("a usize fits into 64 bits");
    from.take(limit + 1).read_to_end(&mut bytes).await?;
    if bytes.len() > MESSAGE_BYTES_MAX {
        return Ok(Err(Failure::usage(
            format!("{} has more than {MESSAGE_BYTES_MAX} bytes, the most that a task may hold", file.display()),
            "put the data where the worker can read it, and pass its path or URL as an argument",
        )));
    }
    Ok(Ok(bytes))
}
