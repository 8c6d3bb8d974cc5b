//! Trace context: in from the caller, on to the instance, and the trace id on every answer.
//!
//! Whether a trace is recorded is decided here, before anything is done for it: a request whose trace is not recorded has
//! ids, which cost a random number, and no span. A recorded one has a span of kind server from its head to the end of its
//! answer, and one of kind client for each time that it was sent to an instance. Names and attributes are OpenTelemetry's
//! for HTTP and for gRPC: <https://opentelemetry.io/docs/specs/semconv/http/http-spans/>,
//! <https://opentelemetry.io/docs/specs/semconv/rpc/grpc/>.

use std::{cell::RefCell, fmt, rc::Rc};

use http::{HeaderMap, HeaderName, HeaderValue, Request, Version, header};
use mcp_client::discovery::plain_name;
use opentelemetry::{
    Context, KeyValue, StringValue,
    global::{BoxedSpan, BoxedTracer},
    trace::{
        Span as _, SpanContext, SpanId, SpanKind, Status, TraceContextExt, TraceFlags, TraceId, TraceState, Tracer as _,
    },
};

use crate::{
    caller::Caller,
    metrics::{Mark, Protocol, RouteTally},
    record::{Detail, Ledger, Record},
};

/// Where a request is in its trace. Source: <https://www.w3.org/TR/trace-context/>.
pub(crate) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Digits of a trace id, of a `traceparent`, and where the former begins in the latter.
const TRACE_ID_LEN: usize = 32;
const TRACEPARENT_LEN: usize = 55;
const TRACE_ID_AT: usize = 3;

/// Stands for a method that nobody has: names that callers make up would fill every index.
const OTHER: &str = "_OTHER";

/// Who records traces, and which.
#[derive(Debug)]
pub(crate) struct Tracing {
    /// `None`: they go nowhere.
    tracer: Option<BoxedTracer>,
    /// Share of the traces that begin here, 0 to 1.
    ratio: f64,
}

impl Tracing {
    /// Of one data-plane thread. `exports`: somebody takes the spans.
    pub(crate) fn new(ratio: f64, exports: bool) -> Self {
        Self { tracer: exports.then(|| opentelemetry::global::tracer("gateway")), ratio }
    }

    /// Decides whether a trace that begins here is recorded.
    fn draws(&self) -> bool {
        self.ratio >= 1.0 || (self.ratio > 0.0 && rand::random::<f64>() < self.ratio)
    }

    /// Starts a span of a trace that is recorded.
    fn start(&self, parent: Option<Ids>, name: String, kind: SpanKind, attributes: Vec<KeyValue>) -> Option<BoxedSpan> {
        let tracer = self.tracer.as_ref()?;
        let context = match parent {
            Some(parent) => Context::new().with_remote_span_context(parent.context()),
            None => mcp_chassis::trace::chosen(),
        };
        let builder = tracer.span_builder(name).with_kind(kind).with_attributes(attributes);
        Some(tracer.build_with_context(builder, &context)).filter(|span| span.span_context().is_valid())
    }
}

/// A place in a trace.
#[derive(Debug, Clone, Copy)]
struct Ids {
    trace: TraceId,
    span: SpanId,
    flags: TraceFlags,
}

impl Ids {
    /// The root of a new trace that has no span here.
    fn root(is_sampled: bool) -> Self {
        let (trace, span) = (rand::random::<u128>().max(1), rand::random::<u64>().max(1));
        let flags = TraceFlags::default().with_sampled(is_sampled);
        Self { trace: TraceId::from(trace), span: SpanId::from(span), flags }
    }

    fn of(context: &SpanContext) -> Self {
        Self { trace: context.trace_id(), span: context.span_id(), flags: context.trace_flags() }
    }

    fn context(self) -> SpanContext {
        SpanContext::new(self.trace, self.span, self.flags, true, TraceState::NONE)
    }

    /// As a `traceparent`.
    fn header(self) -> HeaderValue {
        let mut text = *b"00-________________________________-________________-__";
        hex(&self.trace.to_bytes(), &mut text[TRACE_ID_AT..TRACE_ID_AT + TRACE_ID_LEN]);
        hex(&self.span.to_bytes(), &mut text[TRACE_ID_AT + TRACE_ID_LEN + 1..TRACEPARENT_LEN - 3]);
        hex(&[self.flags.to_u8()], &mut text[TRACEPARENT_LEN - 2..]);
        HeaderValue::from_bytes(&text).expect("hexadecimal digits and dashes are a header value")
    }
}

