//! The record of one call: whatever way it ends, it is counted once, its span is closed, and it may be logged.

use std::{net::SocketAddr, rc::Rc, time::Instant};

use tracing::Span;

use crate::{
    metrics::{Method, Methods, Protocol, Raised},
    security::authorize::Narrow,
    trace::Identity,
};

/// A call in progress. Dropping it before [`finish`](Self::finish) counts it as cancelled by the caller.
#[derive(Debug)]
pub(crate) struct Call {
    methods: Rc<Methods>,
    method: Rc<Method>,
    protocol: Protocol,
    started: Instant,
    identity: Identity,
    log: Option<LogFields>,
    narrow: Option<Narrow>,
    finished: bool,
    _in_flight: Raised,
}

/// What the access log has besides.
#[derive(Debug)]
pub(crate) struct LogFields {
    /// HTTP method.
    pub(crate) method: http::Method,
    /// Path without the query, which may hold what should not be logged.
    pub(crate) path: String,
    /// The caller.
    pub(crate) peer: SocketAddr,
}

impl Call {
    /// Starts the record.
    pub(crate) fn begin(
        methods: Rc<Methods>,
        method: Rc<Method>,
        protocol: Protocol,
        identity: Identity,
        (log, narrow): (Option<LogFields>, Option<Narrow>),
        in_flight: Raised,
    ) -> Self {
        let started = Instant::now();
        Self { methods, method, protocol, started, identity, log, narrow, finished: false, _in_flight: in_flight }
    }

    /// The method that is called.
    pub(crate) fn method(&self) -> &Method {
        &self.method
    }

    /// What the request must be checked for before it is sent on, by [`gate::confirm`](crate::gate::confirm); `None`: its
    /// caller may do this everywhere.
    pub(crate) fn narrow(&self) -> Option<&Narrow> {
        self.narrow.as_ref()
    }

    /// The call's place in its trace.
    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The call's span.
    pub(crate) fn span(&self) -> &Span {
        &self.identity.span
    }

    /// Ends the record. Only the first end counts.
    pub(crate) fn finish(&mut self, code: tonic::Code) {
        if std::mem::replace(&mut self.finished, true) {
            return;
        }
        let duration = self.started.elapsed();
        self.methods.record(&self.method, self.protocol, code, duration);
        let span = self.span();
        span.record("rpc.grpc.status_code", code as i32);
        if is_server_fault(code) {
            span.record("otel.status_code", "ERROR");
        }
        if let Some(log) = &self.log {
            tracing::info!(
                target: "access",
                parent: span,
                protocol = self.protocol.name(),
                method = log.method.as_str(),
                path = log.path,
                peer = %log.peer,
                code = mcp_chassis::metrics::code_name(code),
                duration_us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX),
                "call"
            );
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.finish(tonic::Code::Cancelled);
    }
}

/// Statuses that are the server's fault. Source: OpenTelemetry semantic conventions for gRPC, server spans.
fn is_server_fault(code: tonic::Code) -> bool {
    use tonic::Code;
    matches!(
        code,
        Code::Unknown
            | Code::DeadlineExceeded
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss
    )
}
