//! Telling callers how they stand: `RateLimit` and `RateLimit-Policy`, and the older `RateLimit-Limit`, `-Remaining` and
//! `-Reset`. Pure.
//!
//! Source: draft-ietf-httpapi-ratelimit-headers (fields as of revisions 08 to 11): lists of items named after their
//! policy, with `q` (quota) and `w` (window) in the policy, `r` (remaining) and `t` (until it is restored) in the state,
//! all of them whole, times in seconds. Its revisions up to 07 had a field for each number, which many clients read and
//! which have no place for more than one limit: they speak of the one that has least left.

use std::{fmt::Write as _, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue};
use mcp_proto::{Code, Error};

use super::limiter::Decision;

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// Fields of the older revisions.
const LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("ratelimit-reset");

/// Adds the fields for the limits that a request met.
pub(crate) fn add(headers: &mut HeaderMap, decisions: &[Decision]) {
    if decisions.is_empty() {
        return;
    }
    let (mut states, mut policies) = (String::new(), String::new());
    for (index, decision) in decisions.iter().enumerate() {
        let comma = if index == 0 { "" } else { ", " };
        let Decision { name, quota: (requests, window), taken } = decision;
        let full_in = full_in(decision);
        // Writing to a text cannot fail.
        write!(states, "{comma}\"{name}\";r={};t={}", taken.remaining, seconds(full_in)).unwrap_or_default();
        write!(policies, "{comma}\"{name}\";q={requests};w={}", seconds(*window)).unwrap_or_default();
    }
    for (name, text) in [(RATE_LIMIT, states), (RATE_LIMIT_POLICY, policies)] {
        if let Ok(value) = HeaderValue::from_maybe_shared(text) {
            headers.insert(name, value);
        }
    }
    if let Some(least) = decisions.iter().min_by_key(|decision| (decision.taken.remaining, decision.is_allowed())) {
        headers.insert(LIMIT, HeaderValue::from(least.quota.0));
        headers.insert(REMAINING, HeaderValue::from(least.taken.remaining));
        headers.insert(RESET, HeaderValue::from(seconds(full_in(least))));
    }
}

/// How long until all of the quota is there again.
fn full_in(decision: &Decision) -> Duration {
    let taken = &decision.taken;
    taken.retry_after.map_or(taken.full_in, |wait| wait.max(taken.full_in))
}

/// The refusal, when one of the limits was met: the one to wait longest for.
pub(crate) fn refusal(decisions: &[Decision]) -> Option<Error> {
    let longest = decisions.iter().filter(|decision| !decision.is_allowed());
    let decision = longest.max_by_key(|decision| decision.taken.retry_after)?;
    let (requests, window) = decision.quota;
    let text = format!("the limit `{}` of {requests} calls in {window:?} is reached", decision.name);
    let wait = decision.taken.retry_after.unwrap_or_default();
    Some(Error::new(Code::RateLimited, text).with_retry_after(wait).with_metadata("limit", &*decision.name))
}

/// Rounded up, so that nobody comes too early.
fn seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::bucket::Taken;

    fn decision(name: &str, remaining: u32, retry_after: Option<Duration>) -> Decision {
        let taken = Taken { full_at: 0, remaining, full_in: Duration::from_millis(1_500), retry_after };
        Decision { name: name.into(), quota: (100, Duration::from_secs(60)), taken }
    }

    #[test]
    fn callers_are_told_in_the_form_of_the_draft() {
        let decisions = [decision("ip", 7, None), decision("user", 0, Some(Duration::from_millis(200)))];
        let mut headers = HeaderMap::new();
        add(&mut headers, &decisions);
        assert_eq!(headers["ratelimit"], "\"ip\";r=7;t=2, \"user\";r=0;t=2");
        assert_eq!(headers["ratelimit-policy"], "\"ip\";q=100;w=60, \"user\";q=100;w=60");
        let older = ["limit", "remaining", "reset"].map(|name| headers[&format!("ratelimit-{name}")].clone());
        assert_eq!(older, ["100", "0", "2"], "of the limit that has least left");
        let error = refusal(&decisions).unwrap();
        assert_eq!((error.code(), error.retry_after()), (Code::RateLimited, Some(Duration::from_millis(200))));
        assert_eq!(refusal(&decisions[..1]), None);
        let mut none = HeaderMap::new();
        add(&mut none, &[]);
        assert!(none.is_empty());
    }
}
