//! The report on the terminal.

use std::fmt::Write as _;

use crate::report::{LATENCY_BOUNDS_MS, Report};

/// Width of the longest bar, in columns.
const BAR_COLUMNS: u64 = 48;
/// A column filled by 0 to 7 eighths.
const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
/// Longest path that is shown whole, in characters.
const PATH_CHARS_MAX: usize = 32;
/// Why writing to a `String` cannot fail.
const IN_MEMORY: &str = "a String takes all that is written to it";

/// The report as text: totals, top paths, status counts, a latency histogram.
pub fn draw(report: &Report) -> String {
    let mut text = String::new();
    let answers = report.lines - report.malformed;
    writeln!(
        text,
        "{} lines, {} of them malformed; {} sent",
        grouped(report.lines),
        grouped(report.malformed),
        size(report.bytes)
    )
    .expect(IN_MEMORY);
    top_paths(&mut text, report);
    statuses(&mut text, report, answers);
    latencies(&mut text, report, answers);
    text
}

fn top_paths(text: &mut String, report: &Report) {
    writeln!(text, "\n{:<PATH_CHARS_MAX$} {:>9} {:>11} {:>7} {:>9}", "top paths", "hits", "sent", "5xx", "mean")
        .expect(IN_MEMORY);
    for top in &report.top_paths {
        let path = if top.path.chars().count() > PATH_CHARS_MAX {
            let start: String = top.path.chars().take(PATH_CHARS_MAX - 1).collect();
            format!("{start}…")
        } else {
            top.path.clone()
        };
        writeln!(
            text,
            "{path:<PATH_CHARS_MAX$} {:>9} {:>11} {:>7} {:>6} ms",
            grouped(top.hits),
            size(top.bytes),
            grouped(top.errors),
            grouped(top.mean_ms)
        )
        .expect(IN_MEMORY);
    }
}

fn statuses(text: &mut String, report: &Report, answers: u64) {
    text.push_str("\nstatus\n");
    for (status, &count) in &report.status {
        bar_line(text, status, count, answers, answers);
    }
}

fn latencies(text: &mut String, report: &Report, answers: u64) {
    let percentile = |value: Option<u64>| match (value, LATENCY_BOUNDS_MS.last()) {
        (Some(value), _) => format!("≤ {} ms", grouped(value)),
        (None, last) => format!("> {} ms", grouped(last.copied().unwrap_or_default())),
    };
    writeln!(
        text,
        "\ntime taken: half of the answers {}, 90 % {}, 99 % {}",
        percentile(report.p50_ms),
        percentile(report.p90_ms),
        percentile(report.p99_ms)
    )
    .expect(IN_MEMORY);
    let longest = report.latency.iter().copied().max().unwrap_or_default();
    for (class, &count) in report.latency.iter().enumerate() {
        let label = match LATENCY_BOUNDS_MS.get(class) {
            Some(&bound) => format!("≤ {} ms", grouped(bound)),
            None => percentile(None),
        };
        bar_line(text, &label, count, longest, answers);
    }
}

/// `label  count  share  bar`; the bar of `longest` has the full width.
fn bar_line(text: &mut String, label: &str, count: u64, longest: u64, answers: u64) {
    let eighths = (count * BAR_COLUMNS * 8).checked_div(longest).unwrap_or_default();
    let full = usize::try_from(eighths / 8).expect("at most BAR_COLUMNS");
    let rest = EIGHTHS[usize::try_from(eighths % 8).expect("below 8")];
    let permille = (count * 1_000).checked_div(answers).unwrap_or_default();
    let share = format!("{}.{} %", permille / 10, permille % 10);
    let line = format!("{label:>10} {:>9} {share:>7} {}{rest}", grouped(count), "█".repeat(full));
    text.push_str(line.trim_end());
    text.push('\n');
}

/// A number with commas between groups of three digits.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Bytes in the unit that fits, with one decimal.
fn size(bytes: u64) -> String {
    let (mut tenths, mut units) = (bytes.saturating_mul(10), ["B", "KiB", "MiB", "GiB", "TiB"].into_iter());
    let mut unit = units.next().unwrap_or_default();
    for next in units {
        if tenths < 10_240 {
            break;
        }
        (tenths, unit) = (tenths / 1_024, next);
    }
    if unit == "B" { format!("{bytes} B") } else { format!("{}.{} {unit}", tenths / 10, tenths % 10) }
}

#[cfg(test)]
mod tests {
    use super::{draw, grouped, size};
    use crate::report::{LATENCY_BOUNDS_MS, Report, TopPath};

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([0, 1_023, 1_024, 1_572_864].map(size), ["0 B", "1023 B", "1.0 KiB", "1.5 MiB"]);
    }

    #[test]
    fn the_longest_class_has_the_longest_bar() {
        let mut latency = vec![0; LATENCY_BOUNDS_MS.len() + 1];
        (latency[2], latency[12]) = (30, 10);
        let top_paths = vec![TopPath { path: "/a".repeat(40), hits: 40, bytes: 4_096, errors: 1, mean_ms: 8 }];
        let status = [("200".to_owned(), 40)].into();
        let report = Report { lines: 41, malformed: 1, bytes: 4_096, status, latency, top_paths, ..Report::default() };
        let text = draw(&report);
        assert!(text.contains("41 lines, 1 of them malformed; 4.0 KiB sent"), "{text}");
        assert!(text.contains("/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/… "), "{text}");
        assert!(text.contains(&format!("≤ 5 ms        30  75.0 % {}\n", "█".repeat(48))), "{text}");
        assert!(text.contains(&format!("> 5,000 ms        10  25.0 % {}\n", "█".repeat(16))), "{text}");
    }
}
