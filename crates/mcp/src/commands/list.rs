//! `mcp list`.

use std::time::SystemTime;

use mcp_proto::scheduler::v1::{ListTasksRequest, ListTasksResponse, TaskState};

use super::context::Context;
use crate::{
    args::List,
    exit::{Exit, Failure},
    output::{print, task},
};

/// Largest page that the server gives.
const PAGE_SIZE_MAX: usize = 500;

/// Lists tasks, page by page, until there are enough.
pub(super) async fn run(context: &Context, args: &List) -> Result<Exit, Failure> {
    let limit = if args.all { usize::MAX } else { args.limit as usize };
    let listed = context.within(tasks(context, args, limit)).await?;
    let is_cut_off = !listed.next_page_token.is_empty();
    context.answer(&listed, |listed| task::tasks(&listed.tasks, SystemTime::now()))?;
    if is_cut_off && !context.is_json() {
        print::note(format!("the newest {}; there are more: --limit N or --all", listed.tasks.len()));
    }
    Ok(Exit::Done)
}

async fn tasks(context: &Context, args: &List, limit: usize) -> Result<ListTasksResponse, Failure> {
    let mut listed = ListTasksResponse::default();
    loop {
        let left = limit - listed.tasks.len();
        let request = ListTasksRequest {
            namespace: args.namespace.clone().unwrap_or_default(),
            queue: args.queue.clone().unwrap_or_default(),
            states: args.state.iter().map(|&state| TaskState::from(state).into()).collect(),
            page_size: i32::try_from(left.min(PAGE_SIZE_MAX)).expect("at most a page"),
            page_token: listed.next_page_token,
            labels: args.label.iter().cloned().collect(),
            name_contains: args.name.clone().unwrap_or_default(),
        };
        let page = context.client.list(request).await.map_err(|error| context.failure(error))?;
        listed.tasks.extend(page.tasks);
        listed.tasks.truncate(limit);
        listed.next_page_token = page.next_page_token;
        if listed.next_page_token.is_empty() || listed.tasks.len() == limit {
            return Ok(listed);
        }
    }
}
