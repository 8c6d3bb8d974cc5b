//! A call from its frame to its last answer. It goes the way of every call, as a gRPC request of this connection's caller.

use std::{borrow::Cow, rc::Rc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Response, Uri};
use http_body_util::BodyExt;
use mcp_proto::{
    Code, Error,
    frame::{BodyCodec, Frame},
    scheduler::v1::{GetWorkflowRequest, WaitWorkflowRequest, WaitWorkflowResponse, Workflow, WorkflowState},
};
use prost::Message;
use tokio::time::Instant;
use tonic::Status;

use super::{
    ask::{self, Asked, Rpc},
    commands::Aim,
    desk::{Desk, Part},
};
use crate::{body::recorded::Recorded, core::Core, ending, pipeline, transcode::frames::Frames};

/// The method by which a workflow is watched.
const WAIT_WORKFLOW: &str = "/mcp.scheduler.v1.WorkflowService/WaitWorkflow";

/// The method by which a message is published.
const PUBLISH: &str = "/mcp.gateway.v1.TopicService/Publish";

/// How often a watched workflow is looked at; its end is told at once.
const WORKFLOW_STEP: prost_types::Duration = prost_types::Duration { seconds: 1, nanos: 0 };

/// Makes a call, and sends its answers or its error.
///
/// # Cancellation
/// Dropping the future cancels the call.
pub(crate) async fn run(core: Rc<Core>, desk: Rc<Desk>, mut asked: Asked) {
    let made = match asked.aim.clone() {
        Aim::Health => health(&core, &desk, &asked).await,
        Aim::WatchWorkflow => watch_workflow(&core, &desk, &mut asked).await,
        Aim::Publish(_) => publish(&core, &desk, &mut asked).await,
        Aim::Method(path) => method(&core, &desk, &mut asked, path).await,
    };
    if let Err(error) = made {
        desk.fail(&asked.frame, &error).await;
    }
}

async fn health(core: &Core, desk: &Desk, asked: &Asked) -> Result<(), Error> {
    let is_ready = core.shared.state.is_ready();
    // Of `grpc.health.v1.HealthCheckResponse`.
    let body = match (asked.frame.codec, is_ready) {
        (BodyCodec::Protobuf, true) => Bytes::from_static(&[0x08, 0x01]),
        (BodyCodec::Protobuf, false) => Bytes::from_static(&[0x08, 0x02]),
        (BodyCodec::Json, true) => Bytes::from_static(br#"{"status":"SERVING"}"#),
        (BodyCodec::Json, false) => Bytes::from_static(br#"{"status":"NOT_SERVING"}"#),
        (BodyCodec::Raw, is_ready) => Bytes::copy_from_slice(&[u8::from(is_ready)]),
    };
    desk.answer(&asked.frame, body, Part::ONLY).await;
    Ok(())
}

async fn method(core: &Rc<Core>, desk: &Desk, asked: &mut Asked, path: Cow<'static, str>) -> Result<(), Error> {
    let request = asked.request(core, path).await?;
    let response = pipeline::answer(Rc::clone(core), request, Rc::clone(desk.caller())).await;
    let mut answers = Answers { desk, asked, held: None, has_more: asked.is_stream, sent: 0 };
    let bytes_max = core.shared.settings.json.answer_bytes_max;
    relay(response, bytes_max, async |message| answers.take(message).await).await?;
    answers.finish().await
}

async fn publish(core: &Rc<Core>, desk: &Desk, asked: &mut Asked) -> Result<(), Error> {
    let request = asked.request(core, Cow::Borrowed(PUBLISH)).await?;
    let response = pipeline::answer(Rc::clone(core), request, Rc::clone(desk.caller())).await;
    relay(response, core.shared.settings.json.answer_bytes_max, async |_| Ok(())).await?;
    let body = if asked.frame.codec == BodyCodec::Json { Bytes::from_static(b"{}") } else { Bytes::new() };
    desk.answer(&asked.frame, body, Part::ONLY).await;
    Ok(())
}

/// Answers on their way to the client. The only one of a call that is not known to stream is held until the call has
/// ended, so that it is sent as the last one.
struct Answers<'a> {
    desk: &'a Desk,
    asked: &'a Asked,
    held: Option<Bytes>,
    has_more: bool,
    sent: u64,
}

impl Answers<'_> {
    async fn take(&mut self, message: Bytes) -> Result<(), Error> {
        if !self.has_more && self.held.is_none() {
            self.held = Some(message);
            return Ok(());
        }
        self.has_more = true;
        if let Some(first) = self.held.take() {
            self.send(first, true).await?;
        }
        self.send(message, true).await
    }

    /// The call has ended well. A stream ends with a frame that has no body.
    async fn finish(mut self) -> Result<(), Error> {
        match self.held.take() {
            Some(only) => self.send(only, false).await,
            None if self.has_more => {
                self.desk.answer(&self.asked.frame, Bytes::new(), Part::last(self.sent + 1)).await;
                Ok(())
            }
            None => Err(Error::new(Code::Internal, "the instance ended the call without an answer")),
        }
    }

    async fn send(&mut self, message: Bytes, has_more: bool) -> Result<(), Error> {
        let codec = self.asked.frame.codec;
        let body = match &self.asked.rpc {
            Some(rpc) => rpc.answer(codec, message).await?,
            None => message,
        };
        self.sent += 1;
        self.desk.answer(&self.asked.frame, body, Part { number: self.sent, has_more }).await;
        Ok(())
    }
}