/// One request's place in its trace, and its record. Clones are the same; when the last is dropped, the request has ended.
#[derive(Debug, Clone)]
pub(crate) struct Identity(Rc<Followed>);

#[derive(Debug)]
struct Followed {
    ids: Ids,
    tracing: Option<Rc<Tracing>>,
    /// Only of a trace that is recorded.
    span: Option<RefCell<BoxedSpan>>,
    record: Option<Record>,
}

/// The trace id.
impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.ids.trace.fmt(f)
    }
}

impl Identity {
    /// Begins a request, in the trace that its `traceparent` names or in a new one. It has ids even when nobody follows it,
    /// so that every answer can be looked for in the logs.
    pub(crate) fn begin<B>(
        (tracing, ledger): (&Rc<Tracing>, &Rc<Ledger>),
        request: &Request<B>,
        caller: &Rc<Caller>,
        protocol: Protocol,
    ) -> Self {
        let parent = parent(request.headers());
        let is_sampled = parent.map_or_else(|| tracing.draws(), |parent| parent.flags.is_sampled());
        let span = is_sampled.then(|| serve(tracing, parent, request, caller)).flatten();
        let ids = match &span {
            Some(span) => Ids::of(span.span_context()),
            None => parent.unwrap_or_else(|| Ids::root(is_sampled)),
        };
        let record = Record::begin(ledger, request, caller, (protocol, span.is_some()));
        let (span, tracing) = (span.map(RefCell::new), Some(Rc::clone(tracing)));
        Self(Rc::new(Followed { ids, tracing, span, record: Some(record) }))
    }

    /// A request that is only answered, without a span or a record.
    pub(crate) fn quiet(headers: &HeaderMap) -> Self {
        Self::bare(parent(headers).unwrap_or_else(|| Ids::root(false)))
    }

    /// The same place for another request, of which nothing is recorded.
    pub(crate) fn apart(&self) -> Self {
        Self::bare(self.0.ids)
    }

    fn bare(ids: Ids) -> Self {
        Self(Rc::new(Followed { ids, tracing: None, span: None, record: None }))
    }

    /// The route that the request takes.
    pub(crate) fn takes(&self, route: &Rc<RouteTally>) {
        if let Some(record) = &self.0.record {
            record.takes(route);
        }
    }

    /// Says which method the request calls.
    pub(crate) fn calls(&self, service: &str, method: &str) {
        if let Some(detail) = self.detail() {
            detail.rpc.get_or_init(|| (service.to_owned(), method.to_owned()));
        }
    }

    /// Says which template the path of the request fits.
    pub(crate) fn fits(&self, template: impl FnOnce() -> String) {
        if let Some(detail) = self.detail() {
            detail.template.get_or_init(template);
        }
    }

    /// What is known of the request besides, when somebody wants to know.
    pub(crate) fn detail(&self) -> Option<&Detail> {
        self.0.record.as_ref()?.detail()
    }

    /// What is counted of the request.
    pub(crate) fn record(&self) -> Option<&Record> {
        self.0.record.as_ref()
    }

    /// The request is refused with this gRPC status, unless the call that it became has ended with another.
    pub(crate) fn refused(&self, code: tonic::Code) {
        if let Some(record) = &self.0.record {
            record.refused(code);
        }
    }

    /// So many bytes of the request's body were read.
    pub(crate) fn received(&self, bytes: usize) {
        if let Some(record) = &self.0.record {
            record.received(bytes as u64);
        }
    }

    /// So many more bytes of the answer's body were sent.
    pub(crate) fn sent(&self, bytes: usize) {
        if let Some(record) = &self.0.record {
            record.sent(bytes as u64);
        }
    }

    /// The trace id when the trace is recorded.
    pub(crate) fn mark(&self) -> Mark {
        self.0.mark()
    }

    /// The trace id, 32 hexadecimal digits.
    pub(crate) fn trace_id(&self) -> HeaderValue {
        let mut text = [0; TRACE_ID_LEN];
        hex(&self.0.ids.trace.to_bytes(), &mut text);
        HeaderValue::from_bytes(&text).expect("hexadecimal digits are a header value")
    }

    /// Makes the gateway's span the parent of whatever these headers reach. `tracestate` goes through as it came.
    pub(crate) fn inject(&self, headers: &mut HeaderMap) {
        headers.insert(TRACEPARENT, self.0.ids.header());
    }

