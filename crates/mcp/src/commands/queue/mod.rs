//! `mcp queue`.

mod dead;

use std::time::SystemTime;

use mcp_proto::{
    Error,
    scheduler::v1::{GetQueueScalingRequest, Queue},
};

use super::context::Context;
use crate::{
    args::queue::{Dead, Queue as Command, QueueName, Scaling, Set},
    exit::{Exit, Failure},
    output::{print, queue},
};

/// Runs one of the commands.
pub(super) async fn run(context: &Context, command: &Command) -> Result<Exit, Failure> {
    let client = &context.client;
    match command {
        Command::List { namespace } => list(context, namespace).await,
        Command::Get(QueueName { queue, namespace }) => show(context, client.queue(namespace, queue).await),
        Command::Set(args) => set(context, args).await,
        Command::Pause(QueueName { queue, namespace }) => show(context, client.pause_queue(namespace, queue).await),
        Command::Drain(QueueName { queue, namespace }) => show(context, client.drain_queue(namespace, queue).await),
        Command::Resume(QueueName { queue, namespace }) => show(context, client.resume_queue(namespace, queue).await),
        Command::Scaling(args) => scaling(context, args).await,
        Command::Dead(Dead::List(args)) => dead::list(context, args).await,
        Command::Dead(Dead::Replay(args)) => dead::replay(context, args).await,
        Command::Dead(Dead::Purge(args)) => dead::purge(context, args).await,
    }
}

fn show(context: &Context, answer: Result<Queue, Error>) -> Result<Exit, Failure> {
    let queue = answer.map_err(|error| context.failure(error))?;
    context.answer(&queue, |queue| queue::queue(queue, SystemTime::now()))?;
    Ok(Exit::Done)
}

async fn list(context: &Context, namespace: &str) -> Result<Exit, Failure> {
    let listed = context.client.queues(namespace).await.map_err(|error| context.failure(error))?;
    context.answer(&listed, |listed| queue::queues(&listed.queues))?;
    if listed.truncated && !context.is_json() {
        print::note(format!("the first {}; there are more: name a --namespace", listed.queues.len()));
    }
    Ok(Exit::Done)
}

/// Reads the rules, changes what the flags name, and writes them back.
async fn set(context: &Context, args: &Set) -> Result<Exit, Failure> {
    let QueueName { queue, namespace } = &args.name;
    let before = context.client.queue(namespace, queue).await.map_err(|error| context.failure(error))?;
    let rules = args.changes.apply(before.rules.unwrap_or_default());
    show(context, context.client.set_queue_rules(namespace, queue, rules).await)
}

async fn scaling(context: &Context, args: &Scaling) -> Result<Exit, Failure> {
    let target_wait = args
        .target_wait
        .map(prost_types::Duration::try_from)
        .transpose()
        .map_err(|_| Failure::usage("--target-wait is too long", "give a shorter time"))?;
    let request = GetQueueScalingRequest {
        namespace: args.name.namespace.clone(),
        queue: args.name.queue.clone(),
        slots_per_worker: args.slots_per_worker,
        target_wait,
    };
    let signal = context.client.queue_scaling(request).await.map_err(|error| context.failure(error))?;
    context.answer(&signal, queue::scaling)?;
    Ok(Exit::Done)
}
