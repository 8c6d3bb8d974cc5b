//! The OTLP exporters.

use std::time::Duration;

use opentelemetry_otlp::{LogExporter, MetricExporter, SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::{
    logs::{self, BatchLogProcessor},
    trace::{BatchConfigBuilder, BatchSpanProcessor},
};

use super::Error;

/// Most spans that wait for being sent; more are dropped.
const SPAN_QUEUE_LEN_MAX: usize = 8192;
/// Most spans in one request.
const SPAN_BATCH_LEN_MAX: usize = 1024;
/// Longest time that a span waits before it is sent.
const SPAN_DELAY_MAX: Duration = Duration::from_secs(1);
/// Most log lines that wait for being sent; more are dropped. Standard error has them all.
const LOG_QUEUE_LEN_MAX: usize = 8192;
/// Most log lines in one request.
const LOG_BATCH_LEN_MAX: usize = 1024;
/// Longest time that a log line waits before it is sent.
const LOG_DELAY_MAX: Duration = Duration::from_secs(1);
/// Longest time that one request to the receiver may take.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) fn spans(endpoint: &str) -> Result<BatchSpanProcessor, Error> {
    let exporter = SpanExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint)
        .with_timeout(EXPORT_TIMEOUT)
        .build()
        .map_err(|source| Error::Exporter { endpoint: endpoint.to_owned(), source })?;
    let config = BatchConfigBuilder::default()
        .with_max_queue_size(SPAN_QUEUE_LEN_MAX)
        .with_max_export_batch_size(SPAN_BATCH_LEN_MAX)
        .with_scheduled_delay(SPAN_DELAY_MAX)
        .build();
    Ok(BatchSpanProcessor::builder(exporter).with_batch_config(config).build())
}

pub(super) fn log_lines(endpoint: &str) -> Result<BatchLogProcessor, Error> {
    let exporter = LogExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint)
        .with_timeout(EXPORT_TIMEOUT)
        .build()
        .map_err(|source| Error::Exporter { endpoint: endpoint.to_owned(), source })?;
    let config = logs::BatchConfigBuilder::default()
        .with_max_queue_size(LOG_QUEUE_LEN_MAX)
        .with_max_export_batch_size(LOG_BATCH_LEN_MAX)
        .with_scheduled_delay(LOG_DELAY_MAX)
        .build();
    Ok(BatchLogProcessor::builder(exporter).with_batch_config(config).build())
}

pub(super) fn metrics(endpoint: &str) -> Result<MetricExporter, Error> {
    MetricExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint)
        .with_timeout(EXPORT_TIMEOUT)
        .build()
        .map_err(|source| Error::Exporter { endpoint: endpoint.to_owned(), source })
}
