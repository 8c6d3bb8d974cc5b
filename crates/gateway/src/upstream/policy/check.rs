//! What a policy must fulfil.

use std::time::Duration;

use http::HeaderName;
use mcp_proto::error::FieldViolation;
use tonic::Code;

use super::{Balancer, Policy};

/// Most attempts of one call.
const ATTEMPTS_MAX: u32 = 10;

/// Most bytes of a streamed request that may be kept.
const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Longest of all times here: a day.
const TIME_MAX: Duration = Duration::from_secs(24 * 3600);

/// Most calls or repeats of anything here.
const COUNT_MAX: u32 = 1_000_000;

/// Collects what is wrong.
struct Faults(Vec<FieldViolation>);

impl Faults {
    fn add(&mut self, field: &str, description: String) {
        self.0.push(FieldViolation { field: field.into(), description });
    }

    fn range<T: PartialOrd + std::fmt::Debug>(&mut self, field: &str, value: &T, (min, max): (T, T)) {
        if *value < min || *value > max {
            self.add(field, format!("is {value:?}, must be from {min:?} to {max:?}"));
        }
    }

    fn order<T: PartialOrd + std::fmt::Debug>(&mut self, (field, value): (&str, &T), (other, least): (&str, &T)) {
        if value < least {
            self.add(field, format!("is {value:?}, less than `{other}`, {least:?}"));
        }
    }
}

impl Policy {
    /// Everything that is wrong with it, by field; empty when it can be used.
    pub fn faults(&self) -> Vec<FieldViolation> {
        let mut faults = Faults(Vec::new());
        if let Balancer::RingHash { header } = &self.balancer
            && HeaderName::try_from(header.as_str()).is_err()
        {
            faults.add("balancer.header", format!("is `{header}`, which is not the name of a header"));
        }
        faults.range("slow_start", &self.slow_start, (Duration::ZERO, TIME_MAX));
        faults.range("zone.fit_percent_min", &self.zone.fit_percent_min, (1, 100));
        faults.range("panic_percent", &self.panic_percent, (0, 100));
        if self.failures.has(Code::Ok) {
            faults.add("failures", "has `OK`, which is no failure".into());
        }
        self.health(&mut faults);
        self.repeats(&mut faults);
        if let Some(concurrency) = &self.concurrency {
            faults.range("concurrency.min", &concurrency.min, (1, COUNT_MAX));
            faults.range("concurrency.max", &concurrency.max, (1, COUNT_MAX));
            faults.order(("concurrency.max", &concurrency.max), ("concurrency.min", &concurrency.min));
            faults.range("concurrency.initial", &concurrency.initial, (concurrency.min, concurrency.max));
            faults.range("concurrency.tolerance_percent", &concurrency.tolerance_percent, (100, 1_000));
        }
        faults.0
    }

    fn health(&self, faults: &mut Faults) {
        let (ejection, breaker) = (&self.ejection, &self.breaker);
        let least = Duration::from_millis(1);
        faults.range("ejection.consecutive_failures", &ejection.consecutive_failures, (0, COUNT_MAX));
        faults.range("ejection.base", &ejection.base, (least, TIME_MAX));
        faults.range("ejection.max", &ejection.max, (least, TIME_MAX));
        faults.order(("ejection.max", &ejection.max), ("ejection.base", &ejection.base));
        faults.range("ejection.percent_max", &ejection.percent_max, (0, 100));
        faults.range("breaker.failure_percent", &breaker.failure_percent, (0, 100));
        faults.range("breaker.calls_min", &breaker.calls_min, (1, COUNT_MAX));
        faults.range("breaker.open", &breaker.open, (least, TIME_MAX));
        faults.range("breaker.open_max", &breaker.open_max, (least, TIME_MAX));
        faults.order(("breaker.open_max", &breaker.open_max), ("breaker.open", &breaker.open));
        faults.range("breaker.probes", &breaker.probes, (1, 1_000));
    }

