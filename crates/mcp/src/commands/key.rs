//! `mcp key`.

use std::time::SystemTime;

use mcp_proto::gateway::v1::ListKeysResponse;

use super::context::Context;
use crate::{
    args::key::{Create, Key as Command},
    exit::{Exit, Failure},
    output::{key, print},
};

/// Largest page that the server gives.
const PAGE_SIZE_MAX: i32 = 1_000;
/// Most pages of a list: the server keeps fewer keys.
const PAGES_MAX: usize = 100;

/// Runs one of the commands.
pub(super) async fn run(context: &Context, command: &Command) -> Result<Exit, Failure> {
    match command {
        Command::Create(args) => create(context, args).await,
        Command::List => list(context).await,
        Command::Revoke { id } => {
            context.client.revoke_key(id).await.map_err(|error| context.failure(error))?;
            print::note(format!("key {id} is revoked"));
            Ok(Exit::Done)
        }
    }
}

async fn create(context: &Context, args: &Create) -> Result<Exit, Failure> {
    let grants = args.role.iter().map(|flag| flag.wire()).collect();
    let made = context.client.create_key(&args.name, grants, args.ttl).await;
    let made = made.map_err(|error| context.failure(error))?;
    // Only the key goes to standard output, so that a script can take it from there.
    context.answer(&made, |made| made.secret.clone())?;
    if !context.is_json() {
        print::note("the key cannot be shown again; send it as `authorization: Bearer`, or set MCP_TOKEN to it");
    }
    Ok(Exit::Done)
}

async fn list(context: &Context) -> Result<Exit, Failure> {
    let mut listed = ListKeysResponse::default();
    for _ in 0..PAGES_MAX {
        let page = context.client.keys(PAGE_SIZE_MAX, &listed.next_page_token).await;
        let page = page.map_err(|error| context.failure(error))?;
        listed.keys.extend(page.keys);
        listed.next_page_token = page.next_page_token;
        if listed.next_page_token.is_empty() {
            break;
        }
    }
    context.answer(&listed, |listed| key::keys(&listed.keys, SystemTime::now()))?;
    Ok(Exit::Done)
}
