//! What is asked, and the answer.

use std::time::Duration;

use bytes::Bytes;
use mcp_proto::{
    Code, Error,
    frame::{BodyCodec, Command, Frame, Kind, Metadata},
};
use prost::Message;
use serde::{Serialize, de::DeserializeOwned};
use tracing::Span;

use crate::trace;

/// A call to make.
#[derive(Debug, Clone)]
pub struct FrameRequest {
    command: Command,
    codec: BodyCodec,
    body: Bytes,
    metadata: Metadata<'static>,
    timeout: Option<Duration>,
    is_repeatable: bool,
}

impl FrameRequest {
    /// A command without a body.
    pub fn command(command: Command) -> Self {
        Self {
            command,
            codec: BodyCodec::Raw,
            body: Bytes::new(),
            metadata: Metadata::new(),
            timeout: None,
            is_repeatable: false,
        }
    }

    /// A gRPC method, `/package.Service/Method`.
    pub fn method(method: impl Into<String>) -> Self {
        Self::command(Command::CALL).metadata(Metadata::METHOD, method)
    }

    /// With a raw body.
    #[must_use]
    pub fn raw(self, body: impl Into<Bytes>) -> Self {
        Self { codec: BodyCodec::Raw, body: body.into(), ..self }
    }

    /// With a body that is JSON already.
    #[must_use]
    pub fn json_text(self, body: impl Into<Bytes>) -> Self {
        Self { codec: BodyCodec::Json, body: body.into(), ..self }
    }

    /// With a value as a JSON body.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` when the value has no JSON form.
    pub fn json(self, value: &impl Serialize) -> Result<Self, Error> {
        let body = serde_json::to_vec(value).map_err(|error| Error::invalid("body", format!("is no JSON: {error}")))?;
        Ok(self.json_text(body))
    }

    /// With a protobuf message.
    #[must_use]
    pub fn protobuf(self, message: &impl Message) -> Self {
        Self { codec: BodyCodec::Protobuf, body: message.encode_to_vec().into(), ..self }
    }

    /// With a pair beside the body, in place of the former value of the same key.
    #[must_use]
    pub fn metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.metadata.set(key.into(), value.into());
        self
    }

    /// With a key by which the server knows a repeat: the call may then be sent again when its connection breaks.
    #[must_use]
    pub fn idempotency_key(self, key: impl Into<String>) -> Self {
        self.metadata(Metadata::IDEMPOTENCY_KEY, key).repeatable()
    }

    /// May be sent again when its connection breaks: it changes nothing, or the same every time.
    #[must_use]
    pub fn repeatable(self) -> Self {
        Self { is_repeatable: true, ..self }
    }

    /// Ends after this long, in place of the client's deadline. A stream has no deadline otherwise.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout: Some(timeout), ..self }
    }

    pub(super) fn own_timeout(&self) -> Option<Duration> {
        self.timeout
    }

    pub(super) fn is_repeatable(&self) -> bool {
        self.is_repeatable
    }

    /// The frame, but for its sequence number. It tells the server how long the caller waits and which trace it is in.
    pub(super) fn into_frame(mut self, kind: Kind, timeout: Option<Duration>) -> Frame {
        if let (Some(timeout), None) = (timeout, self.metadata.get(Metadata::TIMEOUT_MS)) {
            self.metadata.set(Metadata::TIMEOUT_MS, timeout.as_millis().to_string());
        }
        if self.metadata.get(Metadata::TRACEPARENT).is_none()
            && let Some(traceparent) = trace::traceparent_of(&Span::current())
        {
            self.metadata.set(Metadata::TRACEPARENT, traceparent);
        }
        let frame = Frame { kind, ..Frame::request(self.command, 0, self.body) };
        frame.with_codec(self.codec).with_metadata(&self.metadata)
    }
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrameResponse {
    /// What form the body has.
    pub codec: BodyCodec,
    /// The body.
    pub body: Bytes,
    /// The metadata block, if there is one.
    pub metadata: Bytes,
}

impl FrameResponse {
    /// The answer that a frame is.
    ///
    /// # Errors
    /// Those of [`Frame::inflate`].
    pub(super) fn of(frame: Frame, body_bytes_max: usize) -> Result<Self, Error> {
        let frame = frame.inflate(body_bytes_max)?;
        Ok(Self { codec: frame.codec, body: frame.body, metadata: frame.metadata })
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// `INTERNAL` when it is none, or not of this shape.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_slice(&self.body).map_err(|error| unreadable(self.codec, &error))
    }

    /// The body as a protobuf message.
    ///
    /// # Errors
    /// `INTERNAL` when it is none.
    pub fn protobuf<M: Message + Default>(&self) -> Result<M, Error> {
        M::decode(self.body.clone()).map_err(|error| unreadable(self.codec, &error))
    }
}

fn unreadable(codec: BodyCodec, cause: &dyn std::fmt::Display) -> Error {
    Error::new(Code::Internal, format!("the answer ({codec}) cannot be read: {cause}"))
}
