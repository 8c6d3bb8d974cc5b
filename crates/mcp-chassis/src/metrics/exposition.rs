//! How metrics are written down: Prometheus' text format, or OpenMetrics, which has exemplars besides.
//!
//! Sources: <https://prometheus.io/docs/instrumenting/exposition_formats/>, <https://prometheus.io/docs/specs/om/open_metrics_spec/>.

use std::{fmt::Write as _, time::SystemTime};

use http::HeaderValue;
use prometheus::proto::{LabelPair, MetricFamily, MetricType};

/// What a counter's samples end with.
const TOTAL: &str = "_total";

/// How metrics are written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Prometheus' text format, version 0.0.4.
    Text,
    /// OpenMetrics, version 1.0.0.
    OpenMetrics,
}

impl Format {
    /// The format that an `accept` header asks for: OpenMetrics when it is named and not less welcome than plain text.
    pub fn accepted(accept: Option<&HeaderValue>) -> Self {
        let accept = accept.and_then(|value| value.to_str().ok()).unwrap_or_default();
        let (mut open, mut text) = (0.0_f32, 0.0_f32);
        for part in accept.split(',') {
            let mut parts = part.split(';').map(str::trim);
            let kind = parts.next().unwrap_or_default();
            let quality = parts.find_map(|part| part.strip_prefix("q=")).map_or(Some(1.0), |text| text.parse().ok());
            let Some(quality) = quality else {
                continue;
            };
            match kind {
                "application/openmetrics-text" => open = open.max(quality),
                "text/plain" => text = text.max(quality),
                _ => {}
            }
        }
        if open > 0.0 && open >= text { Self::OpenMetrics } else { Self::Text }
    }

    /// Its media type.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// What a family of metrics is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts by size.
    Histogram,
    /// Has quantiles.
    Summary,
}

/// The trace of one of the things that were counted.
#[derive(Debug, Clone, PartialEq)]
pub struct Exemplar {
    /// 32 hexadecimal digits.
    pub trace_id: String,
    /// How large it was.
    pub value: f64,
    /// When that was.
    pub at: SystemTime,
}

/// Those of a histogram that are at most so large.
#[derive(Debug, Clone, PartialEq)]
pub struct Bucket {
    /// The upper bound, included; infinity for the last.
    pub le: f64,
    /// How many there are, those of the buckets before included.
    pub count: u64,
    /// One of those that are in this bucket and in none before.
    pub exemplar: Option<Exemplar>,
}

/// Labels of a sample: names and values.
pub type Labels<'a> = &'a [(&'a str, &'a str)];

/// Metrics as text. Families come one after the other, each with all of its samples.
#[derive(Debug)]
pub struct Exposition {
    format: Format,
    text: String,
}

impl Exposition {
    /// Nothing yet.
    pub fn new(format: Format) -> Self {
        Self { format, text: String::new() }
    }

    /// Begins a family. The name of a counter has no `_total`.
    pub fn family(&mut self, name: &str, help: &str, kind: Kind) {
        let (suffix, kind) = match (kind, self.format) {
            (Kind::Counter, Format::Text) => (TOTAL, "counter"),
            (Kind::Counter, Format::OpenMetrics) => ("", "counter"),
            (Kind::Gauge, _) => ("", "gauge"),
            (Kind::Histogram, _) => ("", "histogram"),
            (Kind::Summary, _) => ("", "summary"),
        };
        let help = escaped(help, self.format == Format::OpenMetrics);
        self.line(format_args!("# HELP {name}{suffix} {help}\n# TYPE {name}{suffix} {kind}"));
    }

    /// A sample of a counter.
    pub fn counter(&mut self, name: &str, labels: Labels<'_>, value: f64) {
        let labels = braced(labels, None);
        self.line(format_args!("{name}{TOTAL}{labels} {}", number(value)));
    }

