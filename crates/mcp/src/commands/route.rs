//! `mcp route`.

use std::path::PathBuf;

use mcp_proto::{
    Code, Error,
    gateway::v1::{ListPoliciesRequest, ListPoliciesResponse, ListRoutesRequest, ListRoutesResponse, Policy, Route},
};
use serde_json::{Value, json};

use super::{context::Context, file};
use crate::{
    args::route::{Files, RecordName, RouteCommand as Command},
    document::{Document, Resource, resources},
    exit::{Exit, Failure},
    output::{
        json::{self, Named},
        print, route as output,
    },
};

/// Largest page that the gateway gives.
const PAGE_SIZE_MAX: u32 = 1_000;
/// Most records of one kind that a list shows.
const RECORDS_MAX: usize = 100_000;

/// Runs one of the commands.
pub(super) async fn run(context: &Context, command: &Command) -> Result<Exit, Failure> {
    match command {
        Command::Apply { files, dry_run } => context.within(apply(context, files, *dry_run)).await,
        Command::Diff(files) => context.within(diff(context, files)).await,
        Command::List => context.within(list(context)).await,
        Command::Get { name } => get(context, name).await,
        Command::Delete { names } => context.within(delete(context, names)).await,
    }
}

/// A record of a file, whatever its kind.
#[derive(Debug)]
struct Wanted {
    file: PathBuf,
    resource: Resource,
}

/// What is to become of it.
#[derive(Debug)]
struct Change {
    wanted: Wanted,
    /// What is stored, as JSON; `None`: nothing.
    before: Option<Value>,
    after: Value,
}

impl Wanted {
    fn kind(&self) -> &'static str {
        match self.resource {
            Resource::Route(_) => "route",
            Resource::Policy(_) => "policy",
        }
    }

    fn id(&self) -> &str {
        match &self.resource {
            Resource::Route(route) => &route.message.id,
            Resource::Policy(policy) => &policy.message.id,
        }
    }

    /// What the record will differ in. Without a version of its own it takes over that of what is stored, so that
    /// nothing written meanwhile is lost.
    async fn change(mut self, context: &Context) -> Result<Change, Failure> {
        let failure = |error| context.failure(error);
        let (before, after) = match &mut self.resource {
            Resource::Route(route) => {
                let stored = stored(context.client.route(&route.message.id).await).map_err(failure)?;
                if let (Some(stored), 0) = (&stored, route.message.version) {
                    route.message.version = stored.version;
                }
                (stored.as_ref().map(bare), bare(&route.message))
            }
            Resource::Policy(policy) => {
                let stored = stored(context.client.policy(&policy.message.id).await).map_err(failure)?;
                if let (Some(stored), 0) = (&stored, policy.message.version) {
                    policy.message.version = stored.version;
                }
                (stored.as_ref().map(bare), bare(&policy.message))
            }
        };
        Ok(Change { wanted: self, before, after })
    }
}

impl Change {
    fn outcome(&self) -> &'static str {
        match &self.before {
            None => "created",
            Some(before) if output::difference(before, &self.after).is_empty() => "unchanged",
            Some(_) => "changed",
        }
    }

    fn difference(&self) -> String {
        output::difference(self.before.as_ref().unwrap_or(&Value::Null), &self.after)
    }

    /// Leaves policies that are checked with it out of a route: in a dry run they may not be there yet.
    fn forget(&mut self, policies: &[String]) {
        if let Resource::Route(route) = &mut self.wanted.resource {
            route.message.policies.retain(|id| !policies.contains(id));
        }
    }

    /// Writes the record, or only has it checked; its new version comes back.
    async fn write(&self, context: &Context, validate_only: bool) -> Result<u64, Failure> {
        match &self.wanted.resource {
            Resource::Route(route) => {
                let answer = context.client.apply_route(route.message.clone(), validate_only).await;
                answer.map(|route| route.version).map_err(|error| self.refused(context, &error, route))
            }
            Resource::Policy(policy) => {
                let answer = context.client.apply_policy(policy.message.clone(), validate_only).await;
                answer.map(|policy| policy.version).map_err(|error| self.refused(context, &error, policy))
            }
        }
    }

    fn refused<M>(&self, context: &Context, error: &Error, document: &Document<M>) -> Failure {
        let mut failure = context.failure(error.clone());
        if error.violations().is_empty() {
            failure.what = format!("{}/{}: {}", self.wanted.kind(), self.wanted.id(), failure.what);
        }
        file::located(failure, error, &self.wanted.file, document, self.wanted.kind())
    }
}

/// The record as JSON, without what says nothing.
fn bare<M: Named>(message: &M) -> Value {
    json::to_short_json(message)
}

