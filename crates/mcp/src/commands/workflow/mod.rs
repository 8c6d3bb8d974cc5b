//! `mcp workflow`.

mod live;
mod submit;
mod wait;

use std::time::SystemTime;

use mcp_proto::{
    Error,
    scheduler::v1::{ListWorkflowsRequest, ListWorkflowsResponse, Workflow, WorkflowState},
};

use super::context::Context;
use crate::{
    args::workflow::{Workflow as Command, WorkflowList},
    exit::{Exit, Failure},
    output::{print, workflow},
};

/// Largest page that the server gives.
const PAGE_SIZE_MAX: usize = 500;

/// Runs one of the commands.
pub(super) async fn run(context: &Context, command: &Command) -> Result<Exit, Failure> {
    let client = &context.client;
    match command {
        Command::Submit(args) => submit::submit(context, args).await,
        Command::Check { file } => submit::check(context, file).await,
        Command::Get { id, all } => show(context, client.workflow(id).await, *all),
        Command::List(args) => list(context, args).await,
        Command::Wait { id } => wait::run(context, id).await,
        Command::Cancel { id, reason } => show(context, client.cancel_workflow(id, reason.as_str()).await, false),
        Command::Pause { id } => show(context, client.pause_workflow(id).await, false),
        Command::Resume { id } => show(context, client.resume_workflow(id).await, false),
        Command::Rerun(args) => submit::rerun(context, args).await,
    }
}

fn show(context: &Context, answer: Result<Workflow, Error>, all: bool) -> Result<Exit, Failure> {
    let workflow = answer.map_err(|error| context.failure(error))?;
    context.answer(&workflow, |workflow| workflow::workflow(workflow, all, SystemTime::now()))?;
    Ok(Exit::Done)
}

async fn list(context: &Context, args: &WorkflowList) -> Result<Exit, Failure> {
    let limit = if args.all { usize::MAX } else { args.limit as usize };
    let listed = context.within(pages(context, args, limit)).await?;
    let is_cut_off = !listed.next_page_token.is_empty();
    context.answer(&listed, |listed| workflow::workflows(&listed.workflows, SystemTime::now()))?;
    if is_cut_off && !context.is_json() {
        print::note(format!("the newest {}; there are more: --limit N or --all", listed.workflows.len()));
    }
    Ok(Exit::Done)
}

async fn pages(context: &Context, args: &WorkflowList, limit: usize) -> Result<ListWorkflowsResponse, Failure> {
    let mut listed = ListWorkflowsResponse::default();
    loop {
        let left = limit - listed.workflows.len();
        let request = ListWorkflowsRequest {
            namespace: args.namespace.clone(),
            queue: args.queue.clone(),
            states: args.state.iter().map(|&state| WorkflowState::from(state).into()).collect(),
            page_size: i32::try_from(left.min(PAGE_SIZE_MAX)).expect("at most a page"),
            page_token: listed.next_page_token,
        };
        let page = context.client.workflows(request).await.map_err(|error| context.failure(error))?;
        listed.workflows.extend(page.workflows);
        listed.workflows.truncate(limit);
        listed.next_page_token = page.next_page_token;
        if listed.next_page_token.is_empty() || listed.workflows.len() == limit {
            return Ok(listed);
        }
    }
}
