//! The report computed in this process, line by line, to check the tasks against. It shares no code with them.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufRead as _, BufReader},
    path::Path,
};

use crate::report::{LATENCY_BOUNDS_MS, Report, TOP_PATHS, TopPath};

/// Sums while the lines go by.
#[derive(Debug, Clone)]
pub struct Reference {
    lines: u64,
    malformed: u64,
    bytes: u64,
    status: BTreeMap<u16, u64>,
    latency: Vec<u64>,
    paths: BTreeMap<String, PathSums>,
}

#[derive(Debug, Clone, Default)]
struct PathSums {
    hits: u64,
    bytes: u64,
    errors: u64,
    ms: u64,
}

/// What a well-formed line says.
struct Request {
    path: String,
    status: u16,
    bytes: u64,
    ms: u64,
}

impl Default for Reference {
    fn default() -> Self {
        Self {
            lines: 0,
            malformed: 0,
            bytes: 0,
            status: BTreeMap::new(),
            latency: vec![0; LATENCY_BOUNDS_MS.len() + 1],
            paths: BTreeMap::new(),
        }
    }
}

impl Reference {
    /// Takes the lines of a file in.
    ///
    /// # Errors
    /// Of the file system.
    pub fn read(&mut self, path: &Path) -> io::Result<()> {
        for line in BufReader::new(File::open(path)?).lines() {
            self.line(&line?);
        }
        Ok(())
    }

    /// Takes one line in.
    pub fn line(&mut self, line: &str) {
        self.lines += 1;
        let Some(request) = parse(line) else {
            self.malformed += 1;
            return;
        };
        self.bytes += request.bytes;
        *self.status.entry(request.status).or_default() += 1;
        self.latency[LATENCY_BOUNDS_MS.partition_point(|&bound| bound < request.ms)] += 1;
        let sums = self.paths.entry(request.path).or_default();
        sums.hits += 1;
        sums.bytes += request.bytes;
        sums.errors += u64::from(request.status >= 500);
        sums.ms += request.ms;
    }

    /// The report on all lines so far.
    pub fn report(self) -> Report {
        let [p50_ms, p90_ms, p99_ms] = [50, 90, 99].map(|part| self.percentile(part));
        let mut paths: Vec<_> = self.paths.into_iter().collect();
        paths
            .sort_by(|(path, sums), (other_path, other)| other.hits.cmp(&sums.hits).then_with(|| path.cmp(other_path)));
        let top_paths = paths.into_iter().take(TOP_PATHS).map(|(path, sums)| TopPath {
            path,
            hits: sums.hits,
            bytes: sums.bytes,
            errors: sums.errors,
            mean_ms: sums.ms / sums.hits,
        });
        Report {
            lines: self.lines,
            malformed: self.malformed,
            bytes: self.bytes,
            status: self.status.into_iter().map(|(status, count)| (status.to_string(), count)).collect(),
            latency: self.latency,
            p50_ms,
            p90_ms,
            p99_ms,
            top_paths: top_paths.collect(),
        }
    }

    fn percentile(&self, part: u64) -> Option<u64> {
        let wanted = self.latency.iter().sum::<u64>() * part;
        let mut below = 0;
        let class = self.latency.iter().position(|count| {
            below += count;
            below * 100 >= wanted
        });
        class.and_then(|class| LATENCY_BOUNDS_MS.get(class).copied())
    }
}

fn parse(line: &str) -> Option<Request> {
    let parts: Vec<&str> = line.split('"').collect();
    let [_client, request, answer, _referer, _, _agent, time] = parts[..] else { return None };
    let (request, answer): (Vec<&str>, Vec<&str>) =
        (request.split_ascii_whitespace().collect(), answer.split_ascii_whitespace().collect());
    let ([_method, target, _version], [status, size]) = (&request[..], &answer[..]) else { return None };
    let bytes = if *size == "-" { 0 } else { number(size)? };
    let status = u16::try_from(number(status).filter(|_| status.len() == 3)?).ok()?;
    let path = target.split('?').next().unwrap_or_default();
    Some(Request {
        path: path.split('/').map(segment).collect::<Vec<_>>().join("/"),
        status: (100..600).contains(&status).then_some(status)?,
        bytes,
        ms: number(time.strip_prefix(' ')?)?,
    })
}

fn number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

fn segment(text: &str) -> &str {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) { ":id" } else { text }
}

#[cfg(test)]
mod tests {
    use super::Reference;

    const HEAD: &str = "203.0.113.7 - - [20/Nov/2026:10:00:00 +0000]";

    fn report(lines: &[&str]) -> super::Report {
        let mut reference = Reference::default();
        for rest in lines {
            reference.line(&format!("{HEAD} {rest}"));
        }
        reference.report()
    }

    #[test]
    fn ids_and_queries_do_not_make_a_new_path() {
        let report = report(&[
            r#""GET /orders/17/lines?x=1 HTTP/1.1" 200 10 "-" "-" 4"#,
            r#""GET /orders/2/lines HTTP/1.1" 503 5 "-" "-" 9"#,
            r#""GET /orders/17b HTTP/1.1" 304 - "-" "-" 9999"#,
        ]);
        let paths: Vec<_> =
            report.top_paths.iter().map(|top| (&*top.path, top.hits, top.errors, top.mean_ms)).collect();
        assert_eq!(paths, [("/orders/:id/lines", 2, 1, 6), ("/orders/17b", 1, 0, 9_999)]);
        assert_eq!((report.bytes, report.p50_ms, report.p99_ms), (15, Some(10), None));
    }

    #[test]
    fn what_is_not_of_the_format_is_counted_apart() {
        let report = report(&[
            r#""\x16\x03" 400 0 "-" "-" 0"#,
            r#""GET / HTT"#,
            r#""GET / HTTP/1.1" 900 0 "-" "-" 0"#,
            r#""GET / HTTP/1.1" 200 0 "-" "-" fast"#,
            r#""GET / HTTP/1.1" 200 0 "-" "-" 1"#,
        ]);
        assert_eq!((report.lines, report.malformed, report.latency[0]), (5, 4, 1));
    }
}
