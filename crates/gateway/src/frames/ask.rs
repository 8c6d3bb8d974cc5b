//! The request of a call: which method, with what metadata, and what it is encoded as.

use std::{borrow::Cow, rc::Rc, sync::Arc, time::Duration};

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version, header};
use mcp_proto::{
    Code, Error, MESSAGE_BYTES_MAX,
    frame::{BodyCodec, Frame, Metadata, Profile},
    gateway::v1::PublishRequest,
    scheduler::v1::{SubmitTaskRequest, SubmitWorkflowRequest, TaskSpec, WorkflowSpec},
};
use prost::Message;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, Value};
use tokio::time::Instant;

use super::commands::{self, Aim};
use crate::{
    body::inbound::Inbound,
    core::Core,
    deadline,
    descriptors::Snapshot,
    transcode::{convert::Converter, json::Options, request::Parts, rules::Route},
};

const GRPC: HeaderValue = HeaderValue::from_static("application/grpc+proto");
const TRAILERS: HeaderValue = HeaderValue::from_static("trailers");

/// The content type of a JSON body, for whoever reads it.
const JSON: &str = "application/json";

/// What stands for a timeout without an end: 30 years.
const TIMEOUT_MAX: Duration = Duration::from_secs(30 * 365 * 24 * 3_600);

/// Bytes in front of a gRPC message.
const HEAD: usize = 5;

/// The methods of which an idempotency key says that a submission is the same.
const SUBMIT_TASK: &str = "/mcp.scheduler.v1.TaskService/SubmitTask";
const SUBMIT_WORKFLOW: &str = "/mcp.scheduler.v1.WorkflowService/SubmitWorkflow";

/// Metadata that is not passed on: it speaks of the frame, or is the gateway's to say.
const OWN: [&str; 4] = [Metadata::METHOD, Metadata::TOPIC, Metadata::TIMEOUT_MS, Metadata::AUTHORIZATION];

/// A request that was read.
#[derive(Debug)]
pub(crate) struct Asked {
    /// The frame, for its answers.
    pub(crate) frame: Frame,
    /// What it asks for.
    pub(crate) aim: Aim,
    /// The method as its descriptor has it; `None` when no descriptor names it.
    pub(crate) rpc: Option<Rpc>,
    /// True when there may be more than one answer.
    pub(crate) is_stream: bool,
    headers: HeaderMap,
    timeout: Option<Duration>,
}

/// A method that a descriptor names.
#[derive(Debug, Clone)]
pub(crate) struct Rpc {
    route: Arc<Route>,
    snapshot: Arc<Snapshot>,
    waits: bool,
}

/// Reads a request. `authorization` are the credentials of its session, for a frame that has none of its own.
///
/// # Errors
/// What is wrong with it; see [`commands::aim`].
pub(crate) fn read(
    core: &Rc<Core>,
    profile: Profile,
    frame: &mut Frame,
    authorization: Option<&HeaderValue>,
) -> Result<Asked, Error> {
    let metadata = frame.metadata()?;
    let routes = core.routes();
    let aim = commands::aim(profile, frame, &metadata, |command| routes.table().method_of(command).map(str::to_owned))?;
    let rpc = match &aim {
        Aim::Method(path) => rpc(core, path),
        Aim::Health | Aim::WatchWorkflow | Aim::Publish(_) => None,
    };
    let is_stream = match (&aim, &rpc) {
        (Aim::WatchWorkflow, _) => true,
        (_, Some(rpc)) => rpc.is_stream(profile)?,
        (_, None) => false,
    };
    let headers = headers(&metadata, authorization)?;
    let timeout = metadata.timeout()?;
    let frame = std::mem::replace(frame, Frame::new(frame.kind, frame.sequence));
    Ok(Asked { frame, aim, rpc, is_stream, headers, timeout })
}

/// What is known of a method.
pub(crate) fn rpc(core: &Core, path: &str) -> Option<Rpc> {
    let held = core.descriptors();
    let (_, facts) = held.snapshot.method(path)?;
    Some(Rpc { route: Arc::clone(&facts.by_name), snapshot: Arc::clone(&held.snapshot), waits: facts.waits })
}