    /// A sample of a gauge.
    pub fn gauge(&mut self, name: &str, labels: Labels<'_>, value: f64) {
        let labels = braced(labels, None);
        self.line(format_args!("{name}{labels} {}", number(value)));
    }

    /// A histogram; the last bucket has all.
    pub fn histogram(&mut self, name: &str, labels: Labels<'_>, buckets: &[Bucket], sum: f64) {
        for bucket in buckets {
            let le = self.bound(bucket.le);
            let labels = braced(labels, Some(("le", &le)));
            let exemplar = bucket.exemplar.as_ref().filter(|_| self.format == Format::OpenMetrics);
            match exemplar {
                Some(Exemplar { trace_id, value, at }) => {
                    let at = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
                    let (count, value) = (bucket.count, number(*value));
                    self.line(format_args!(
                        "{name}_bucket{labels} {count} # {{trace_id=\"{trace_id}\"}} {value} {at:.3}"
                    ));
                }
                None => self.line(format_args!("{name}_bucket{labels} {}", bucket.count)),
            }
        }
        let labels = braced(labels, None);
        let count = buckets.last().map_or(0, |all| all.count);
        self.line(format_args!("{name}_sum{labels} {}\n{name}_count{labels} {count}", number(sum)));
    }

    /// Families that a registry gathered.
    pub(super) fn gathered(&mut self, families: &[MetricFamily]) {
        for family in families {
            let (kind, name) = match family.get_field_type() {
                MetricType::COUNTER => (Kind::Counter, family.name().trim_end_matches(TOTAL)),
                MetricType::GAUGE => (Kind::Gauge, family.name()),
                MetricType::HISTOGRAM => (Kind::Histogram, family.name()),
                MetricType::SUMMARY => (Kind::Summary, family.name()),
                // OpenTelemetry makes none.
                MetricType::UNTYPED => continue,
            };
            self.family(name, family.help(), kind);
            for metric in family.get_metric() {
                let labels: Vec<_> = metric.get_label().iter().map(pair).collect();
                match kind {
                    Kind::Counter => self.counter(name, &labels, metric.get_counter().get_value()),
                    Kind::Gauge => self.gauge(name, &labels, metric.get_gauge().get_value()),
                    Kind::Histogram => {
                        let histogram = metric.get_histogram();
                        self.histogram(name, &labels, &buckets(histogram), histogram.get_sample_sum());
                    }
                    Kind::Summary => self.summary(name, &labels, metric.get_summary()),
                }
            }
        }
    }

    fn summary(&mut self, name: &str, labels: Labels<'_>, summary: &prometheus::proto::Summary) {
        for quantile in summary.get_quantile() {
            let at = self.bound(quantile.quantile());
            let labels = braced(labels, Some(("quantile", &at)));
            self.line(format_args!("{name}{labels} {}", number(quantile.value())));
        }
        let (sum, count, labels) = (summary.sample_sum(), summary.sample_count(), braced(labels, None));
        self.line(format_args!("{name}_sum{labels} {}\n{name}_count{labels} {count}", number(sum)));
    }

    /// The whole text.
    pub fn finish(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }

    /// OpenMetrics wants a point in every bound.
    fn bound(&self, bound: f64) -> String {
        match self.format {
            Format::OpenMetrics if bound.is_finite() => format!("{bound:?}"),
            Format::Text | Format::OpenMetrics => number(bound),
        }
    }

    fn line(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        writeln!(self.text, "{text}").unwrap_or_default();
    }
}

fn pair(label: &LabelPair) -> (&str, &str) {
    (label.name(), label.value())
}

/// The buckets of a histogram, the last one added when it is not there.
fn buckets(histogram: &prometheus::proto::Histogram) -> Vec<Bucket> {
    let bucket = |le, count| Bucket { le, count, exemplar: None };
    let mut buckets: Vec<Bucket> =
        histogram.get_bucket().iter().map(|found| bucket(found.upper_bound(), found.cumulative_count())).collect();
    if buckets.last().is_none_or(|last| last.le.is_finite()) {
        buckets.push(bucket(f64::INFINITY, histogram.get_sample_count()));
    }
    buckets
}

