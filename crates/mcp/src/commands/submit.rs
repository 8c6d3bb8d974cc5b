//! `mcp submit`.

use mcp_proto::scheduler::v1::SubmitTaskResponse;

use super::{
    batch,
    context::Context,
    file,
    logs::{self, Style},
    trace::{print_trace, trace_id},
    wait,
};
use crate::{
    args::Submit,
    exit::{Exit, Failure},
    output::{json, print, task},
};

/// Submits one task or a file of them, and waits when it shall.
pub(super) async fn run(context: &Context, args: &Submit) -> Result<Exit, Failure> {
    if let Some(file) = &args.file {
        return batch::run(context, file, args.wait).await;
    }
    let stdin = match &args.task.stdin {
        Some(file) => file::read(file, "--stdin").await?,
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
    let mut lines = vec![format!("task   {}", submitted.task_id), format!("state  {}", task::state(submitted.state()))];
    if submitted.deduplicated {
        lines.push("note   there is a task with this idempotency or unique key already: it is this one".to_owned());
    }
    lines.extend(trace_id().map(|id| format!("trace  {id}")));
    lines.push(format!("next   mcp logs -f {id}   or   mcp wait {id}", id = submitted.task_id));
    print::line(lines.join("\n"))
}
