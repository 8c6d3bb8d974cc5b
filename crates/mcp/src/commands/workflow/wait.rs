//! `mcp workflow wait`, and the wait of `submit --wait` and `rerun --wait`.

use std::time::{Duration, SystemTime};

use mcp_client::Client;
use mcp_proto::scheduler::v1::{Workflow, WorkflowState};
use tokio::time::sleep;

use super::live::Live;
use crate::{
    commands::context::Context,
    exit::{Exit, Failure},
    output::workflow,
};

/// How long a wait without `--timeout` goes on.
const WAIT_LIMIT: Duration = Duration::from_secs(366 * 24 * 60 * 60);
/// How often the steps are looked at while there are few of them.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How many steps lengthen that by as much again: looking at many costs the server more.
const LOOK_STEPS: u32 = 100;

/// Waits until the workflow is final, showing how its steps fare, and then shows the whole. The exit code says whether it
/// succeeded.
pub(super) async fn run(context: &Context, id: &str) -> Result<Exit, Failure> {
    let done = context.within(until_final(context, id)).await?;
    let has_succeeded = done.state() == WorkflowState::Succeeded;
    context.answer(&done, |done| workflow::workflow(done, false, SystemTime::now()))?;
    Ok(if has_succeeded { Exit::Done } else { Exit::Failed })
}

async fn until_final(context: &Context, id: &str) -> Result<Workflow, Failure> {
    // Read first, so that a wrong id or an unreachable gateway is told at once.
    let first = context.client.workflow(id).await.map_err(|error| context.failure(error))?;
    let mut live = Live::new();
    live.see(&first, SystemTime::now());
    if workflow::is_final(first.state()) {
        return Ok(first);
    }
    let done = tokio::select! {
        done = context.client.wait_workflow(id, WAIT_LIMIT) => done.map_err(|error| context.failure(error))?,
        never = watch(&context.client, id, &first, &mut live) => match never {},
    };
    live.see(&done, SystemTime::now());
    Ok(done)
}

/// Looks at the steps again and again. What it shows is an ornament: when a look fails, the wait goes on.
async fn watch(client: &Client, id: &str, first: &Workflow, live: &mut Live) -> std::convert::Infallible {
    let pause = LOOK_EVERY * (1 + first.step_count / LOOK_STEPS);
    loop {
        sleep(pause).await;
        if let Ok(workflow) = client.workflow(id).await {
            live.see(&workflow, SystemTime::now());
        }
    }
}
