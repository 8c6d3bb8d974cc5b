//! A program with a scheduler inside: `cargo run -p embedded-scheduler -- DIR NAME`.
//!
//! Its tasks are durable: run it again on the same folder, and it still knows them.
#![expect(clippy::print_stdout, reason = "this program talks to a terminal")]

use std::time::Duration;

use mcp_client::{
    Client,
    value::{from_value, to_value},
    worker::{AttemptContext, HandlerError, Schedulers, Worker},
};
use mcp_proto::scheduler::v1::{HandlerWork, ListTasksRequest, TaskSpec, task_spec::Work};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

/// How long the task may take.
const LIMIT: Duration = Duration::from_secs(60);

/// What the tasks do.
async fn greet(context: AttemptContext, input: Value) -> Result<Value, HandlerError> {
    context.log(format!("attempt {} of {}", context.attempt(), context.task_id())).await;
    Ok(json!(format!("hello, {}", input["name"].as_str().unwrap_or("world"))))
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let (folder, name) = (args.next().unwrap_or_else(|| "embedded-data".into()), args.next().unwrap_or("Ada".into()));
    let stop = CancellationToken::new();

    let scheduler = scheduler::Embedded::builder(folder).start().await?;
    let worker = Worker::builder(Schedulers::Fixed(vec![scheduler.url()])).handler("greet", greet).build();
    let working = tokio::spawn(worker.run(stop.clone()));

    let client = Client::connect(&scheduler.url())?;
    let work = HandlerWork { handler: "greet".into(), input: Some(to_value(json!({ "name": name }))) };
    let task = client.submit(TaskSpec { work: Some(Work::Handler(work)), ..TaskSpec::default() }).await?;
    let task = client.wait(&task.task_id, LIMIT).await?;
    println!("{} {}", task.id, task.output.map(from_value).unwrap_or_default());

    let known = client.list(ListTasksRequest::default()).await?.tasks.len();
    println!("tasks in the folder: {known}");
    stop.cancel();
    working.await?;
    scheduler.stop().await
}