fn number(value: f64) -> String {
    match value {
        f64::INFINITY => "+Inf".to_owned(),
        f64::NEG_INFINITY => "-Inf".to_owned(),
        value => value.to_string(),
    }
}

/// `{a="b",c="d"}`, or nothing.
fn braced(labels: Labels<'_>, more: Option<(&str, &str)>) -> String {
    let mut text = String::new();
    for (name, value) in labels.iter().copied().chain(more).filter(|(_, value)| !value.is_empty()) {
        text.push(if text.is_empty() { '{' } else { ',' });
        // Writing to a string cannot fail.
        write!(text, "{name}=\"{}\"", escaped(value, true)).unwrap_or_default();
    }
    if !text.is_empty() {
        text.push('}');
    }
    text
}

/// Text with its line ends and backslashes, and maybe its quotes, escaped.
fn escaped(text: &str, quotes: bool) -> String {
    let text = text.replace('\\', "\\\\").replace('\n', "\\n");
    if quotes { text.replace('"', "\\\"") } else { text }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn page(format: Format) -> String {
        let mut page = Exposition::new(format);
        page.family("calls", "All \"calls\"", Kind::Counter);
        page.counter("calls", &[("path", "a\"b\\c\nd"), ("empty", "")], 3.0);
        page.family("seconds", "How long", Kind::Histogram);
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_500);
        let exemplar = Exemplar { trace_id: "4bf9".to_owned(), value: 0.7, at };
        let buckets = [
            Bucket { le: 1.0, count: 1, exemplar: Some(exemplar) },
            Bucket { le: f64::INFINITY, count: 2, exemplar: None },
        ];
        page.histogram("seconds", &[("route", "r")], &buckets, 9.5);
        page.finish()
    }

    #[test]
    fn the_text_format_is_prometheus_own() {
        let expected = "# HELP calls_total All \"calls\"\n# TYPE calls_total counter\n\
            calls_total{path=\"a\\\"b\\\\c\\nd\"} 3\n\
            # HELP seconds How long\n# TYPE seconds histogram\n\
            seconds_bucket{route=\"r\",le=\"1\"} 1\nseconds_bucket{route=\"r\",le=\"+Inf\"} 2\n\
            seconds_sum{route=\"r\"} 9.5\nseconds_count{route=\"r\"} 2\n";
        assert_eq!(page(Format::Text), expected);
    }

    #[test]
    fn open_metrics_has_exemplars_and_an_end() {
        let expected = "# HELP calls All \\\"calls\\\"\n# TYPE calls counter\n\
            calls_total{path=\"a\\\"b\\\\c\\nd\"} 3\n\
            # HELP seconds How long\n# TYPE seconds histogram\n\
            seconds_bucket{route=\"r\",le=\"1.0\"} 1 # {trace_id=\"4bf9\"} 0.7 1.500\n\
            seconds_bucket{route=\"r\",le=\"+Inf\"} 2\n\
            seconds_sum{route=\"r\"} 9.5\nseconds_count{route=\"r\"} 2\n# EOF\n";
        assert_eq!(page(Format::OpenMetrics), expected);
    }

    #[test]
    fn the_format_is_what_the_scraper_accepts() {
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1";
        for (accept, expected) in [
            ("", Format::Text),
            ("*/*", Format::Text),
            ("text/plain", Format::Text),
            ("application/openmetrics-text", Format::OpenMetrics),
            ("application/openmetrics-text; q=0.1, text/plain", Format::Text),
            ("application/openmetrics-text; q=0", Format::Text),
            (prometheus, Format::OpenMetrics),
        ] {
            let value = HeaderValue::from_static(accept);
            assert_eq!(Format::accepted(Some(&value)), expected, "{accept}");
        }
        assert_eq!(Format::accepted(None), Format::Text);
    }
}
