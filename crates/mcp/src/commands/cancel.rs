//! `mcp cancel`.

use std::time::SystemTime;

use super::context::Context;
use crate::{
    exit::{Exit, Failure},
    output::task,
};

/// Ends a task, and shows where it stands now.
pub(super) async fn run(context: &Context, id: &str, reason: &str) -> Result<Exit, Failure> {
    let task = context.client.cancel(id, reason).await.map_err(|error| context.failure(error))?;
    context.answer(&task, |task| task::task(task, SystemTime::now()))?;
    Ok(Exit::Done)
}
