//! `mcp schedule`.

mod ledger;
mod preview;

use std::{path::Path, time::SystemTime};

use mcp_proto::{
    Code, Error,
    scheduler::v1::{
        BackfillScheduleRequest, DeleteScheduleResponse, Fire, ListSchedulesRequest, ListSchedulesResponse, Schedule,
        TriggerScheduleResponse,
    },
};

use super::{context::Context, file};
use crate::{
    args::{
        Moment, ScheduleCommand as Command,
        schedule::{Create, ScheduleName},
    },
    document,
    exit::{Exit, Failure},
    output::{print, schedule},
};

/// Largest page that the server gives.
const PAGE_SIZE_MAX: i32 = 500;
/// Most schedules that a list shows.
const SCHEDULES_MAX: usize = 100_000;

/// Runs one of the commands.
pub(super) async fn run(context: &Context, command: &Command) -> Result<Exit, Failure> {
    let client = &context.client;
    match command {
        Command::Put { file } => put(context, file).await,
        Command::Create(args) => create(context, args).await,
        Command::List { namespace } => list(context, namespace).await,
        Command::Get(ScheduleName { name, namespace }) => show(context, client.schedule(namespace, name).await),
        Command::Delete(ScheduleName { name, namespace }) => delete(context, namespace, name).await,
        Command::Pause(ScheduleName { name, namespace }) => show(context, client.pause_schedule(namespace, name).await),
        Command::Resume(ScheduleName { name, namespace }) => {
            show(context, client.resume_schedule(namespace, name).await)
        }
        Command::Trigger(ScheduleName { name, namespace }) => trigger(context, namespace, name).await,
        Command::Backfill { name, from, to } => backfill(context, name, *from, *to).await,
        Command::Fires(args) => ledger::run(context, args).await,
        Command::Next(args) => preview::run(context, args).await,
    }
}

fn show(context: &Context, answer: Result<Schedule, Error>) -> Result<Exit, Failure> {
    let schedule = answer.map_err(|error| context.failure(error))?;
    context.answer(&schedule, |schedule| schedule::schedule(schedule, SystemTime::now()))?;
    Ok(Exit::Done)
}

async fn put(context: &Context, path: &Path) -> Result<Exit, Failure> {
    let text = file::read_text(path, "--file").await?;
    let document = document::schedule(&text).map_err(|fault| file::faulty(path, &fault, "mcp schedule put"))?;
    let answer = context.client.put_schedule(document.message.clone()).await;
    let schedule =
        answer.map_err(|error| file::located(context.failure(error.clone()), &error, path, &document, "schedule"))?;
    show(context, Ok(schedule))
}

/// Stores a schedule, unless there is one of that name and it shall stay.
async fn create(context: &Context, args: &Create) -> Result<Exit, Failure> {
    let stdin = match &args.task.stdin {
        Some(path) => file::read(path, "--stdin").await?,
        None => Vec::new(),
    };
    let schedule = args.schedule(stdin, SystemTime::now()).map_err(|what| Failure::usage(what, "give another time"))?;
    if !args.replace {
        match context.client.schedule(&schedule.namespace, &schedule.name).await {
            Ok(_) => {
                let what = format!("there is a schedule `{}` already", schedule.name);
                return Err(Failure::new(Exit::Refused, what, "take another name, or replace it with --replace"));
            }
            Err(error) if error.code() == Code::ScheduleNotFound => {}
            Err(error) => return Err(context.failure(error)),
        }
    }
    show(context, context.client.put_schedule(schedule).await)
}

async fn list(context: &Context, namespace: &str) -> Result<Exit, Failure> {
    let listed: ListSchedulesResponse = context
        .within(async {
            let mut listed = ListSchedulesResponse::default();
            loop {
                let request = ListSchedulesRequest {
                    namespace: namespace.to_owned(),
                    page_size: PAGE_SIZE_MAX,
                    page_token: listed.next_page_token,
                };
                let page = context.client.schedules(request).await.map_err(|error| context.failure(error))?;
                listed.schedules.extend(page.schedules);
                listed.next_page_token = page.next_page_token;
                if listed.next_page_token.is_empty() || listed.schedules.len() >= SCHEDULES_MAX {
                    return Ok(listed);
                }
            }
        })
        .await?;
    context.answer(&listed, |listed| schedule::schedules(&listed.schedules, SystemTime::now()))?;
    Ok(Exit::Done)
}

async fn delete(context: &Context, namespace: &str, name: &str) -> Result<Exit, Failure> {
    context.client.delete_schedule(namespace, name).await.map_err(|error| context.failure(error))?;
    context.answer(&DeleteScheduleResponse {}, |_| {
        format!("schedule {namespace}/{name} is gone; what it started goes on")
    })?;
    Ok(Exit::Done)
}

async fn trigger(context: &Context, namespace: &str, name: &str) -> Result<Exit, Failure> {
    let fire = context.client.trigger_schedule(namespace, name).await.map_err(|error| context.failure(error))?;
    let answer = TriggerScheduleResponse { fire: Some(fire) };
    context.answer(&answer, |answer| {
        let fire: Fire = answer.fire.clone().unwrap_or_default();
        let mut text = schedule::fires(std::slice::from_ref(&fire));
        if !fire.task_id.is_empty() {
            text = format!("{text}\nnext   mcp logs -f {id}   or   mcp wait {id}", id = fire.task_id);
        } else if !fire.workflow_id.is_empty() {
            text = format!("{text}\nnext   mcp workflow wait {}", fire.workflow_id);
        }
        text
    })?;
    Ok(Exit::Done)
}

async fn backfill(context: &Context, name: &ScheduleName, from: Moment, to: Moment) -> Result<Exit, Failure> {
    let now = SystemTime::now();
    let resolve = |flag: &str, moment: Moment| {
        moment.resolve(now).map_err(|what| Failure::usage(format!("{flag}: {what}"), "give a time that is nearer"))
    };
    let request = BackfillScheduleRequest {
        namespace: name.namespace.clone(),
        name: name.name.clone(),
        start_time: Some(resolve("--from", from)?),
        end_time: Some(resolve("--to", to)?),
    };
    let filled = context.client.backfill_schedule(request).await.map_err(|error| context.failure(error))?;
    context.answer(&filled, |filled| {
        format!("{} fire times will start, {} ran before", filled.accepted, filled.ran_before)
    })?;
    if !context.is_json() {
        print::note(format!("mcp schedule fires {} shows what becomes of them", name.name));
    }
    Ok(Exit::Done)
}
