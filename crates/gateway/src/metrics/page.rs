//! Adds the sheets of all threads up and writes them down.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
};

use mcp_chassis::metrics::{Exposition, Kind, Labels};

use super::{
    histogram::{Count, Histogram, Sum},
    labels::{Answered, CODES, Packed, Protocol, code_name},
    sheet::{Sheet, lock},
};

/// Names of the families.
pub(super) const ROUTE_REQUESTS: &str = "mcp_gateway_requests";
const ROUTE_SECONDS: &str = "mcp_gateway_request_duration_seconds";
pub(super) const UPSTREAM_REQUESTS: &str = "mcp_gateway_upstream_requests";
const LOST_LINES: &str = "mcp_gateway_access_log_lost_lines";
const UPSTREAM_SECONDS: &str = "mcp_gateway_upstream_request_duration_seconds";
/// Also the name of what is pushed, see [`Pushed`](super::instruments::Pushed).
pub(super) const CALL_SECONDS: &str = "mcp_gateway_call_duration_seconds";

/// Everything that is on the sheets, added up.
#[derive(Debug, Default)]
struct Page {
    requests: BTreeMap<(Box<str>, Packed), (Answered, u64)>,
    request_seconds: BTreeMap<(Box<str>, Protocol), Sum>,
    upstreams: BTreeMap<Box<str>, (Sum, [u64; CODES])>,
    calls: BTreeMap<(Box<str>, Box<str>, Protocol, usize), Sum>,
}

/// Writes the sheets down, and how many lines of the access log were lost.
pub(crate) fn write(sheets: &[Arc<Sheet>], lost: u64, page: &mut Exposition) {
    Page::of(sheets).write(page);
    page.family(LOST_LINES, "Lines of the access log that could not be written", Kind::Counter);
    page.counter(LOST_LINES, &[], exact(lost));
}

/// Tells what was counted by route: labels and count.
pub(super) fn each_request(sheets: &[Arc<Sheet>], mut tell: impl FnMut(Labels<'_>, u64)) {
    Page::of(sheets).each_request(&mut tell);
}

/// Tells what was counted by upstream: labels and count.
pub(super) fn each_upstream(sheets: &[Arc<Sheet>], mut tell: impl FnMut(Labels<'_>, u64)) {
    Page::of(sheets).each_upstream(&mut tell);
}

impl Page {
    fn of(sheets: &[Arc<Sheet>]) -> Self {
        let mut sums = Self::default();
        for sheet in sheets {
            sums.add(sheet);
        }
        sums
    }

    fn each_request(&self, tell: &mut dyn FnMut(Labels<'_>, u64)) {
        for ((route, _), (answered, count)) in &self.requests {
            let status = if answered.status == 0 { String::new() } else { answered.status.to_string() };
            let labels = [
                ("route", &**route),
                ("protocol", answered.protocol.name()),
                ("method", answered.verb.name()),
                ("status", &status),
                ("code", code_name(answered.code)),
            ];
            tell(&labels, *count);
        }
    }

    fn each_upstream(&self, tell: &mut dyn FnMut(Labels<'_>, u64)) {
        for (service, (_, codes)) in &self.upstreams {
            for (code, count) in (0..).zip(codes).filter(|(_, count)| **count > 0) {
                let labels = [("upstream", &**service), ("code", code_name(Some(tonic::Code::from_i32(code))))];
                tell(&labels, *count);
            }
        }
    }

    fn add(&mut self, sheet: &Sheet) {
        for (id, cells) in lock(&sheet.routes).iter() {
            for (packed, (answered, count)) in lock(&cells.answers).iter() {
                self.request((id.clone(), *packed), *answered, count);
            }
            for (protocol, histogram) in Protocol::ALL.into_iter().zip(&cells.durations) {
                add(&mut self.request_seconds, || (id.clone(), protocol), histogram.get().map(Box::as_ref));
            }
        }
        for (service, cells) in lock(&sheet.upstreams).iter() {
            let (sum, codes) = self.upstreams.entry(service.clone()).or_default();
            sum.add(&cells.duration);
            for (sum, count) in codes.iter_mut().zip(&cells.codes) {
                *sum += count.get();
            }
        }
        for ((service, name), cells) in lock(&sheet.methods).iter() {
            for (protocol, by_code) in Protocol::ALL.into_iter().zip(&cells.durations) {
                for (code, histogram) in by_code.iter().enumerate() {
                    let key = || (service.clone(), name.clone(), protocol, code);
                    add(&mut self.calls, key, histogram.get().map(Box::as_ref));
                }
            }
        }
    }

    fn request(&mut self, key: (Box<str>, Packed), answered: Answered, count: &Count) {
        match self.requests.entry(key) {
            Entry::Occupied(mut known) => known.get_mut().1 += count.get(),
            Entry::Vacant(vacant) => drop(vacant.insert((answered, count.get()))),
        }
    }

    fn write(&self, page: &mut Exposition) {
        page.family(ROUTE_REQUESTS, "Requests by route and how they were answered", Kind::Counter);
        self.each_request(&mut |labels, count| page.counter(ROUTE_REQUESTS, labels, exact(count)));
        let help = "Time from the head of a request to the end of its answer, by route";
        page.family(ROUTE_SECONDS, help, Kind::Histogram);
        for ((route, protocol), sum) in &self.request_seconds {
            histogram(page, ROUTE_SECONDS, &[("route", route), ("protocol", protocol.name())], sum);
        }
        page.family(UPSTREAM_REQUESTS, "Requests to instances, by service and gRPC status", Kind::Counter);
        self.each_upstream(&mut |labels, count| page.counter(UPSTREAM_REQUESTS, labels, exact(count)));
        let help = "Time from the start of a request to an instance to the end of its answer, by service";
        page.family(UPSTREAM_SECONDS, help, Kind::Histogram);
        for (service, (sum, _)) in &self.upstreams {
            histogram(page, UPSTREAM_SECONDS, &[("upstream", service)], sum);
        }
        page.family(CALL_SECONDS, "Time from the head of a call to the end of its answer, by method", Kind::Histogram);
        for ((service, name, protocol, code), sum) in &self.calls {
            let code = i32::try_from(*code).map(tonic::Code::from_i32).ok();
            let labels = [
                ("rpc_service", &**service),
                ("rpc_method", name),
                ("protocol", protocol.name()),
                ("code", code_name(code)),
            ];
            histogram(page, CALL_SECONDS, &labels, sum);
        }
    }
}

fn add<K: Ord>(sums: &mut BTreeMap<K, Sum>, key: impl FnOnce() -> K, histogram: Option<&Histogram>) {
    if let Some(histogram) = histogram {
        sums.entry(key()).or_default().add(histogram);
    }
}

fn histogram(page: &mut Exposition, name: &str, labels: Labels<'_>, sum: &Sum) {
    if !sum.is_empty() {
        page.histogram(name, labels, &sum.buckets(), sum.seconds());
    }
}

/// A count as the formats have it. Exact up to 2^53.
#[expect(clippy::cast_precision_loss, reason = "the formats know no other numbers")]
fn exact(count: u64) -> f64 {
    count as f64
}
