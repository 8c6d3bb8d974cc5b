//! How the calls of a route are balanced over instances, and what is done when instances are in trouble: plain data,
//! read from a route or a named policy, and checked before it is used.
//!
//! What is *known* about an instance (latency, ejection, breaker) belongs to the instance and is the same for every
//! route; a policy only says what is made of it.

mod check;
mod codes;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tonic::Code;

pub use self::codes::Codes;

/// Everything about the instances that a call may go to, and how. The default is what a call without a route gets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// Which instance takes a call.
    pub balancer: Balancer,
    /// How long an instance that is new, or back from an ejection, takes less than its share; it grows evenly from a
    /// tenth to all of it. 0: it takes its share at once.
    #[serde(with = "humantime_serde")]
    pub slow_start: Duration,
    /// Instances near the gateway.
    pub zone: Zone,
    /// When less than this share of the instances is fit, ejections are ignored: calls spread over all rather than
    /// crush the few that are left. 0 to 100; 0: never.
    pub panic_percent: u8,
    /// Statuses that say that the instance, not the call, is in trouble. A broken connection always does, and so does
    /// an answer that did not come in time.
    pub failures: Codes,
    /// Instances that fail where others do not are left alone for a while.
    pub ejection: Ejection,
    /// Nothing is sent to an instance that fails most calls.
    pub breaker: Breaker,
    /// Calls are repeated elsewhere.
    pub retry: Retry,
    /// A second instance is asked when the first is slow. `None`: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hedge: Option<Hedge>,
    /// The calls in flight on an instance are kept where its latency is good. `None`: only the connections limit them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<Concurrency>,
}

/// Which of the instances takes a call.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Balancer {
    /// Of two drawn at random, the one where latency times calls in flight, by weight, is less.
    #[default]
    PeakEwma,
    /// One after the other.
    RoundRobin,
    /// One after the other, each as often as its weight says.
    Weighted,
    /// Of two drawn at random, the one with fewer calls in flight, by weight.
    LeastRequest,
    /// The same instance for the same value of a header, as long as it is there; without the header, any.
    RingHash {
        /// The header, for instance `x-user`.
        header: String,
    },
}

/// Preference of instances in the gateway's own zone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Zone {
    /// True: calls stay in the zone while it has enough fit instances.
    pub prefer: bool,
    /// Enough: this share of the zone's own instances is fit, 1 to 100.
    pub fit_percent_min: u8,
}

/// When an instance is left alone because it does worse than others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ejection {
    /// Failures in a row that eject it. 0: nothing is ejected.
    pub consecutive_failures: u32,
    /// How long it is left alone the first time; each time in a row once more.
    #[serde(with = "humantime_serde")]
    pub base: Duration,
    /// Longest time.
    #[serde(with = "humantime_serde")]
    pub max: Duration,
    /// Share of the instances that may be ejected at a time, 0 to 100. The last one never is.
    pub percent_max: u8,
}

/// When nothing is sent to an instance at all, not even when there is no other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Breaker {
    /// Share of the calls of the last ten seconds that must fail, 1 to 100. 0: it never opens.
    pub failure_percent: u8,
    /// Calls in these ten seconds before the share counts.
    pub calls_min: u32,
    /// How long it stays open the first time; twice as long each time that a probe fails.
    #[serde(with = "humantime_serde")]
    pub open: Duration,
    /// Longest time.
    #[serde(with = "humantime_serde")]
    pub open_max: Duration,
    /// Half open: calls that are let through at a time, and that must succeed before it closes.
    pub probes: u32,
}

/// When a call is repeated.
///
/// A call of which nothing was sent, or which the instance refused unread, is always safe to repeat; any other only
/// if its method is (`idempotency_level`, a `GET` binding) or the route says so. Nothing is repeated once the first
/// byte of an answer is there, past the deadline, or beyond the budget.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retry {
    /// Attempts in all, the first included, 1 to 10. 1: nothing is repeated.
    pub attempts: u32,
    /// Statuses after which a safe call is repeated. Not RESOURCE_EXHAUSTED: who is overloaded wants no more calls.
    pub codes: Codes,
    /// The route declares every one of its calls safe to repeat.
    pub safe: bool,
    /// Longest wait before the first repeat; it doubles for each further one. The wait is random, from nothing up.
    #[serde(with = "humantime_serde")]
    pub backoff: Duration,
    /// Longest wait.
    #[serde(with = "humantime_serde")]
    pub backoff_max: Duration,
    /// How long one attempt may take to begin its answer; the last has the rest of the deadline. `None`: no limit but
    /// the deadline.
    #[serde(with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    pub attempt_timeout: Option<Duration>,
    /// Repeats as a share of the calls of the last ten seconds, 0 to 100.
    pub budget_percent: u8,
    /// Repeats per second that are always allowed, so that few calls can be repeated too.
    pub budget_min_per_second: u32,
    /// Bytes of a streamed request that are kept for a repeat; a longer one is not repeated.
    pub body_bytes_max: usize,
}

/// When a second instance is asked. Only calls that are safe to repeat are; each takes from the retry budget.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hedge {
    /// How long the first may take to begin its answer.
    #[serde(with = "humantime_serde")]
    pub after: Duration,
}

/// Limits that follow an instance's latency.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Concurrency {
    /// Least calls in flight on one instance, by data-plane thread.
    pub min: u32,
    /// Most.
    pub max: u32,
    /// Where it begins.
    pub initial: u32,
    /// How much slower than usual answers may be, in percent, before the limit falls: 150 is half as slow again.
    pub tolerance_percent: u32,
}

/// Who waits when not all can be served: calls of low priority are refused first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// Refused first.
    Low,
    /// Refused when only high ones fit.
    #[default]
    Normal,
    /// Refused last.
    High,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            balancer: Balancer::default(),
            slow_start: Duration::ZERO,
            zone: Zone::default(),
            panic_percent: 50,
            failures: Codes::from([Code::Internal, Code::Unavailable, Code::DataLoss]),
            ejection: Ejection::default(),
            breaker: Breaker::default(),
            retry: Retry::default(),
            hedge: None,
            concurrency: None,
        }
    }
}

impl Default for Zone {
    fn default() -> Self {
        Self { prefer: false, fit_percent_min: 70 }
    }
}

impl Default for Ejection {
    fn default() -> Self {
        Self { consecutive_failures: 5, base: Duration::from_secs(5), max: Duration::from_secs(60), percent_max: 50 }
    }
}

impl Default for Breaker {
    fn default() -> Self {
        Self {
            failure_percent: 50,
            calls_min: 20,
            open: Duration::from_millis(500),
            open_max: Duration::from_secs(2),
            probes: 3,
        }
    }
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: 3,
            codes: Codes::from([Code::Unavailable]),
            safe: false,
            backoff: Duration::from_millis(25),
            backoff_max: Duration::from_secs(1),
            attempt_timeout: None,
            budget_percent: 20,
            budget_min_per_second: 1,
            body_bytes_max: 64 * 1024,
        }
    }
}

impl Default for Concurrency {
    fn default() -> Self {
        Self { min: 4, max: 1_000, initial: 50, tolerance_percent: 150 }
    }
}
