//! Tables for people, and the short forms of times and texts in them.

use std::time::{Duration, SystemTime};

use comfy_table::{Cell, ContentArrangement, Table, presets};
use mcp_proto::registry::v1::Instance;
use prost_types::Timestamp;

/// Longest command or value that a table shows, in characters.
const TEXT_CHARS_MAX: usize = 120;
/// Spaces between two columns.
const COLUMN_GAP: u16 = 2;

/// The instances, one per row.
pub fn instances(instances: &[Instance], now: SystemTime) -> String {
    let mut table = plain(&["SERVICE", "INSTANCE", "ADDRESS", "VERSION", "ZONE", "WEIGHT", "UP", "GRPC SERVICES"]);
    for instance in instances {
        table.add_row([
            instance.service.clone(),
            instance.instance_id.clone(),
            instance.address.clone(),
            instance.version.clone(),
            instance.zone.clone(),
            instance.weight.to_string(),
            between(instance.register_time, Some(now)),
            instance.grpc_services.join(" "),
        ]);
    }
    text(table)
}

/// A table without lines, so that `cut` and `awk` can read it too.
pub fn plain(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled).set_header(header);
    table
}

/// The table without space before the first column and after the last.
pub fn text(mut table: Table) -> String {
    for column in table.column_iter_mut() {
        column.set_padding((0, COLUMN_GAP));
    }
    table.trim_fmt()
}

/// What is known of one thing: a name and a value a line; without a value there is no line.
#[derive(Debug)]
pub(super) struct Facts(Table);

impl Facts {
    pub(super) fn new() -> Self {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        Self(table)
    }

    pub(super) fn add(&mut self, name: &str, value: impl Into<String>) {
        let value = value.into();
        if !value.is_empty() {
            self.0.add_row([Cell::new(name), Cell::new(value)]);
        }
    }

    pub(super) fn text(self) -> String {
        text(self.0)
    }
}

/// A length of time in at most two units: `1h 5m`, `3.2s`, `40ms`.
pub fn span(length: Duration) -> String {
    match length.as_secs() {
        0 => format!("{}ms", length.as_millis()),
        1..60 => format!("{}.{}s", length.as_secs(), length.subsec_millis() / 100),
        seconds @ 60..3_600 => format!("{}m {}s", seconds / 60, seconds % 60),
        seconds @ 3_600..86_400 => format!("{}h {}m", seconds / 3_600, seconds / 60 % 60),
        seconds => format!("{}d {}h", seconds / 86_400, seconds / 3_600 % 24),
    }
}

/// A length of time of the wire; empty when there is none.
pub(super) fn length(length: Option<prost_types::Duration>) -> String {
    length.and_then(|length| Duration::try_from(length).ok()).map(span).unwrap_or_default()
}

/// A point in time of the wire.
pub fn time(timestamp: Option<Timestamp>) -> Option<SystemTime> {
    timestamp.and_then(|timestamp| SystemTime::try_from(timestamp).ok())
}

/// A point in time, to the millisecond; empty when there is none.
pub(super) fn moment(timestamp: Option<Timestamp>) -> String {
    time(timestamp).map(|time| humantime::format_rfc3339_millis(time).to_string()).unwrap_or_default()
}

/// A point in time, to the second; empty when there is none.
pub(super) fn second(timestamp: Option<Timestamp>) -> String {
    time(timestamp).map(|time| humantime::format_rfc3339_seconds(time).to_string()).unwrap_or_default()
}

/// A point in time seen from now: `in 5.0s`, `3m 2s ago`; empty when there is none.
pub(super) fn from_now(timestamp: Option<Timestamp>, now: SystemTime) -> String {
    match time(timestamp) {
        Some(time) => match time.duration_since(now) {
            Ok(left) => format!("in {}", span(left)),
            Err(passed) => format!("{} ago", span(passed.duration())),
        },
        None => String::new(),
    }
}

/// The time between two points; empty when one is missing.
pub(super) fn between(from: Option<Timestamp>, to: Option<SystemTime>) -> String {
    match (time(from), to) {
        // Clocks of two machines may differ a little.
        (Some(from), Some(to)) => span(to.duration_since(from).unwrap_or_default()),
        _ => String::new(),
    }
}

/// A number, or nothing for 0.
pub(super) fn unless_zero(number: u64) -> String {
    if number == 0 { String::new() } else { number.to_string() }
}

/// A catalogue error in one line.
pub(super) fn error(error: Option<&mcp_proto::common::v1::Error>) -> String {
    error.map(|error| format!("{} ({}): {}", error.name, error.code, error.message)).unwrap_or_default()
}

/// The marks of something, in one line.
pub(super) fn labels<'a>(labels: impl IntoIterator<Item = (&'a String, &'a String)>) -> String {
    labels.into_iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" ")
}

/// The first line, cut to what fits.
pub(super) fn shortened(text: &str) -> String {
    shortened_to(text, TEXT_CHARS_MAX)
}

/// The first line, cut to `chars_max` characters.
pub(super) fn shortened_to(text: &str, chars_max: usize) -> String {
    let line = text.lines().next().unwrap_or_default();
    if line.chars().count() > chars_max || line.len() < text.trim_end().len() {
        let start: String = line.chars().take(chars_max - 1).collect();
        return format!("{start}…");
    }
    line.to_owned()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use prost_types::Timestamp;

    use super::{from_now, shortened, span};

    #[test]
    fn times_and_texts_are_short() {
        let spans = [40, 3_210, 65_000, 3_900_000, 90_000_000].map(|ms| span(Duration::from_millis(ms)));
        assert_eq!(spans, ["40ms", "3.2s", "1m 5s", "1h 5m", "1d 1h"]);
        assert_eq!(shortened(&"x".repeat(500)).chars().count(), 120);
        assert_eq!(shortened("one line"), "one line");
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(100);
        let seen = [95, 105].map(|seconds| from_now(Some(Timestamp { seconds, nanos: 0 }), now));
        assert_eq!(seen, ["5.0s ago", "in 5.0s"]);
    }
}
