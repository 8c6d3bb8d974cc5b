//! Requests about queues: their names and their rules.

use std::time::Duration;

use mcp_engine::QueueKey;
use mcp_proto::{
    Error,
    scheduler::v1::{GetQueueScalingRequest, QueueRules, Rate},
};

use super::{
    fields::{Violations, duration, length_fault, namespace_fault, queue_fault},
    spec::{KEY_BYTES_MAX, NAME_DEFAULT},
};

/// Lowest and highest rate, in starts a second.
const PER_SECOND: std::ops::RangeInclusive<f64> = 0.001..=1_000_000.0;
/// Most starts that may be saved up.
const BURST_MAX: u32 = 1_000_000;
/// Keys that may have a weight.
const WEIGHTS_MAX: usize = 1_000;
/// Least and most weight.
const WEIGHT: std::ops::RangeInclusive<u32> = 1..=1_000;

/// Most slots that one worker may be said to have.
const SLOTS_PER_WORKER_MAX: u32 = 100_000;
/// How soon what waits is to be started, when nothing is said.
const TARGET_WAIT_DEFAULT: Duration = Duration::from_secs(30);
/// Shortest and longest of that.
const TARGET_WAIT: std::ops::RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(24 * 3600);

/// What workers are to be scaled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ScalingTarget {
    /// Slots of one worker; 0 means those that the workers have.
    pub(crate) slots_per_worker: u32,
    /// How soon what waits is to be started.
    pub(crate) wait: Duration,
}

/// The queue, and what its workers are to be scaled for.
///
/// # Errors
/// `INVALID_ARGUMENT`.
pub(crate) fn queue_scaling(request: &GetQueueScalingRequest) -> Result<(QueueKey, ScalingTarget), Error> {
    let mut violations = Violations::default();
    let key = named(&request.namespace, &request.queue, &mut violations);
    let slots_per_worker = request.slots_per_worker;
    if slots_per_worker > SLOTS_PER_WORKER_MAX {
        violations.add("slots_per_worker", format!("is {slots_per_worker}; it must be at most {SLOTS_PER_WORKER_MAX}"));
    }
    let wait = match request.target_wait.map(duration) {
        None => TARGET_WAIT_DEFAULT,
        Some(Ok(wait)) if TARGET_WAIT.contains(&wait) => wait,
        Some(wait) => {
            violations.add("target_wait", wait.err().unwrap_or_else(|| "must be 100 ms to 24 h".to_owned()));
            TARGET_WAIT_DEFAULT
        }
    };
    violations.into_result()?;
    Ok((key, ScalingTarget { slots_per_worker, wait }))
}

/// The queue that a request names; empty names are `default`.
///
/// # Errors
/// `INVALID_ARGUMENT`.
pub(crate) fn queue(namespace: &str, queue: &str) -> Result<QueueKey, Error> {
    let mut violations = Violations::default();
    let key = named(namespace, queue, &mut violations);
    violations.into_result()?;
    Ok(key)
}

/// The namespace whose queues are wanted; `None` means any.
///
/// # Errors
/// `INVALID_ARGUMENT`.
pub(crate) fn namespace(namespace: &str) -> Result<Option<String>, Error> {
    if namespace.is_empty() {
        return Ok(None);
    }
    namespace_fault(namespace).map_or(Ok(Some(namespace.to_owned())), |fault| Err(Error::invalid("namespace", fault)))
}

