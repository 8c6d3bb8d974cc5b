//! The other end of a caller's connection.

use std::{cell::Cell, net::SocketAddr, rc::Rc, time::Instant};

use http::HeaderValue;

/// What is known of a caller before it has said anything, and what it does.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    /// Where it calls from: the other end, or who that end says called it, when it is a trusted proxy.
    pub(crate) address: SocketAddr,
    /// The other end of the connection.
    pub(crate) peer: SocketAddr,
    /// Its address without the port, as text.
    pub(crate) text: HeaderValue,
    /// The name in the certificate that it showed and that was accepted.
    pub(crate) certificate: Option<Box<str>>,
    /// True when it speaks without TLS to a port that speaks TLS: then it gets nothing but the probes.
    pub(crate) lacks_tls: bool,
    /// The version of TLS that is spoken, if it is.
    pub(crate) tls: Option<&'static str>,
    /// What goes on on the connection, for whomever.
    pub(crate) activity: Rc<Activity>,
}

/// What goes on on a connection.
#[derive(Debug)]
pub(crate) struct Activity {
    /// What it speaks.
    pub(crate) protocol: Cell<Spoken>,
    /// Since when it is here.
    pub(crate) since: Instant,
    /// Requests that began until now.
    pub(crate) requests: Cell<u64>,
    /// Requests whose answers have not ended.
    pub(crate) in_flight: Cell<u32>,
}

/// What a connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spoken {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
    /// HTTP/1.1 in the beginning, a WebSocket by now.
    WebSocket,
    /// The wire frame, over TCP or over a WebSocket.
    Frames,
}

impl Spoken {
    /// Its name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Http1 => "http/1.1",
            Self::Http2 => "h2",
            Self::WebSocket => "websocket",
            Self::Frames => "frame",
        }
    }
}

impl Caller {
    /// A caller of whom nothing but the address is known, without TLS.
    pub(crate) fn at(peer: SocketAddr, since: Instant) -> Self {
        let text = HeaderValue::from_maybe_shared(peer.ip().to_canonical().to_string());
        let text = text.expect("an address consists of digits, letters, dots and colons");
        let (protocol, requests, in_flight) = (Cell::new(Spoken::Http1), Cell::default(), Cell::default());
        let activity = Rc::new(Activity { protocol, since, requests, in_flight });
        Self { address: peer, peer, text, certificate: None, lacks_tls: false, tls: None, activity }
    }
}
