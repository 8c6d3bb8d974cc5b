//! The values that labels may have.

use http::Method;

/// How a request came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Protocol {
    /// gRPC, passed through.
    Grpc,
    /// HTTP/JSON, transcoded.
    Json,
    /// gRPC-Web, unwrapped.
    Web,
    /// JSON over a WebSocket, transcoded.
    Socket,
    /// A frame of a session, made a gRPC call.
    Frame,
    /// HTTP that called no method: refused, redirected, answered by the route.
    Http,
}

/// How many there are.
pub(super) const PROTOCOLS: usize = 6;

impl Protocol {
    /// All of them, in their order.
    pub(super) const ALL: [Self; PROTOCOLS] =
        [Self::Grpc, Self::Json, Self::Web, Self::Socket, Self::Frame, Self::Http];

    /// Its label.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Grpc => "grpc",
            Self::Json => "json",
            Self::Web => "grpc_web",
            Self::Socket => "websocket",
            Self::Frame => "frame",
            Self::Http => "http",
        }
    }
}

/// The method of an HTTP request, those that nobody has heard of taken together. Source: OpenTelemetry,
/// `http.request.method`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verb {
    /// `GET`
    Get,
    /// `HEAD`
    Head,
    /// `POST`
    Post,
    /// `PUT`
    Put,
    /// `PATCH`
    Patch,
    /// `DELETE`
    Delete,
    /// `OPTIONS`
    Options,
    /// Any other.
    Other,
}

impl Verb {
    /// The verb of a method.
    pub(crate) fn of(method: &Method) -> Self {
        match *method {
            Method::GET => Self::Get,
            Method::HEAD => Self::Head,
            Method::POST => Self::Post,
            Method::PUT => Self::Put,
            Method::PATCH => Self::Patch,
            Method::DELETE => Self::Delete,
            Method::OPTIONS => Self::Options,
            _ => Self::Other,
        }
    }

    /// Its label.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
            Self::Options => "OPTIONS",
            Self::Other => "_OTHER",
        }
    }
}

/// gRPC status codes, 0 to 16.
pub(super) const CODES: usize = 17;

/// How a request was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Answered {
    /// How it came in.
    pub(crate) protocol: Protocol,
    /// What it was.
    pub(crate) verb: Verb,
    /// HTTP status; 0 when it went before it had one.
    pub(crate) status: u16,
    /// gRPC status, when a method was called or one was asked for.
    pub(crate) code: Option<tonic::Code>,
}

/// [`Answered`] as a number: smaller to compare, and in an order.
pub(super) type Packed = u64;

impl Answered {
    /// As a number.
    pub(super) fn packed(self) -> Packed {
        let code = self.code.map_or(0, |code| code as u64 + 1);
        (self.protocol as u64) << 32 | (self.verb as u64) << 24 | code << 16 | u64::from(self.status)
    }
}

/// Name of a gRPC status.
pub(super) fn code_name(code: Option<tonic::Code>) -> &'static str {
    code.map_or("", mcp_chassis::metrics::code_name)
}
