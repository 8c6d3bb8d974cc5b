//! `mcp get`.

use std::time::SystemTime;

use super::context::Context;
use crate::{
    exit::{Exit, Failure},
    output::task,
};

/// Shows a task.
pub(super) async fn run(context: &Context, id: &str) -> Result<Exit, Failure> {
    let task = context.client.get(id).await.map_err(|error| context.failure(error))?;
    context.answer(&task, |task| task::task(task, SystemTime::now()))?;
    Ok(Exit::Done)
}