    fn repeats(&self, faults: &mut Faults) {
        let retry = &self.retry;
        faults.range("retry.attempts", &retry.attempts, (1, ATTEMPTS_MAX));
        if retry.codes.has(Code::Ok) {
            faults.add("retry.codes", "has `OK`, after which there is nothing to repeat".into());
        }
        if retry.codes.has(Code::ResourceExhausted) {
            faults.add("retry.codes", "has `RESOURCE_EXHAUSTED`: a repeat would make an overload worse".into());
        }
        faults.range("retry.backoff", &retry.backoff, (Duration::ZERO, TIME_MAX));
        faults.range("retry.backoff_max", &retry.backoff_max, (Duration::ZERO, TIME_MAX));
        faults.order(("retry.backoff_max", &retry.backoff_max), ("retry.backoff", &retry.backoff));
        let least = Duration::from_millis(1);
        if let Some(timeout) = &retry.attempt_timeout {
            faults.range("retry.attempt_timeout", timeout, (least, TIME_MAX));
        }
        faults.range("retry.budget_percent", &retry.budget_percent, (0, 100));
        faults.range("retry.budget_min_per_second", &retry.budget_min_per_second, (0, COUNT_MAX));
        faults.range("retry.body_bytes_max", &retry.body_bytes_max, (0, BODY_BYTES_MAX));
        if let Some(hedge) = &self.hedge {
            faults.range("hedge.after", &hedge.after, (least, TIME_MAX));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_right_and_survives_being_written() {
        let policy = Policy::default();
        assert_eq!(policy.faults(), []);
        let text = serde_json::to_string(&policy).unwrap();
        assert_eq!(serde_json::from_str::<Policy>(&text).unwrap(), policy);
        assert_eq!(serde_json::from_str::<Policy>("{}").unwrap(), policy);
    }

    #[test]
    fn what_is_wrong_is_named_by_its_field() {
        for (text, field, expected) in [
            (r#"{"balancer": {"kind": "ring_hash", "header": "x user"}}"#, "balancer.header", "not the name"),
            (r#"{"panic_percent": 101}"#, "panic_percent", "is 101, must be from 0 to 100"),
            (r#"{"zone": {"fit_percent_min": 0}}"#, "zone.fit_percent_min", "from 1 to 100"),
            (r#"{"failures": ["OK"]}"#, "failures", "no failure"),
            (r#"{"ejection": {"base": "2h"}}"#, "ejection.max", "less than `ejection.base`, 7200s"),
            (r#"{"breaker": {"open": "0s"}}"#, "breaker.open", "must be from 1ms"),
            (r#"{"breaker": {"probes": 0}}"#, "breaker.probes", "from 1 to"),
            (r#"{"retry": {"attempts": 11}}"#, "retry.attempts", "from 1 to 10"),
            (r#"{"retry": {"codes": ["RESOURCE_EXHAUSTED"]}}"#, "retry.codes", "overload worse"),
            (r#"{"retry": {"body_bytes_max": 5000000}}"#, "retry.body_bytes_max", "to 4194304"),
            (r#"{"hedge": {"after": "0s"}}"#, "hedge.after", "from 1ms"),
            (r#"{"concurrency": {"min": 60}}"#, "concurrency.initial", "from 60 to 1000"),
        ] {
            let policy: Policy = serde_json::from_str(text).unwrap();
            let faults = policy.faults();
            let [fault] = faults.as_slice() else {
                panic!("{text}: {faults:?}");
            };
            assert_eq!(fault.field, field);
            assert!(fault.description.contains(expected), "{text}: {}", fault.description);
        }
    }

    #[test]
    fn a_field_that_does_not_exist_is_refused() {
        for text in [r#"{"retries": {}}"#, r#"{"retry": {"attempt": 1}}"#, r#"{"balancer": {"kind": "random"}}"#] {
            assert!(serde_json::from_str::<Policy>(text).is_err(), "{text}");
        }
    }
}