/// Reads an answer of gRPC, one message after the other.
///
/// # Errors
/// How the call ended, when not well; what `take` says.
pub(crate) async fn relay(
    response: Response<Recorded>,
    bytes_max: usize,
    mut take: impl AsyncFnMut(Bytes) -> Result<(), Error>,
) -> Result<(), Error> {
    let (parts, mut body) = response.into_parts();
    if parts.headers.contains_key(Status::GRPC_STATUS) {
        return ending::outcome(parts.headers, None);
    }
    let mut frames = Frames::new(bytes_max);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| ending::without_status())?;
        match frame.into_data() {
            Ok(data) if frames.is_empty() && is_whole(&data) => take(data.slice(HEAD..)).await?,
            Ok(data) => {
                frames.push(&data);
                while let Some(message) = frames.next().map_err(unreadable)? {
                    take(message).await?;
                }
            }
            Err(frame) => return ended(frame.into_trailers().unwrap_or_default(), &frames),
        }
    }
    Err(ending::without_status())
}

/// Bytes in front of a gRPC message.
const HEAD: usize = 5;

/// True for exactly one message, not compressed: the usual case, which needs no copy.
fn is_whole(data: &Bytes) -> bool {
    data.first_chunk::<HEAD>().is_some_and(|[compressed, len @ ..]| {
        *compressed == 0 && u32::from_be_bytes(*len) as usize == data.len() - HEAD
    })
}

fn ended(trailers: HeaderMap, frames: &Frames) -> Result<(), Error> {
    ending::outcome(trailers, None)?;
    if frames.is_empty() { Ok(()) } else { Err(unreadable("its end is missing")) }
}

fn unreadable(reason: impl std::fmt::Display) -> Error {
    Error::new(Code::Internal, format!("the answer cannot be passed on: {reason}"))
}

