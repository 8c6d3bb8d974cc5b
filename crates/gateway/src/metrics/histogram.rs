//! Counts of durations by size, which one thread writes and others read.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use mcp_chassis::metrics::{Bucket, Exemplar};
use opentelemetry::trace::TraceId;

/// Upper bounds of the buckets, in seconds.
pub(super) const SECONDS: [f64; 13] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

/// The same in microseconds.
const MICROS: [u64; 13] =
    [500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 5_000_000, 30_000_000];

/// The bounds, and what is beyond.
const BUCKETS: usize = SECONDS.len() + 1;

/// A number that only grows. One thread writes it.
#[derive(Debug, Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    /// Adds to it. A load and a store: nobody else writes, so nothing is lost.
    pub(super) fn add(&self, more: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
    }

    /// What it is now.
    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The trace of a request that is recorded; `None`: it is not.
pub(crate) type Mark = Option<TraceId>;

/// One request of a bucket.
#[derive(Debug, Clone, Copy)]
struct Example {
    trace_id: TraceId,
    duration: Duration,
    at: SystemTime,
}

type Examples = Box<[Option<Example>; BUCKETS]>;

/// Durations. One thread writes it.
#[derive(Debug, Default)]
pub(super) struct Histogram {
    counts: [Count; BUCKETS],
    nanos: Count,
    /// The newest recorded trace of each bucket. Only requests whose trace is recorded take the lock.
    examples: Mutex<Option<Examples>>,
}

impl Histogram {
    /// Counts one.
    pub(super) fn record(&self, duration: Duration, mark: Mark) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        // A bound belongs to its bucket; what is less than a microsecond over it does too.
        let index = MICROS.iter().position(|bound| micros <= *bound).unwrap_or(SECONDS.len());
        self.counts[index].add(1);
        self.nanos.add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
        if let Some(trace_id) = mark {
            let mut examples = self.examples.lock().unwrap_or_else(PoisonError::into_inner);
            let example = Example { trace_id, duration, at: SystemTime::now() };
            examples.get_or_insert_with(|| Box::new([None; BUCKETS]))[index] = Some(example);
        }
    }
}

/// Several histograms in one.
#[derive(Debug, Default)]
pub(super) struct Sum {
    counts: [u64; BUCKETS],
    nanos: u64,
    examples: [Option<Example>; BUCKETS],
}

impl Sum {
    /// Adds what a histogram has. Of two examples the newer counts.
    pub(super) fn add(&mut self, histogram: &Histogram) {
        for (sum, count) in self.counts.iter_mut().zip(&histogram.counts) {
            *sum += count.get();
        }
        self.nanos += histogram.nanos.get();
        let examples = histogram.examples.lock().unwrap_or_else(PoisonError::into_inner);
        for (known, found) in self.examples.iter_mut().zip(examples.iter().flat_map(|examples| examples.iter())) {
            if found.is_some_and(|found| known.is_none_or(|known| known.at < found.at)) {
                *known = *found;
            }
        }
    }

    /// The buckets, each with those before it.
    pub(super) fn buckets(&self) -> Vec<Bucket> {
        let mut count = 0;
        let bounds = SECONDS.into_iter().chain([f64::INFINITY]);
        let buckets = bounds.zip(self.counts).zip(self.examples).map(|((le, more), example)| {
            count += more;
            let exemplar = example.map(|example| Exemplar {
                trace_id: example.trace_id.to_string(),
                value: example.duration.as_secs_f64(),
                at: example.at,
            });
            Bucket { le, count, exemplar }
        });
        buckets.collect()
    }

    /// All durations together, in seconds.
    pub(super) fn seconds(&self) -> f64 {
        Duration::from_nanos(self.nanos).as_secs_f64()
    }

    /// True when nothing was counted.
    pub(super) fn is_empty(&self) -> bool {
        self.counts.iter().all(|count| *count == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_in_the_bucket_of_its_bound_with_its_trace() {
        for (seconds, micros) in SECONDS.iter().zip(MICROS) {
            assert!((seconds - Duration::from_micros(micros).as_secs_f64()).abs() < 1e-9);
        }
        let (one, two) = (Histogram::default(), Histogram::default());
        one.record(Duration::from_micros(500), None);
        one.record(Duration::from_micros(501), Some(TraceId::from(7_u128)));
        two.record(Duration::from_secs(60), Some(TraceId::from(8_u128)));
        let mut sum = Sum::default();
        sum.add(&one);
        sum.add(&two);
        let buckets = sum.buckets();
        assert_eq!((buckets[0].count, buckets[1].count, buckets[12].count, buckets[13].count), (1, 2, 2, 3));
        let trace = |index: usize| buckets[index].exemplar.as_ref().map(|exemplar| exemplar.trace_id.clone());
        assert_eq!((trace(0), trace(1), trace(13)), (None, Some(format!("{:032x}", 7)), Some(format!("{:032x}", 8))));
        assert!((sum.seconds() - 60.001_001).abs() < 1e-9, "{}", sum.seconds());
    }
}