impl Rpc {
    fn is_stream(&self, profile: Profile) -> Result<bool, Error> {
        let (rpc, name) = (&self.route.rpc, self.route.rpc.full_name());
        if rpc.is_client_streaming() {
            let text = format!("`{name}` takes a stream of messages: use gRPC, or a WebSocket at its path");
            return Err(Error::new(Code::Unimplemented, text));
        }
        if rpc.is_server_streaming() && profile != Profile::Standard {
            let text = format!("`{name}` answers with a stream, which the profile {profile} has no way to send");
            return Err(Error::new(Code::Unimplemented, text));
        }
        Ok(rpc.is_server_streaming())
    }

    /// Makes the message of a JSON body.
    ///
    /// # Errors
    /// It is not what the method takes.
    pub(crate) async fn message(&self, json: &Bytes) -> Result<Bytes, Error> {
        let parts = Parts { segments: &[], query: None, content_type: JSON, body: json };
        Ok(self.converter().request(parts).await?.frame.slice(HEAD..))
    }

    /// Makes the body of an answer in a codec.
    ///
    /// # Errors
    /// `INTERNAL` when the message is not what its descriptor says.
    pub(crate) async fn answer(&self, codec: BodyCodec, message: Bytes) -> Result<Bytes, Error> {
        match codec {
            BodyCodec::Protobuf => Ok(message),
            BodyCodec::Json => Ok(self.converter().answer(message).await?.bytes),
            BodyCodec::Raw => {
                let field = bytes_field(&self.route.rpc.output())?;
                let message = DynamicMessage::decode(self.route.rpc.output(), message).map_err(Error::internal)?;
                match message.get_field(&field).as_ref() {
                    Value::Bytes(bytes) => Ok(bytes.clone()),
                    _ => Ok(Bytes::new()),
                }
            }
        }
    }

    fn converter(&self) -> Converter {
        Converter { route: Arc::clone(&self.route), snapshot: Arc::clone(&self.snapshot), options: Options::default() }
    }

    /// The gRPC message of a body, framed, and how long it says that it waits.
    async fn encode(&self, frame: &Frame) -> Result<(Bytes, Duration), Error> {
        match frame.codec {
            BodyCodec::Protobuf => Ok((framed(&frame.body)?, Duration::ZERO)),
            BodyCodec::Json => {
                let parts = Parts { segments: &[], query: None, content_type: JSON, body: &frame.body };
                let encoded = self.converter().request(parts).await?;
                Ok((encoded.frame, encoded.waits))
            }
            BodyCodec::Raw => {
                bytes_field(&self.route.rpc.output())?;
                let field = bytes_field(&self.route.rpc.input())?;
                let mut message = DynamicMessage::new(self.route.rpc.input());
                message.set_field(&field, Value::Bytes(frame.body.clone()));
                Ok((framed(&message.encode_to_vec())?, Duration::ZERO))
            }
        }
    }
}

impl Asked {
    /// The gRPC request of the call at `path`.
    ///
    /// # Errors
    /// The body is not what the method takes, or no descriptor says how to read it.
    pub(crate) async fn request(&mut self, core: &Core, path: Cow<'static, str>) -> Result<Request<Inbound>, Error> {
        let bytes_max = core.shared.settings.frames.frame_bytes_max.min(MESSAGE_BYTES_MAX);
        // What the answers need of the frame stays, the body does not.
        let body = std::mem::take(&mut self.frame.body);
        let whole = Frame { body, ..self.frame.clone() }.inflate(bytes_max)?;
        let (message, waits) = match (&self.rpc, &self.aim) {
            (_, Aim::Publish(topic)) => (publication(topic, whole)?, Duration::ZERO),
            (Some(rpc), _) => rpc.encode(&whole).await?,
            (None, _) if whole.codec == BodyCodec::Protobuf => (framed(&whole.body)?, Duration::ZERO),
            (None, _) => {
                let text = format!("nothing tells the fields of `{path}`: send its request as protobuf");
                return Err(Error::new(Code::MethodNotFound, text));
            }
        };
        let message = match self.headers.get(Metadata::IDEMPOTENCY_KEY).map(HeaderValue::to_str) {
            Some(Ok(key)) => keyed(&path, key, message)?,
            Some(Err(_)) | None => message,
        };
        let timeout = self.timeout.or_else(|| self.usual(core, waits));
        let uri = match path {
            Cow::Borrowed(path) => Uri::from_static(path),
            Cow::Owned(path) => {
                Uri::from_maybe_shared(path).map_err(|error| Error::invalid("metadata.method", error.to_string()))?
            }
        };
        Ok(grpc(std::mem::take(&mut self.headers), uri, message, timeout))
    }

