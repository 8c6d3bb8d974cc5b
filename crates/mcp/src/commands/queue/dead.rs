//! `mcp queue dead`.

use std::{
    io::{self, IsTerminal},
    time::SystemTime,
};

use mcp_proto::scheduler::v1::{
    DeadLetterFilter, ListDeadLettersRequest, ListDeadLettersResponse, PurgeDeadLettersRequest,
    PurgeDeadLettersResponse, ReplayDeadLettersRequest, ReplayDeadLettersResponse,
};
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::{
    args::queue::{DeadChoice, DeadList, DeadPurge, Filter, QueueName},
    commands::{context::Context, progress::CountLine},
    exit::{Exit, Failure},
    output::{print, queue},
};

/// Largest page that the server gives.
const PAGE_SIZE_MAX: usize = 500;
/// Most dead letters of one replay: what became of each is kept for the answer.
const REPLAYED_MAX: usize = 1_000_000;

/// Lists dead letters, page by page, until there are enough.
pub(super) async fn list(context: &Context, args: &DeadList) -> Result<Exit, Failure> {
    let limit = if args.all { usize::MAX } else { args.limit as usize };
    let listed = context.within(pages(context, args, limit)).await?;
    let is_cut_off = !listed.next_page_token.is_empty();
    context.answer(&listed, |listed| queue::dead_letters(&listed.dead_letters, SystemTime::now()))?;
    if is_cut_off && !context.is_json() {
        print::note(format!("the oldest {}; there are more: --limit N or --all", listed.dead_letters.len()));
    }
    Ok(Exit::Done)
}

async fn pages(context: &Context, args: &DeadList, limit: usize) -> Result<ListDeadLettersResponse, Failure> {
    let filter = filter(&args.filter, false)?;
    let mut listed = ListDeadLettersResponse::default();
    loop {
        let left = limit - listed.dead_letters.len();
        let request = ListDeadLettersRequest {
            namespace: args.name.namespace.clone(),
            queue: args.name.queue.clone(),
            filter: Some(filter.clone()),
            page_size: i32::try_from(left.min(PAGE_SIZE_MAX)).expect("at most a page"),
            page_token: listed.next_page_token,
        };
        let page = context.client.dead_letters(request).await.map_err(|error| context.failure(error))?;
        listed.dead_letters.extend(page.dead_letters);
        listed.dead_letters.truncate(limit);
        listed.next_page_token = page.next_page_token;
        if listed.next_page_token.is_empty() || listed.dead_letters.len() == limit {
            return Ok(listed);
        }
    }
}

/// Replays until no more match. What could not be replayed stays, so a group without any success is the last one.
pub(super) async fn replay(context: &Context, args: &DeadChoice) -> Result<Exit, Failure> {
    let DeadChoice { name: QueueName { queue, namespace }, .. } = args;
    let filter = filter(&args.filter, args.all)?;
    let line = CountLine::new("dead letters replayed");
    let mut all = ReplayDeadLettersResponse::default();
    let done = context.within(async {
        loop {
            let request = ReplayDeadLettersRequest {
                namespace: namespace.clone(),
                queue: queue.clone(),
                filter: Some(filter.clone()),
                limit: 0,
            };
            let group = context.client.replay_dead_letters(request).await.map_err(|error| context.failure(error))?;
            let is_stuck = group.replayed.is_empty();
            all.replayed.extend(group.replayed);
            // The errors of the last group stand for all: what fails is tried again with each group.
            all.errors = group.errors;
            all.more = group.more;
            line.count(all.replayed.len());
            if !group.more || is_stuck || all.replayed.len() >= REPLAYED_MAX {
                return Ok(());
            }
        }
    });
    let ended: Result<(), Failure> = done.await;
    drop(line);
    if let Err(mut failure) = ended {
        failure.what = format!("{}\n  {} dead letters were replayed before", failure.what, all.replayed.len());
        return Err(failure);
    }
    context.answer(&all, queue::replayed)?;
    print::note(format!("{} dead letters replayed, {} not", all.replayed.len(), all.errors.len()));
    Ok(if all.errors.is_empty() && !all.more { Exit::Done } else { Exit::Failed })
}

/// Removes until no more match, after a question on a terminal.
pub(super) async fn purge(context: &Context, args: &DeadPurge) -> Result<Exit, Failure> {
    let QueueName { queue, namespace } = &args.choice.name;
    let filter = filter(&args.choice.filter, args.choice.all)?;
    if !args.yes && !confirmed(&format!("remove these dead letters of {namespace}/{queue} for good?")).await? {
        print::note("nothing was removed");
        return Ok(Exit::Failed);
    }
    let line = CountLine::new("dead letters removed");
    let mut all = PurgeDeadLettersResponse::default();
    let done: Result<(), Failure> = context
        .within(async {
            loop {
                let request = PurgeDeadLettersRequest {
                    namespace: namespace.clone(),
                    queue: queue.clone(),
                    filter: Some(filter.clone()),
                };
                let group = context.client.purge_dead_letters(request).await.map_err(|error| context.failure(error))?;
                all.purged = all.purged.saturating_add(group.purged);
                line.count(all.purged as usize);
                if !group.more {
                    return Ok(());
                }
            }
        })
        .await;
    drop(line);
    done?;
    context.answer(&all, |all| format!("{} dead letters removed", all.purged))?;
    Ok(Exit::Done)
}

fn filter(filter: &Filter, all: bool) -> Result<DeadLetterFilter, Failure> {
    filter.wire(all, SystemTime::now()).map_err(|what| Failure::usage(what, "give a time that is nearer"))
}

/// Asks on the terminal.
///
/// # Errors
/// When there is none to ask on.
async fn confirmed(question: &str) -> Result<bool, Failure> {
    if !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
        return Err(Failure::usage("there is no terminal to ask for a confirmation on", "pass --yes"));
    }
    print::note(format!("{question} [y/N]"));
    let mut answer = String::new();
    let read = BufReader::new(tokio::io::stdin()).read_line(&mut answer).await;
    read.map_err(|error| Failure::usage(format!("cannot read the answer: {error}"), "pass --yes"))?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