/// Sends a workflow, and again whenever it has changed, until it is final. The scheduler has no stream of these, so it is
/// asked again and again, each time by a call that waits.
async fn watch_workflow(core: &Rc<Core>, desk: &Desk, asked: &mut Asked) -> Result<(), Error> {
    let id = workflow_id(core, &asked.frame).await?;
    let until = asked.timeout().map(|timeout| Instant::now() + timeout);
    let rpc = ask::rpc(core, WAIT_WORKFLOW);
    let (mut last, mut sent) = (None, 0);
    loop {
        let timeout = if last.is_none() { prost_types::Duration::default() } else { WORKFLOW_STEP };
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        let workflow = wait_workflow(core, desk, asked, &id, (timeout, left)).await?;
        let is_final = is_final(workflow.state());
        let looks = (workflow.state, workflow.steps_ended, state_of_steps(&workflow));
        if last.as_ref() != Some(&looks) {
            (last, sent) = (Some(looks), sent + 1);
            send_workflow(desk, asked, rpc.as_ref(), (workflow, sent)).await?;
        }
        if is_final {
            desk.answer(&asked.frame, Bytes::new(), Part::last(sent + 1)).await;
            return Ok(());
        }
        if until.is_some_and(|until| until <= Instant::now()) {
            return Err(crate::deadline::exceeded());
        }
    }
}

/// The id in the body of a watch, whose message is that of `GetWorkflow`.
async fn workflow_id(core: &Core, frame: &Frame) -> Result<String, Error> {
    let frame = frame.clone().inflate(core.shared.settings.frames.frame_bytes_max)?;
    let message = match frame.codec {
        BodyCodec::Json => {
            let Some(rpc) = ask::rpc(core, "/mcp.scheduler.v1.WorkflowService/GetWorkflow") else {
                return Err(Error::new(Code::ServiceNotFound, "the workflows' descriptor is not there"));
            };
            rpc.message(&frame.body).await?
        }
        BodyCodec::Protobuf | BodyCodec::Raw => frame.body,
    };
    let request = GetWorkflowRequest::decode(message)
        .map_err(|_| Error::new(Code::MalformedBody, "the body is not a `GetWorkflowRequest`"))?;
    Ok(request.workflow_id)
}

async fn wait_workflow(
    core: &Rc<Core>,
    desk: &Desk,
    asked: &Asked,
    id: &str,
    (timeout, left): (prost_types::Duration, Option<Duration>),
) -> Result<Workflow, Error> {
    let message = WaitWorkflowRequest { workflow_id: id.to_owned(), timeout: Some(timeout) }.encode_to_vec();
    let waits = Duration::from_secs(u64::try_from(timeout.seconds).unwrap_or(0));
    let usual = core.shared.settings.json.timeout + waits;
    let limit = left.map_or(usual, |left| left.min(usual));
    let request = ask::grpc(asked.headers(), Uri::from_static(WAIT_WORKFLOW), ask::framed(&message)?, Some(limit));
    let response = pipeline::answer(Rc::clone(core), request, Rc::clone(desk.caller())).await;
    let mut answer = None;
    let bytes_max = core.shared.settings.json.answer_bytes_max;
    relay(response, bytes_max, async |message| {
        answer = Some(message);
        Ok(())
    })
    .await?;
    let response = WaitWorkflowResponse::decode(answer.unwrap_or_default()).map_err(Error::internal)?;
    response.workflow.ok_or_else(|| unreadable("there is no workflow in it"))
}

fn is_final(state: WorkflowState) -> bool {
    matches!(state, WorkflowState::Succeeded | WorkflowState::Failed | WorkflowState::Cancelled)
}

fn state_of_steps(workflow: &Workflow) -> Vec<i32> {
    workflow.steps.iter().map(|step| step.state).collect()
}

async fn send_workflow(
    desk: &Desk,
    asked: &Asked,
    rpc: Option<&Rpc>,
    (workflow, number): (Workflow, u64),
) -> Result<(), Error> {
    let message = WaitWorkflowResponse { workflow: Some(workflow) }.encode_to_vec().into();
    let body = match (asked.frame.codec, rpc) {
        (BodyCodec::Json, Some(rpc)) => rpc.answer(BodyCodec::Json, message).await?,
        _ => message,
    };
    desk.answer(&asked.frame, body, Part { number, has_more: true }).await;
    Ok(())
}
