//! `mcp retry`.

use super::context::Context;
use crate::exit::{Exit, Failure};

/// Submits a failed or cancelled task again.
pub(super) async fn run(context: &Context, id: &str) -> Result<Exit, Failure> {
    let retried = context.client.retry_task(id).await.map_err(|error| context.failure(error))?;
    context.answer(&retried, |retried| {
        let new = &retried.task_id;
        format!("task   {new}\nnote   it replays {id}\nnext   mcp logs -f {new}   or   mcp wait {new}")
    })?;
    Ok(Exit::Done)
}
