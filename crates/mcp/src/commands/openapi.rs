//! `mcp openapi`.

use super::context::Context;
use crate::{
    exit::{Exit, Failure},
    output::{json, print},
};

/// Prints the OpenAPI document of what is registered; it is JSON in either form of output.
pub(super) async fn run(context: &Context) -> Result<Exit, Failure> {
    let document = context.client.openapi().await.map_err(|error| context.failure(error))?;
    print::line(json::pretty(&document))?;
    Ok(Exit::Done)
}