/// A queue and its checked rules, defaults filled in.
///
/// # Errors
/// `INVALID_ARGUMENT`.
pub(crate) fn queue_rules(
    namespace: &str,
    queue: &str,
    rules: Option<QueueRules>,
) -> Result<(QueueKey, QueueRules), Error> {
    let mut violations = Violations::default();
    let key = named(namespace, queue, &mut violations);
    let mut rules = rules.unwrap_or_default();
    check_rate("rules.rate", rules.rate.as_mut(), &mut violations);
    check_rate("rules.key_rate", rules.key_rate.as_mut(), &mut violations);
    if rules.weights.len() > WEIGHTS_MAX {
        let fault = format!("has {} entries; at most {WEIGHTS_MAX} are allowed", rules.weights.len());
        violations.add("rules.weights", fault);
    }
    for (key, weight) in rules.weights.iter().take(WEIGHTS_MAX) {
        if let Some(fault) = length_fault(key, KEY_BYTES_MAX) {
            violations.add("rules.weights", format!("a key {fault}"));
        }
        if !WEIGHT.contains(weight) {
            violations.add(format_args!("rules.weights[{key}]"), format!("is {weight}; it must be 1 to 1,000"));
        }
    }
    violations.into_result()?;
    Ok((key, rules))
}

/// The queue that is named, wrong or not.
pub(super) fn named(namespace: &str, queue: &str, violations: &mut Violations) -> QueueKey {
    let or_default = |name| if str::is_empty(name) { NAME_DEFAULT } else { name };
    let (namespace, queue) = (or_default(namespace), or_default(queue));
    if let Some(fault) = namespace_fault(namespace) {
        violations.add("namespace", fault);
    }
    if let Some(fault) = queue_fault(queue) {
        violations.add("queue", fault);
    }
    QueueKey { namespace: namespace.into(), queue: queue.into() }
}

fn check_rate(field: &str, rate: Option<&mut Rate>, violations: &mut Violations) {
    let Some(rate) = rate else { return };
    if !PER_SECOND.contains(&rate.per_second) {
        let fault = format!("is {}; it must be 0.001 to 1,000,000", rate.per_second);
        violations.add(format_args!("{field}.per_second"), fault);
    }
    if rate.burst > BURST_MAX {
        let fault = format!("is {}; it must be 1 to {BURST_MAX}, or 0 for 1", rate.burst);
        violations.add(format_args!("{field}.burst"), fault);
    }
    rate.burst = rate.burst.max(1);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bound_of_the_rules_is_held_and_named() {
        let rate = |per_second, burst| Some(Rate { per_second, burst });
        let right = QueueRules {
            rate: rate(0.001, 0),
            key_rate: rate(1e6, 1_000_000),
            weights: (0..1_000).map(|n| (n.to_string(), n + 1)).collect(),
            ..QueueRules::default()
        };
        let (key, rules) = queue_rules("", "", Some(right)).unwrap();
        assert_eq!((&*key.namespace, &*key.queue, rules.rate.unwrap().burst), ("default", "default", 1));
        let weights = |weights: &[(&str, u32)]| QueueRules {
            weights: weights.iter().map(|(key, weight)| ((*key).to_owned(), *weight)).collect(),
            ..QueueRules::default()
        };
        let of_rate = |rate| QueueRules { rate, ..QueueRules::default() };
        for (rules, field) in [
            (of_rate(rate(0.0, 1)), "rules.rate.per_second"),
            (of_rate(rate(f64::NAN, 1)), "rules.rate.per_second"),
            (of_rate(rate(1.0, 1_000_001)), "rules.rate.burst"),
            (QueueRules { key_rate: rate(-1.0, 1), ..QueueRules::default() }, "rules.key_rate.per_second"),
            (weights(&[("a", 0)]), "rules.weights[a]"),
            (weights(&[("a", 1_001)]), "rules.weights[a]"),
            (weights(&[(&"x".repeat(201), 1)]), "rules.weights"),
            (
                QueueRules { weights: (0..1_001).map(|n| (n.to_string(), 1)).collect(), ..QueueRules::default() },
                "rules.weights",
            ),
        ] {
            let error = queue_rules("n", "q", Some(rules)).unwrap_err();
            assert_eq!(error.violations()[0].field, field);
        }
        assert_eq!(queue("N", "q/q").unwrap_err().violations().len(), 2);
        assert_eq!(namespace("").unwrap(), None);
        assert!(namespace("NO").is_err());
    }
}
