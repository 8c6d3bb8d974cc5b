//! The other end of a caller's connection.

use std::net::SocketAddr;

/// What is known of a caller before it has said anything.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    /// Where it calls from.
    pub(crate) address: SocketAddr,
    /// The name in the certificate that it showed and that was accepted.
    pub(crate) certificate: Option<Box<str>>,
    /// True when it speaks without TLS to a port that speaks TLS: then it gets nothing but the probes.
    pub(crate) lacks_tls: bool,
}
