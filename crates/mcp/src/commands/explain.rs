//! `mcp explain`.

use std::time::SystemTime;

use super::context::Context;
use crate::{
    exit::{Exit, Failure},
    output::explain,
};

/// Shows why a task is where it is, or a step of a workflow, or all of its steps when none is named.
pub(super) async fn run(context: &Context, id: &str, step: &str) -> Result<Exit, Failure> {
    let explained = context.client.explain(id, step).await.map_err(|error| context.failure(error))?;
    context.answer(&explained, |explained| explain::explanation(id, explained, SystemTime::now()))?;
    Ok(Exit::Done)
}
