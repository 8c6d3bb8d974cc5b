//! A receiver of OpenTelemetry traces, metrics and log lines, so that tests can look at what a service sent.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt::Write as _,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use anyhow::Context as _;
use opentelemetry_proto::tonic::{
    collector::{
        logs::v1::{
            ExportLogsServiceRequest, ExportLogsServiceResponse,
            logs_service_server::{LogsService, LogsServiceServer},
        },
        metrics::v1::{
            ExportMetricsServiceRequest, ExportMetricsServiceResponse,
            metrics_service_server::{MetricsService, MetricsServiceServer},
        },
        trace::v1::{
            ExportTraceServiceRequest, ExportTraceServiceResponse,
            trace_service_server::{TraceService, TraceServiceServer},
        },
    },
    common::v1::{AnyValue, KeyValue, any_value::Value},
    resource::v1::Resource,
    trace::v1::Span,
};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, transport::Server};

/// Most spans that are kept; the oldest go first.
const SPANS_LEN_MAX: usize = 100_000;
/// Most log lines that are kept; the oldest go first.
const LINES_LEN_MAX: usize = 100_000;

/// A span as it was received; ids are lower-case hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceivedSpan {
    /// 32 digits.
    pub trace_id: String,
    /// 16 digits.
    pub span_id: String,
    /// 16 digits; empty for the root of a trace.
    pub parent_span_id: String,
    /// Name of the operation.
    pub name: String,
    /// `service.name` of the process that sent it; empty when it said none.
    pub service: String,
    /// Its attributes as text; those of other types as they print, lists and maps in debug form.
    pub attributes: BTreeMap<String, String>,
}

/// A log line as it was received; ids are lower-case hexadecimal, and empty outside of any span.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceivedLine {
    /// 32 digits.
    pub trace_id: String,
    /// 16 digits.
    pub span_id: String,
    /// `INFO`, `WARN` and the like.
    pub severity: String,
    /// What it says.
    pub message: String,
    /// `service.name` of the process that sent it; empty when it said none.
    pub service: String,
}

/// An OTLP gRPC receiver on a free port. It stops when dropped.
#[derive(Debug)]
pub struct OtlpReceiver {
    endpoint: String,
    received: Arc<Received>,
    server: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Received {
    spans: Mutex<VecDeque<ReceivedSpan>>,
    metrics: Mutex<BTreeSet<String>>,
    lines: Mutex<VecDeque<ReceivedLine>>,
}

impl OtlpReceiver {
    /// Starts to receive, on the loopback interface. Must be called within a tokio runtime.
    ///
    /// # Panics
    /// When no port can be bound.
    pub async fn start() -> Self {
        Self::try_start().await.expect("an OTLP receiver on a free port")
    }

    async fn try_start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.context("a free port")?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        let received = Arc::new(Received::default());
        let server = Server::builder()
            .add_service(TraceServiceServer::from_arc(Arc::clone(&received)))
            .add_service(MetricsServiceServer::from_arc(Arc::clone(&received)))
            .add_service(LogsServiceServer::from_arc(Arc::clone(&received)))
            .serve_with_incoming(TcpListenerStream::new(listener));
        let server = tokio::spawn(async move {
            server.await.expect("the OTLP receiver serves until it is aborted");
        });
        Ok(Self { endpoint, received, server })
    }

    /// Where to send to, as `telemetry.otlp_endpoint` takes it.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Every span received until now, in the order of arrival.
    pub fn spans(&self) -> Vec<ReceivedSpan> {
        lock(&self.received.spans).iter().cloned().collect()
    }

    /// Every log line received until now, in the order of arrival.
    pub fn lines(&self) -> Vec<ReceivedLine> {
        lock(&self.received.lines).iter().cloned().collect()
    }

    /// The names of all metrics received until now.
    pub fn metric_names(&self) -> BTreeSet<String> {
        lock(&self.received.metrics).clone()
    }
}

impl Drop for OtlpReceiver {
    fn drop(&mut self) {
        self.server.abort();
    }
}

#[tonic::async_trait]
impl TraceService for Received {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let mut spans = lock(&self.spans);
        for batch in request.into_inner().resource_spans {
            let service = service_of(batch.resource.as_ref());
            let batch = batch.scope_spans.into_iter().flat_map(|scope| scope.spans);
            spans.extend(batch.map(|span| received(span, &service)));
        }
        let excess = spans.len().saturating_sub(SPANS_LEN_MAX);
        spans.drain(..excess);
        Ok(Response::new(Default::default()))
    }
}

#[tonic::async_trait]
impl MetricsService for Received {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        let scopes = request.into_inner().resource_metrics.into_iter().flat_map(|batch| batch.scope_metrics);
        lock(&self.metrics).extend(scopes.flat_map(|scope| scope.metrics).map(|metric| metric.name));
        Ok(Response::new(Default::default()))
    }
}

#[tonic::async_trait]
impl LogsService for Received {
    async fn export(
        &self,
        request: Request<ExportLogsServiceRequest>,
    ) -> Result<Response<ExportLogsServiceResponse>, Status> {
        let mut lines = lock(&self.lines);
        for batch in request.into_inner().resource_logs {
            let service = service_of(batch.resource.as_ref());
            let records = batch.scope_logs.into_iter().flat_map(|scope| scope.log_records);
            lines.extend(records.map(|record| ReceivedLine {
                trace_id: hex(&record.trace_id),
                span_id: hex(&record.span_id),
                severity: record.severity_text,
                message: text(record.body),
                service: service.clone(),
            }));
        }
        let excess = lines.len().saturating_sub(LINES_LEN_MAX);
        lines.drain(..excess);
        Ok(Response::new(Default::default()))
    }
}

fn received(span: Span, service: &str) -> ReceivedSpan {
    ReceivedSpan {
        trace_id: hex(&span.trace_id),
        span_id: hex(&span.span_id),
        parent_span_id: hex(&span.parent_span_id),
        name: span.name,
        service: service.to_owned(),
        attributes: span.attributes.into_iter().map(|KeyValue { key, value, .. }| (key, text(value))).collect(),
    }
}

fn service_of(resource: Option<&Resource>) -> String {
    let attributes = resource.into_iter().flat_map(|resource| &resource.attributes);
    let name = attributes.filter(|attribute| attribute.key == "service.name").find_map(|name| name.value.clone());
    text(name)
}

fn text(value: Option<AnyValue>) -> String {
    match value.and_then(|value| value.value) {
        None => String::new(),
        Some(Value::StringValue(value)) => value,
        Some(Value::BoolValue(value)) => value.to_string(),
        Some(Value::IntValue(value)) => value.to_string(),
        Some(Value::DoubleValue(value)) => value.to_string(),
        Some(other) => format!("{other:?}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes any text");
        text
    })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
