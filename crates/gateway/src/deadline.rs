//! Deadlines: what callers ask for and what is passed on.

use std::{future::Future, pin::Pin, task::Context, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue};
use mcp_proto::{Code, Error};
use tokio::time::{Instant, Sleep, sleep_until};

/// gRPC's header: up to eight digits and a unit.
pub(crate) const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// The same for people: `30s`, `1m 30s`, or a number of seconds. HTTP callers only.
pub(crate) const X_TIMEOUT: HeaderName = HeaderName::from_static("x-timeout");

/// Most digits of a `grpc-timeout`. Source: gRPC over HTTP/2, "TimeoutValue".
const DIGITS_MAX: usize = 8;

/// Longer timeouts count as none: 10 years.
const TIMEOUT_MAX: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// Wakes a body when its call's deadline passes.
#[derive(Debug)]
pub(crate) struct Timer {
    /// The deadline.
    pub(crate) at: Instant,
    sleep: Pin<Box<Sleep>>,
}

impl Timer {
    /// A timer for a deadline.
    pub(crate) fn new(at: Instant) -> Self {
        Self { at, sleep: Box::pin(sleep_until(at)) }
    }

    /// True once the deadline has passed; until then `cx` is woken when it does.
    pub(crate) fn has_passed(&mut self, cx: &mut Context<'_>) -> bool {
        self.sleep.as_mut().poll(cx).is_ready()
    }
}

/// The deadline that `grpc-timeout` sets, counted from `now`.
///
/// # Errors
/// `INVALID_ARGUMENT` when it is malformed.
pub(crate) fn of_grpc(headers: &HeaderMap, now: Instant) -> Result<Option<Instant>, Error> {
    let Some(value) = headers.get(GRPC_TIMEOUT) else {
        return Ok(None);
    };
    match value.to_str().ok().and_then(parse) {
        Some(timeout) => Ok(after(now, timeout)),
        None => {
            Err(Error::invalid("grpc-timeout", "must be up to eight digits and one of `H`, `M`, `S`, `m`, `u`, `n`"))
        }
    }
}

/// The deadline that an HTTP caller sets by `grpc-timeout` or `x-timeout`, counted from `now`.
///
/// # Errors
/// `INVALID_ARGUMENT` when it is malformed.
pub(crate) fn of_http(headers: &HeaderMap, now: Instant) -> Result<Option<Instant>, Error> {
    let Some(value) = headers.get(X_TIMEOUT) else {
        return of_grpc(headers, now);
    };
    let text = value.to_str().unwrap_or_default();
    let seconds = || text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    match humantime::parse_duration(text).ok().or_else(seconds) {
        Some(timeout) => Ok(after(now, timeout)),
        None => Err(Error::invalid("x-timeout", "must be a duration such as `30s` or a number of seconds")),
    }
}

/// What is left until `deadline`, as a `grpc-timeout`.
pub(crate) fn remaining(deadline: Instant, now: Instant) -> HeaderValue {
    format(deadline.saturating_duration_since(now))
}

/// `DEADLINE_EXCEEDED`.
pub(crate) fn exceeded() -> Error {
    Error::new(Code::DeadlineExceeded, "the deadline passed before the answer came")
}

fn after(now: Instant, timeout: Duration) -> Option<Instant> {
    (timeout <= TIMEOUT_MAX).then(|| now + timeout)
}

fn parse(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > DIGITS_MAX || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let value: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(value * 3600),
        "M" => Duration::from_secs(value * 60),
        "S" => Duration::from_secs(value),
        "m" => Duration::from_millis(value),
        "u" => Duration::from_micros(value),
        "n" => Duration::from_nanos(value),
        _ => return None,
    })
}

/// The finest unit in which the time has at most eight digits, so that little is lost.
fn format(timeout: Duration) -> HeaderValue {
    let units = [
        (timeout.as_nanos(), 'n'),
        (timeout.as_micros(), 'u'),
        (timeout.as_millis(), 'm'),
        (u128::from(timeout.as_secs()), 'S'),
        (u128::from(timeout.as_secs() / 60), 'M'),
    ];
    let (value, unit) = units
        .into_iter()
        .find(|(value, _)| *value < 100_000_000)
        .unwrap_or((u128::from(timeout.as_secs() / 3600).min(99_999_999), 'H'));
    HeaderValue::from_maybe_shared(format!("{value}{unit}")).expect("digits and a letter are a header value")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grpc_timeouts_are_read_and_written() {
        for (text, expected) in [
            ("1H", Some(3_600_000)),
            ("2M", Some(120_000)),
            ("3S", Some(3_000)),
            ("99999999m", Some(99_999_999)),
            ("5000u", Some(5)),
            ("5000000n", Some(5)),
            ("", None),
            ("S", None),
            ("-1S", None),
            ("1", None),
            ("1s", None),
            ("123456789S", None),
            ("1é", None),
        ] {
            assert_eq!(parse(text).map(|timeout| timeout.as_millis()), expected, "{text}");
        }
        for text in ["0n", "99999999n", "100000u", "100000m", "100000S", "1666667M"] {
            let timeout = parse(text).unwrap();
            assert_eq!(parse(format(timeout).to_str().unwrap()), Some(timeout), "{text}");
        }
    }

    #[test]
    fn an_http_caller_may_write_it_for_people() {
        let now = Instant::now();
        for (text, expected) in
            [("30s", Some(30.0)), ("1m 30s", Some(90.0)), ("2.5", Some(2.5)), ("-1", None), ("x", None)]
        {
            let headers = HeaderMap::from_iter([(X_TIMEOUT, HeaderValue::from_static(text))]);
            let read = of_http(&headers, now).ok().flatten().map(|at| (at - now).as_secs_f64());
            assert_eq!(read, expected, "{text}");
        }
    }
}