/// What is stored, if anything is.
fn stored<T>(answer: Result<T, Error>) -> Result<Option<T>, Error> {
    match answer {
        Ok(record) => Ok(Some(record)),
        // Its id is wrong too, which the write tells with the line.
        Err(error) if matches!(error.code(), Code::NotFound | Code::InvalidArgument | Code::DataLoss) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The records of the files, policies first, since routes name them.
async fn read(files: &Files) -> Result<Vec<Wanted>, Failure> {
    let mut wanted = Vec::new();
    for file in &files.files {
        let text = file::read_text(file, "--file").await?;
        let records = resources(&text).map_err(|fault| file::faulty(file, &fault, "mcp route apply"))?;
        wanted.extend(records.into_iter().map(|resource| Wanted { file: file.clone(), resource }));
    }
    wanted.sort_by_key(|wanted| matches!(wanted.resource, Resource::Route(_)));
    Ok(wanted)
}

async fn apply(context: &Context, files: &Files, dry_run: bool) -> Result<Exit, Failure> {
    let mut rows = Vec::new();
    let records = read(files).await?;
    let policies: Vec<String> =
        records.iter().filter(|wanted| wanted.kind() == "policy").map(|wanted| wanted.id().to_owned()).collect();
    for wanted in records {
        let mut change = wanted.change(context).await?;
        let outcome = change.outcome();
        if dry_run {
            change.forget(&policies);
        }
        let version = if outcome == "unchanged" && !dry_run { 0 } else { change.write(context, dry_run).await? };
        let (kind, id) = (change.wanted.kind(), change.wanted.id());
        if context.is_json() {
            rows.push(json!({"kind": kind, "id": id, "outcome": outcome, "version": version.to_string()}));
        } else {
            print::line(format!("{kind}/{id} {outcome}{}", if dry_run { " (dry run)" } else { "" }))?;
        }
    }
    if context.is_json() {
        print::line(json::pretty(&json!({"applied": rows})))?;
    }
    Ok(Exit::Done)
}

/// Exit code 1 tells that something would change.
async fn diff(context: &Context, files: &Files) -> Result<Exit, Failure> {
    let (mut rows, mut differs) = (Vec::new(), false);
    for wanted in read(files).await? {
        let change = wanted.change(context).await?;
        let outcome = change.outcome();
        differs |= outcome != "unchanged";
        let (kind, id) = (change.wanted.kind(), change.wanted.id());
        if context.is_json() {
            rows.push(
                json!({"kind": kind, "id": id, "outcome": outcome, "before": change.before, "after": change.after}),
            );
        } else if outcome != "unchanged" {
            print::line(format!("{kind}/{id} {outcome}\n{}", change.difference()))?;
        }
    }
    if context.is_json() {
        print::line(json::pretty(&json!({"changes": rows})))?;
    }
    Ok(if differs { Exit::Failed } else { Exit::Done })
}

async fn list(context: &Context) -> Result<Exit, Failure> {
    let (routes, policies) = (routes(context).await?, policies(context).await?);
    if context.is_json() {
        let mut all = json::to_json(&routes);
        all["policies"] = json::to_json(&ListPoliciesResponse { policies, ..Default::default() })["policies"].take();
        print::line(json::pretty(&all))?;
    } else {
        print::line(output::list(&routes, &policies))?;
    }
    Ok(Exit::Done)
}

async fn routes(context: &Context) -> Result<ListRoutesResponse, Failure> {
    let mut listed = ListRoutesResponse::default();
    loop {
        let request = ListRoutesRequest { page_size: PAGE_SIZE_MAX, page_token: listed.next_page_token };
        let page = context.client.routes(request).await.map_err(|error| context.failure(error))?;
        listed.routes.extend(page.routes);
        (listed.next_page_token, listed.problems) = (page.next_page_token, page.problems);
        if listed.next_page_token.is_empty() || listed.routes.len() >= RECORDS_MAX {
            return Ok(listed);
        }
    }
}

async fn policies(context: &Context) -> Result<Vec<Policy>, Failure> {
    let (mut listed, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = ListPoliciesRequest { page_size: PAGE_SIZE_MAX, page_token };
        let page = context.client.policies(request).await.map_err(|error| context.failure(error))?;
        listed.extend(page.policies);
        page_token = page.next_page_token;
        if page_token.is_empty() || listed.len() >= RECORDS_MAX {
            return Ok(listed);
        }
    }
}

/// Prints the record as a document that can be applied again.
async fn get(context: &Context, name: &RecordName) -> Result<Exit, Failure> {
    let failure = |error| context.failure(error);
    let record = match name {
        RecordName::Route(id) => bare::<Route>(&context.client.route(id).await.map_err(failure)?),
        RecordName::Policy(id) => {
            let mut record = bare::<Policy>(&context.client.policy(id).await.map_err(failure)?);
            record["kind"] = "policy".into();
            record
        }
    };
    print::line(json::pretty(&record))?;
    Ok(Exit::Done)
}

async fn delete(context: &Context, names: &[RecordName]) -> Result<Exit, Failure> {
    for name in names {
        let (kind, id, answer) = match name {
            RecordName::Route(id) => ("route", id, context.client.delete_route(id).await),
            RecordName::Policy(id) => ("policy", id, context.client.delete_policy(id).await),
        };
        answer.map_err(|error| context.failure(error))?;
        if !context.is_json() {
            print::line(format!("{kind}/{id} deleted"))?;
        }
    }
    if context.is_json() {
        print::line("{}")?;
    }
    Ok(Exit::Done)
}