    /// The request is sent to an instance of `service` at `address`, for the so-manieth time. When the trace is recorded,
    /// that gets a span, the parent of what the request reaches.
    pub(crate) fn attempt<B>(
        &self,
        (service, address): (&str, &str),
        number: u32,
        request: &mut Request<B>,
    ) -> Option<Attempt> {
        let record = self.0.record.as_ref()?;
        record.attempt(number);
        if let Some(detail) = record.detail() {
            detail.instance.replace(Some((plain_name(service).to_owned(), address.to_owned())));
        }
        self.0.span.as_ref()?;
        let rpc = request.uri().path().trim_start_matches('/').to_owned();
        let mut attributes = method(&rpc);
        let (host, port) = address.rsplit_once(':').unwrap_or((address, ""));
        let host = host.trim_matches(['[', ']']).to_owned();
        attributes.push(KeyValue::new("server.address", host.clone()));
        attributes.extend(port.parse().ok().map(|port: i64| KeyValue::new("server.port", port)));
        attributes.push(KeyValue::new("network.peer.address", host));
        attributes
            .extend([KeyValue::new("network.protocol.name", "http"), KeyValue::new("network.protocol.version", "2")]);
        if number > 1 {
            attributes.push(KeyValue::new("http.request.resend_count", i64::from(number - 1)));
        }
        let span = self.0.tracing.as_ref()?.start(Some(self.0.ids), rpc, SpanKind::Client, attributes)?;
        request.headers_mut().insert(TRACEPARENT, Ids::of(span.span_context()).header());
        Some(Attempt(span))
    }
}

/// The span of a request to an instance. It ends when dropped.
#[derive(Debug)]
pub(crate) struct Attempt(BoxedSpan);

impl Attempt {
    /// How it ended. Source: every status but OK is an error of a client span.
    pub(crate) fn end(mut self, code: tonic::Code) {
        self.0.set_attributes(outcome(code));
        if code != tonic::Code::Ok {
            failed(&mut self.0, mcp_chassis::metrics::code_name(code));
        }
    }
}

impl Followed {
    fn mark(&self) -> Mark {
        self.ids.flags.is_sampled().then_some(self.ids.trace)
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        let Some(record) = &self.record else {
            return;
        };
        if let (Some(span), Some(detail)) = (&mut self.span, record.detail()) {
            served(span.get_mut(), record, detail);
        }
        record.tell(self.ids.trace, self.mark());
    }
}

/// Starts the span of a request. Its name is known when the request has ended.
fn serve<B>(tracing: &Tracing, parent: Option<Ids>, request: &Request<B>, caller: &Caller) -> Option<BoxedSpan> {
    tracing.tracer.as_ref()?;
    let (uri, headers) = (request.uri(), request.headers());
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let host = uri.authority().map(http::uri::Authority::as_str).or(host).and_then(|text| text.parse().ok());
    let host: Option<http::uri::Authority> = host;
    let peer = caller.address.ip().to_canonical().to_string();
    let mut attributes = vec![
        KeyValue::new("http.request.method", crate::metrics::Verb::of(request.method()).name()),
        KeyValue::new("url.path", uri.path().to_owned()),
        KeyValue::new("url.scheme", if caller.tls.is_some() { "https" } else { "http" }),
        KeyValue::new("network.protocol.name", "http"),
        KeyValue::new("network.protocol.version", version(request.version())),
        KeyValue::new("network.peer.address", peer.clone()),
        KeyValue::new("network.peer.port", i64::from(caller.address.port())),
        KeyValue::new("client.address", peer),
    ];
    if let Some(host) = host {
        attributes.push(KeyValue::new("server.address", host.host().to_owned()));
        attributes.extend(host.port_u16().map(|port| KeyValue::new("server.port", i64::from(port))));
    }
    if let Some(agent) = headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok()) {
        attributes.push(KeyValue::new("user_agent.original", agent.to_owned()));
    }
    tracing.start(parent, request.method().as_str().to_owned(), SpanKind::Server, attributes)
}

