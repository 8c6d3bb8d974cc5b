//! What the gateway tells of itself: metrics, traces, the access log, pages for those who run it.

mod access_log;
mod admin;
mod metrics;
mod trace_id;
mod traces;

use std::fmt::Write as _;

use bytes::Bytes;
use http::{HeaderMap, Method};

use crate::support::{Answer, Cluster};

/// Asks for OpenMetrics.
const OPEN_METRICS: (&str, &str) = ("accept", "application/openmetrics-text");

/// A `traceparent` of a trace that is recorded, or not.
fn traceparent(trace: u128, is_sampled: bool) -> String {
    format!("00-{trace:032x}-00f067aa0ba902b7-0{}", u8::from(is_sampled))
}

fn trace_of(headers: &HeaderMap) -> String {
    headers["x-trace-id"].to_str().unwrap().to_owned()
}

impl Cluster {
    async fn get_as(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.send(Method::GET, path, headers, Bytes::new()).await
    }

    /// Everything that is counted, as OpenMetrics.
    async fn metrics(&self) -> Metrics {
        let answer = self.get_as("/metrics", &[OPEN_METRICS]).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        Metrics(answer.text().to_owned())
    }
}

/// A page of metrics.
#[derive(Debug)]
struct Metrics(String);

impl Metrics {
    /// Samples of this name that have all these labels.
    fn lines<'m>(&'m self, name: &str, labels: &[(&str, &str)]) -> Vec<&'m str> {
        let wanted: Vec<String> = labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
        let is_named = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
        let lines = self.0.lines().filter(is_named);
        lines.filter(|line| wanted.iter().all(|label| line.contains(label))).collect()
    }

    /// Their values together.
    fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let value = |line: &str| -> f64 {
            let end = line.rfind('}').map_or_else(|| line.find(' ').unwrap(), |at| at + 1);
            let line = line.split(" # ").next().unwrap();
            line[end.min(line.rfind(' ').unwrap())..].trim().parse().unwrap()
        };
        self.lines(name, labels).into_iter().map(value).sum()
    }

    /// For the message of a test that fails.
    fn shown(&self, prefix: &str) -> String {
        self.0.lines().filter(|line| line.starts_with(prefix)).fold(String::new(), |mut text, line| {
            writeln!(text, "{line}").unwrap();
            text
        })
    }
}
