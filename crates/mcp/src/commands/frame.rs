//! `mcp frame`.

use mcp_client::{FrameClient, frame::FrameRequest};
use mcp_proto::{
    Error,
    frame::{BodyCodec, Metadata},
};
use serde_json::{Value, json};

use super::context::Context;
use crate::{
    args::{
        Global,
        frame::{Address, Call, Frame as Command, Target},
    },
    exit::{Exit, Failure},
    output::{json as output, print},
};

/// Runs one of the commands.
pub(super) async fn run(context: &Context, global: &Global, command: &Command) -> Result<Exit, Failure> {
    let work = async {
        match command {
            Command::Call(args) => Box::pin(call(context, global, args)).await,
            Command::Subscribe { topic, count, address } => {
                let client = connect(context, global, address)?;
                subscribe(context, &client, address, topic, *count).await
            }
            Command::Publish { topic, message, raw, address } => {
                let codec = checked(message, *raw)?;
                let client = connect(context, global, address)?;
                client.publish(topic, codec, message.clone()).await.map_err(|error| failure(&error, address))
            }
            Command::Ping { count, address } => {
                ping(context, &connect(context, global, address)?, address, *count).await
            }
        }
    };
    context.within(work).await?;
    Ok(Exit::Done)
}

fn connect(context: &Context, global: &Global, address: &Address) -> Result<FrameClient, Failure> {
    let mut builder =
        FrameClient::builder(&address.address).name(concat!("mcp-cli/", env!("CARGO_PKG_VERSION"))).fail_fast();
    if let Some(token) = &global.token {
        builder = builder.token(token);
    }
    if let Some(ca) = &global.ca {
        let pem = std::fs::read(ca);
        builder = builder
            .ca(pem.map_err(|error| Failure::usage(format!("--ca cannot be read: {error}"), "name a PEM file"))?);
    }
    if let Some(timeout) = context.timeout {
        builder = builder.deadline(timeout);
    }
    builder
        .build()
        .map_err(|error| Failure::usage(error.message(), "write for instance --address mcp://127.0.0.1:7070"))
}

/// The failure that an answer is.
fn failure(error: &Error, address: &Address) -> Failure {
    let failure = Failure::of(error, &address.address);
    match failure.exit {
        Exit::Unreachable => Failure::new(
            Exit::Unreachable,
            format!("no frames are taken at {}: {}", address.address, error.message()),
            "set `gateway.frames.standard_addr` there, or name the right address with --address URL or MCP_FRAMES",
        ),
        _ => failure,
    }
}

/// The codec of a text: JSON, unless it is to be sent as it is.
fn checked(text: &str, raw: bool) -> Result<BodyCodec, Failure> {
    if raw {
        return Ok(BodyCodec::Raw);
    }
    match serde_json::from_str::<Value>(text) {
        Ok(_) => Ok(BodyCodec::Json),
        Err(error) => Err(Failure::usage(format!("`{text}` is no JSON: {error}"), "quote it, or send it with --raw")),
    }
}

async fn call(context: &Context, global: &Global, args: &Call) -> Result<(), Failure> {
    let codec = checked(&args.body, args.raw)?;
    let mut request = match &args.target {
        Target::Method(method) => FrameRequest::method(method),
        Target::Command(command) => FrameRequest::command(*command),
    };
    request = match codec {
        BodyCodec::Raw => request.raw(args.body.clone()),
        BodyCodec::Json | BodyCodec::Protobuf => request.json_text(args.body.clone()),
    };
    for (key, value) in &args.metadata {
        request = match key.as_str() {
            Metadata::IDEMPOTENCY_KEY => request.idempotency_key(value),
            _ => request.metadata(key, value),
        };
    }
    let client = connect(context, global, &args.address)?;
    let failure = |error: Error| failure(&error, &args.address);
    if !args.stream {
        let answer = client.call(request).await.map_err(failure)?;
        return show(context, &answer.body);
    }
    let mut answers = client.stream(request).await.map_err(failure)?;
    while let Some(answer) = answers.next().await.map_err(failure)? {
        print::line(String::from_utf8_lossy(&answer.body))?;
    }
    Ok(())
}

/// Prints a body: JSON in lines for people, anything else as it is.
fn show(context: &Context, body: &[u8]) -> Result<(), Failure> {
    match serde_json::from_slice::<Value>(body) {
        Ok(value) if !context.is_json() => print::line(output::pretty(&value)),
        _ => print::line(String::from_utf8_lossy(body)),
    }
}

async fn subscribe(
    context: &Context,
    client: &FrameClient,
    address: &Address,
    topic: &str,
    count: Option<u64>,
) -> Result<(), Failure> {
    let mut events = client.subscribe(topic).await.map_err(|error| failure(&error, address))?;
    let mut left = count.unwrap_or(u64::MAX);
    while left > 0
        && let Some(event) = events.next().await
    {
        left -= 1;
        let text = String::from_utf8_lossy(&event.body);
        match context.is_json() {
            true => {
                let body = serde_json::from_slice(&event.body).unwrap_or_else(|_| Value::from(text.as_ref()));
                print::line(json!({ "topic": event.topic, "body": body }).to_string())?;
            }
            false => print::line(format!("{}  {text}", event.topic))?,
        }
    }
    Ok(())
}

async fn ping(context: &Context, client: &FrameClient, address: &Address, count: u32) -> Result<(), Failure> {
    for _ in 0..count {
        let took = client.ping().await.map_err(|error| failure(&error, address))?;
        let millis = took.as_secs_f64() * 1_000.0;
        match context.is_json() {
            true => print::line(json!({ "address": address.address, "milliseconds": millis }).to_string())?,
            false => print::line(format!("{} answered in {millis:.3} ms", address.address))?,
        }
    }
    Ok(())
}