/// Says on the span of a request how it ended; it ends when dropped.
fn served(span: &mut BoxedSpan, record: &Record, detail: &Detail) {
    let (status, code) = (record.status(), record.code());
    let reached = detail.instance.borrow().is_some();
    let is_unknown = code == Some(tonic::Code::Unimplemented) && !reached;
    let rpc = detail.rpc.get().map(
        |(service, method)| {
            if is_unknown { OTHER.to_owned() } else { format!("{service}/{method}") }
        },
    );
    let name = match (&rpc, detail.template.get()) {
        (_, Some(template)) => format!("{} {template}", detail.method),
        (Some(rpc), None) => rpc.clone(),
        (None, None) => detail.method.as_str().to_owned(),
    };
    span.update_name(name);
    if let Some(rpc) = rpc {
        span.set_attributes(method(&rpc));
    }
    if let Some(template) = detail.template.get() {
        span.set_attribute(KeyValue::new("http.route", template.clone()));
    }
    if let Some(route) = record.route() {
        span.set_attribute(KeyValue::new("mcp.route", route.to_owned()));
    }
    if let Some((service, _)) = &*detail.instance.borrow() {
        span.set_attribute(KeyValue::new("mcp.upstream", service.clone()));
    }
    if status != 0 {
        span.set_attribute(KeyValue::new("http.response.status_code", i64::from(status)));
    }
    if let Some(code) = code {
        span.set_attributes(outcome(code));
    }
    match code {
        Some(code) if is_server_fault(code) => failed(span, mcp_chassis::metrics::code_name(code)),
        _ if status >= 500 => failed(span, status.to_string()),
        _ => {}
    }
}

/// What tells a method: the names of today, and those that many still look for.
fn method(rpc: &str) -> Vec<KeyValue> {
    let mut attributes = vec![
        KeyValue::new("rpc.system.name", "grpc"),
        KeyValue::new("rpc.system", "grpc"),
        KeyValue::new("rpc.method", rpc.to_owned()),
    ];
    attributes.extend(rpc.split_once('/').map(|(service, _)| KeyValue::new("rpc.service", service.to_owned())));
    attributes
}

/// The same of a gRPC status.
fn outcome(code: tonic::Code) -> [KeyValue; 2] {
    [
        KeyValue::new("rpc.response.status_code", mcp_chassis::metrics::code_name(code)),
        KeyValue::new("rpc.grpc.status_code", i64::from(code as i32)),
    ]
}

fn failed(span: &mut BoxedSpan, kind: impl Into<StringValue>) {
    span.set_attribute(KeyValue::new("error.type", kind.into()));
    span.set_status(Status::error(""));
}

fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_2 => "2",
        Version::HTTP_10 => "1.0",
        _ => "1.1",
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

/// The caller's place in its trace, if it told one.
fn parent(headers: &HeaderMap) -> Option<Ids> {
    headers.get(TRACEPARENT).and_then(|value| value.to_str().ok()).and_then(parse)
}

/// Reads version 00 of `traceparent`. Source: <https://www.w3.org/TR/trace-context/#traceparent-header>.
fn parse(text: &str) -> Option<Ids> {
    let mut parts = text.split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    if (version, trace.len(), span.len(), flags.len()) != ("00", TRACE_ID_LEN, 16, 2) {
        return None;
    }
    let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?);
    let (trace, span) = (TraceId::from_hex(trace).ok()?, SpanId::from_hex(span).ok()?);
    let is_valid = trace != TraceId::INVALID && span != SpanId::INVALID;
    is_valid.then_some(Ids { trace, span, flags })
}

fn hex(bytes: &[u8], text: &mut [u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (byte, digits) in bytes.iter().zip(text.chunks_exact_mut(2)) {
        digits[0] = DIGITS[usize::from(byte >> 4)];
        digits[1] = DIGITS[usize::from(byte & 15)];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn headers(traceparent: &str) -> HeaderMap {
        HeaderMap::from_iter([(TRACEPARENT, traceparent.parse().unwrap())])
    }

    #[test]
    fn without_a_tracer_the_callers_trace_goes_on() {
        let identity = Identity::quiet(&headers(EXAMPLE));
        assert_eq!(identity.trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(identity.to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        let mut onward = HeaderMap::new();
        identity.inject(&mut onward);
        assert_eq!(onward[TRACEPARENT], EXAMPLE);
        assert!(identity.mark().is_some());
    }

    #[test]
    fn a_broken_traceparent_starts_a_new_trace() {
        for text in ["", "00", "00-zz-00-01", "00-00000000000000000000000000000000-00f067aa0ba902b7-01"] {
            let identity = Identity::quiet(&headers(text));
            let mut onward = HeaderMap::new();
            identity.inject(&mut onward);
            assert!(parse(onward[TRACEPARENT].to_str().unwrap()).is_some(), "{text}");
            assert_eq!(identity.trace_id().len(), TRACE_ID_LEN);
        }
    }

    #[test]
    fn so_many_traces_are_recorded_as_the_settings_say() {
        let draws = |ratio| (0..10_000).filter(|_| Tracing { tracer: None, ratio }.draws()).count();
        assert_eq!((draws(0.0), draws(1.0)), (0, 10_000));
        assert!((50..=200).contains(&draws(0.01)), "{}", draws(0.01));
    }
}
