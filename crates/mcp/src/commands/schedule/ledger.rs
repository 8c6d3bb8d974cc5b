//! `mcp schedule fires`.

use std::time::SystemTime;

use mcp_proto::scheduler::v1::{ListFiresRequest, ListFiresResponse};

use crate::{
    args::schedule::Fires,
    commands::context::Context,
    exit::{Exit, Failure},
    output::{print, schedule},
};

/// Largest page that the server gives.
const PAGE_SIZE_MAX: usize = 500;

/// Shows the ledger, page by page, until there are enough entries.
pub(super) async fn run(context: &Context, args: &Fires) -> Result<Exit, Failure> {
    let limit = if args.all { usize::MAX } else { args.limit as usize };
    let listed = context.within(pages(context, args, limit)).await?;
    let is_cut_off = !listed.next_page_token.is_empty();
    context.answer(&listed, |listed| schedule::fires(&listed.fires))?;
    if is_cut_off && !context.is_json() {
        print::note(format!("the oldest {}; there are more: --since TIME, --limit N or --all", listed.fires.len()));
    }
    Ok(Exit::Done)
}

async fn pages(context: &Context, args: &Fires, limit: usize) -> Result<ListFiresResponse, Failure> {
    let since = args.since.map(|moment| moment.resolve(SystemTime::now())).transpose();
    let since = since.map_err(|what| Failure::usage(format!("--since: {what}"), "give a time that is nearer"))?;
    let mut listed = ListFiresResponse::default();
    loop {
        let left = limit - listed.fires.len();
        let request = ListFiresRequest {
            namespace: args.name.namespace.clone(),
            name: args.name.name.clone(),
            since,
            page_size: i32::try_from(left.min(PAGE_SIZE_MAX)).expect("at most a page"),
            page_token: listed.next_page_token,
        };
        let page = context.client.fires(request).await.map_err(|error| context.failure(error))?;
        listed.fires.extend(page.fires);
        listed.fires.truncate(limit);
        listed.next_page_token = page.next_page_token;
        if listed.next_page_token.is_empty() || listed.fires.len() == limit {
            return Ok(listed);
        }
    }
}
