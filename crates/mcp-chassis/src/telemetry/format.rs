//! How a log line looks: JSON for machines, text for people. Both carry the ids of the trace and the span.

use std::fmt::{self, Write as _};

use opentelemetry::{Context, trace::TraceContextExt as _};
use serde::{Serializer as _, ser::SerializeMap as _};
use serde_json::{Map, Value};
use tracing::{Event, Level, Subscriber, field::Field, field::Visit};
use tracing_log::NormalizeEvent as _;
use tracing_subscriber::{
    fmt::{
        FmtContext, FormatEvent, FormatFields,
        format::Writer,
        time::{FormatTime as _, SystemTime},
    },
    registry::LookupSpan,
};

/// One JSON object a line: `timestamp`, `level`, `service`, `trace_id`, `span_id`, `span`, `target`, `message`,
/// `fields`. The ids and `span` are absent outside of any span.
#[derive(Debug)]
pub(super) struct Json {
    service: String,
}

impl Json {
    pub(super) fn new(service: &str) -> Self {
        Self { service: service.to_owned() }
    }
}

impl<S, N> FormatEvent<S, N> for Json
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    N: for<'w> FormatFields<'w> + 'static,
{
    fn format_event(&self, ctx: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        // A library that logs by the `log` crate gets its own name back.
        let normalized = event.normalized_metadata();
        let metadata = normalized.as_ref().unwrap_or_else(|| event.metadata());
        let mut fields = Fields::default();
        event.record(&mut fields);
        let mut line = Vec::with_capacity(256);
        let mut serializer = serde_json::Serializer::new(&mut line);
        let write = |serializer: &mut serde_json::Serializer<&mut Vec<u8>>| -> serde_json::Result<()> {
            let mut map = serializer.serialize_map(None)?;
            map.serialize_entry("timestamp", &now())?;
            map.serialize_entry("level", metadata.level().as_str())?;
            map.serialize_entry("service", &self.service)?;
            if let Some((trace_id, span_id)) = current_ids() {
                map.serialize_entry("trace_id", &trace_id)?;
                map.serialize_entry("span_id", &span_id)?;
            }
            if let Some(span) = ctx.lookup_current() {
                map.serialize_entry("span", span.name())?;
            }
            map.serialize_entry("target", metadata.target())?;
            map.serialize_entry("message", &fields.message)?;
            map.serialize_entry("fields", &fields.others)?;
            map.end()
        };
        write(&mut serializer).map_err(|_| fmt::Error)?;
        writer.write_str(std::str::from_utf8(&line).map_err(|_| fmt::Error)?)?;
        writer.write_char('\n')
    }
}

/// Text: time, level, target, message and fields, then the trace id.
#[derive(Debug)]
pub(super) struct Pretty;

impl<S, N> FormatEvent<S, N> for Pretty
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    N: for<'w> FormatFields<'w> + 'static,
{
    fn format_event(&self, ctx: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        // A library that logs by the `log` crate gets its own name back.
        let normalized = event.normalized_metadata();
        let metadata = normalized.as_ref().unwrap_or_else(|| event.metadata());
        write!(writer, "{} ", now())?;
        let colour = match *metadata.level() {
            Level::ERROR => "31",
            Level::WARN => "33",
            Level::INFO => "32",
            _ => "2",
        };
        if writer.has_ansi_escapes() {
            write!(writer, "\x1b[{colour}m{:>5}\x1b[0m ", metadata.level())?;
        } else {
            write!(writer, "{:>5} ", metadata.level())?;
        }
        write!(writer, "{}: ", metadata.target())?;
        ctx.field_format().format_fields(writer.by_ref(), event)?;
        if let Some((trace_id, _)) = current_ids() {
            write!(writer, " trace_id={trace_id}")?;
        }
        writer.write_char('\n')
    }
}

/// The trace and the span that this thread works for.
fn current_ids() -> Option<(String, String)> {
    Context::map_current(|context| {
        let span = context.span();
        let ids = span.span_context();
        ids.is_valid().then(|| (ids.trace_id().to_string(), ids.span_id().to_string()))
    })
}

/// RFC 3339, UTC, microseconds.
fn now() -> String {
    let mut text = String::with_capacity(32);
    // Writing to a string cannot fail; if it did, a line without a time is better than none.
    SystemTime.format_time(&mut Writer::new(&mut text)).unwrap_or_default();
    text
}

/// The fields of an event, with their types.
#[derive(Debug, Default)]
struct Fields {
    message: String,
    others: Map<String, Value>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: impl Into<Value>) {
        // The `log` crate's own fields: the target is known already, and a file's place is the build machine's.
        if !field.name().starts_with("log.") {
            self.others.insert(field.name().to_owned(), value.into());
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.message.clear();
            write!(self.message, "{value:?}").unwrap_or_default();
        } else {
            self.put(field, format!("{value:?}"));
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" { self.message = value.to_owned() } else { self.put(field, value) }
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let mut text = value.to_string();
        let mut source = value.source();
        while let Some(error) = source {
            write!(text, ": {error}").unwrap_or_default();
            source = error.source();
        }
        self.put(field, text);
    }
}