    /// The deadline of a call whose caller names none: a stream has none, nor has a protobuf message that may say itself
    /// how long it waits.
    fn usual(&self, core: &Core, waits: Duration) -> Option<Duration> {
        let says_itself = self.rpc.as_ref().is_some_and(|rpc| rpc.waits) && self.frame.codec != BodyCodec::Json;
        (!self.is_stream && !says_itself).then(|| core.shared.settings.json.timeout + waits)
    }

    /// How long the caller waits, if it says so.
    pub(crate) fn timeout(&self) -> Option<Duration> {
        self.timeout
    }

    /// The same headers for another request in its name.
    pub(crate) fn headers(&self) -> HeaderMap {
        self.headers.clone()
    }
}

/// The framed message of a submit with the idempotency key of its metadata, unless it has one of its own. What is put before
/// a message of protobuf is merged with it, and of a field that is there twice the last one counts.
fn keyed(path: &str, key: &str, message: Bytes) -> Result<Bytes, Error> {
    let idempotency_key = key.to_owned();
    let before = match path {
        SUBMIT_TASK => {
            let task = Some(TaskSpec { idempotency_key, ..TaskSpec::default() });
            SubmitTaskRequest { task }.encode_to_vec()
        }
        SUBMIT_WORKFLOW => {
            let workflow = Some(WorkflowSpec { idempotency_key, ..WorkflowSpec::default() });
            SubmitWorkflowRequest { workflow }.encode_to_vec()
        }
        _ => return Ok(message),
    };
    framed(&[&before[..], &message[HEAD..]].concat())
}

/// The message that publishes a body as it is.
fn publication(topic: &str, frame: Frame) -> Result<Bytes, Error> {
    let content_type = match frame.codec {
        BodyCodec::Json => JSON,
        BodyCodec::Protobuf => "application/protobuf",
        BodyCodec::Raw => "",
    };
    let request = PublishRequest { topic: topic.to_owned(), body: frame.body, content_type: content_type.into() };
    framed(&request.encode_to_vec())
}

/// A gRPC request with one framed message.
pub(crate) fn grpc(headers: HeaderMap, uri: Uri, message: Bytes, timeout: Option<Duration>) -> Request<Inbound> {
    let mut request = Request::new(Inbound::Whole(Some(message)));
    *request.headers_mut() = headers;
    if let Some(timeout) = timeout {
        let now = Instant::now();
        // More than the format can say is no limit that matters.
        let at = now.checked_add(timeout).unwrap_or(now + TIMEOUT_MAX);
        request.headers_mut().insert(deadline::GRPC_TIMEOUT, deadline::remaining(at, now));
    }
    request.headers_mut().insert(header::CONTENT_TYPE, GRPC);
    request.headers_mut().insert(header::TE, TRAILERS);
    *request.method_mut() = Method::POST;
    *request.version_mut() = Version::HTTP_2;
    *request.uri_mut() = uri;
    request
}

/// A message with what gRPC puts in front of it.
pub(crate) fn framed(message: &[u8]) -> Result<Bytes, Error> {
    if message.len() > MESSAGE_BYTES_MAX {
        let text = format!("the message has {} bytes, the limit is {MESSAGE_BYTES_MAX}", message.len());
        return Err(Error::new(Code::PayloadTooLarge, text).with_metadata("limit_bytes", MESSAGE_BYTES_MAX.to_string()));
    }
    let mut framed = BytesMut::with_capacity(HEAD + message.len());
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).expect("checked against the message limit"));
    framed.put_slice(message);
    Ok(framed.freeze())
}

/// The one field of a message that is nothing but bytes.
fn bytes_field(message: &MessageDescriptor) -> Result<FieldDescriptor, Error> {
    let mut fields = message.fields();
    match (fields.next(), fields.next()) {
        (Some(field), None) if field.kind() == Kind::Bytes && !field.is_list() => Ok(field),
        _ => {
            let text =
                format!("`{}` is not one `bytes` field: send JSON or protobuf, not raw bytes", message.full_name());
            Err(Error::new(Code::UnsupportedMediaType, text))
        }
    }
}

