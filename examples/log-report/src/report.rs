//! The report: what the last task puts out and what the reference computes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Upper bounds of the latency classes, in ms, rising; one more class holds what is above the last.
pub const LATENCY_BOUNDS_MS: &[u64] = &[1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000];

/// Paths that a report lists.
pub const TOP_PATHS: usize = 10;

/// What an access log says, summed up. Malformed lines count in `lines` and `malformed` and nowhere else.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// Lines in all.
    pub lines: u64,
    /// Lines that are not of the format.
    pub malformed: u64,
    /// Bytes sent.
    pub bytes: u64,
    /// Answers by status.
    pub status: BTreeMap<String, u64>,
    /// Answers by latency class.
    pub latency: Vec<u64>,
    /// Upper bound of the class that holds the median, in ms; none above the last bound.
    pub p50_ms: Option<u64>,
    /// The same for 90 of 100 answers.
    pub p90_ms: Option<u64>,
    /// The same for 99 of 100 answers.
    pub p99_ms: Option<u64>,
    /// The paths with the most hits, the busiest first, equals in byte order.
    pub top_paths: Vec<TopPath>,
}

/// One path of a report. Queries are left out, and `:id` stands for every segment of digits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TopPath {
    /// The path.
    pub path: String,
    /// Requests for it.
    pub hits: u64,
    /// Bytes sent for it.
    pub bytes: u64,
    /// Answers of 500 and above.
    pub errors: u64,
    /// Mean time taken, in ms, rounded down.
    pub mean_ms: u64,
}

impl Report {
    /// Every line in which the pretty JSON forms of two reports differ; empty when the reports are equal.
    pub fn diff(expected: &Self, got: &Self) -> Vec<String> {
        let text = |report| serde_json::to_string_pretty(report).expect("a report is plain data");
        let (expected, got) = (text(expected), text(got));
        let (mut left, mut right) = (expected.lines(), got.lines());
        let mut differences = Vec::new();
        loop {
            match (left.next(), right.next()) {
                (None, None) => return differences,
                (left, right) if left == right => {}
                (left, right) => {
                    differences.extend(left.map(|line| format!("- {line}")));
                    differences.extend(right.map(|line| format!("+ {line}")));
                }
            }
        }
    }
}