/// The metadata of the gRPC call.
fn headers(metadata: &Metadata<'_>, authorization: Option<&HeaderValue>) -> Result<HeaderMap, Error> {
    let mut headers = HeaderMap::with_capacity(metadata.len() + 5);
    for (key, value) in metadata.iter().filter(|(key, _)| !OWN.contains(key)) {
        let wrong = |what: &str| Error::invalid(format!("metadata.{key}"), what.to_owned());
        let name = HeaderName::from_bytes(key.as_bytes()).map_err(|_| wrong("is not the name of a header"))?;
        if is_ours(&name) {
            return Err(wrong("is the gateway's to say"));
        }
        headers.insert(name, HeaderValue::from_str(value).map_err(|_| wrong("is not the value of a header"))?);
    }
    let credentials = match metadata.get(Metadata::AUTHORIZATION) {
        Some(text) => Some(credentials(text)?),
        None => authorization.cloned(),
    };
    if let Some(credentials) = credentials {
        headers.insert(header::AUTHORIZATION, credentials);
    }
    Ok(headers)
}

/// Credentials as a header that no log shows.
pub(crate) fn credentials(text: &str) -> Result<HeaderValue, Error> {
    let mut value = HeaderValue::from_str(text)
        .map_err(|_| Error::invalid("metadata.authorization", "is not the value of a header"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// True for headers that say how a message is sent.
fn is_ours(name: &HeaderName) -> bool {
    let of_http = [
        header::CONTENT_TYPE,
        header::CONTENT_LENGTH,
        header::CONTENT_ENCODING,
        header::TE,
        header::HOST,
        header::CONNECTION,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
    ];
    name.as_str().starts_with("grpc-") || of_http.contains(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_becomes_headers() {
        let metadata = Metadata::new()
            .with("traceparent", "00-1-2-01")
            .with("idempotency-key", "k")
            .with("method", "/a.B/C")
            .with("timeout-ms", "5");
        let session = HeaderValue::from_static("Bearer session");
        let made = headers(&metadata, Some(&session)).unwrap();
        assert!(made["traceparent"] == "00-1-2-01" && made["idempotency-key"] == "k");
        assert_eq!((made["authorization"].clone(), made.len()), (session.clone(), 3));
        let made = headers(&metadata.with("authorization", "Bearer mine"), Some(&session)).unwrap();
        assert!(made["authorization"] == "Bearer mine" && made["authorization"].is_sensitive());
        for key in ["te", "grpc-timeout", "content-type", "a b"] {
            let error = headers(&Metadata::new().with(key, "x"), None).unwrap_err();
            assert_eq!(error.violations()[0].field, format!("metadata.{key}"));
        }
    }

    #[test]
    fn a_submit_has_the_key_of_its_metadata_unless_it_has_its_own() {
        let task = |key: &str| TaskSpec { name: "x".into(), idempotency_key: key.into(), ..TaskSpec::default() };
        let submit = |key: &str| SubmitTaskRequest { task: Some(task(key)) };
        for (own, expected) in [("", "k"), ("mine", "mine")] {
            let message = framed(&submit(own).encode_to_vec()).unwrap();
            let found = keyed(SUBMIT_TASK, "k", message.clone()).unwrap();
            assert_eq!(u32::from_be_bytes(found[1..HEAD].try_into().unwrap()) as usize, found.len() - HEAD);
            assert_eq!(SubmitTaskRequest::decode(&found[HEAD..]).unwrap(), submit(expected));
            assert_eq!(keyed("/a.B/C", "k", message.clone()).unwrap(), message, "it means nothing there");
        }
        let found = keyed(SUBMIT_WORKFLOW, "k", framed(&[]).unwrap()).unwrap();
        let workflow = SubmitWorkflowRequest::decode(&found[HEAD..]).unwrap().workflow.unwrap();
        assert_eq!(workflow.idempotency_key, "k");
    }

    #[test]
    fn a_message_is_framed_up_to_its_limit() {
        assert_eq!(framed(b"hi").unwrap(), &b"\0\0\0\0\x02hi"[..]);
        assert_eq!(framed(&vec![0; MESSAGE_BYTES_MAX + 1]).unwrap_err().code(), Code::PayloadTooLarge);
    }
}
