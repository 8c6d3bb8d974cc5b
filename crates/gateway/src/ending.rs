//! How a call to an instance ended, in the catalogue's terms.

use std::error::Error as StdError;

use http::{HeaderMap, HeaderValue};
use mcp_proto::{Code, Error};
use tokio::time::Instant;
use tonic::Status;

use crate::{deadline, form};

/// What tonic's servers say, under CANCELLED, when `grpc-timeout` ran out on them.
const TONIC_TIMEOUT: &[u8] = b"Timeout%20expired";

/// How a call that was sent broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Break {
    /// The instance is going away and has not looked at it.
    GoneAway,
    /// The instance refused it unread.
    Refused,
    /// What the instance did is not known.
    Broken,
}

impl Break {
    /// What an HTTP/2 error says about the call.
    pub(crate) fn of(error: &h2::Error) -> Self {
        match error.reason() {
            // After a GOAWAY only those streams fail that the instance has not looked at.
            Some(h2::Reason::NO_ERROR) if error.is_remote() && error.is_go_away() => Self::GoneAway,
            Some(h2::Reason::REFUSED_STREAM) => Self::Refused,
            _ => Self::Broken,
        }
    }
}

/// What HTTP/2 says, among the causes of an error.
pub(crate) fn h2_cause<'e>(error: &'e (dyn StdError + 'static)) -> Option<&'e h2::Error> {
    std::iter::successors(Some(error), |error| (*error).source()).find_map(|error| error.downcast_ref::<h2::Error>())
}

/// The error for a call that was sent and broke: `UNAVAILABLE` when the instance certainly did nothing with it,
/// `UPSTREAM_FAILED` when that is not known.
pub(crate) fn failure(error: &h2::Error) -> Error {
    match Break::of(error) {
        Break::GoneAway | Break::Refused => {
            Error::new(Code::Unavailable, "the instance refused the call: it is stopping, or has too many")
        }
        Break::Broken => Error::new(Code::UpstreamFailed, format!("the instance broke off the call: {error}")),
    }
}

/// An answer that ended without saying how.
pub(crate) fn without_status() -> Error {
    Error::new(Code::UpstreamFailed, "the instance ended its answer without a status")
}

/// The status in an answer's head or trailers, or `None` when there is none. A server that ended the call because our
/// `grpc-timeout` ran out gets the catalogue's `DEADLINE_EXCEEDED` instead of what it said.
pub(crate) fn judge(headers: &mut HeaderMap, deadline: Option<Instant>) -> Option<tonic::Code> {
    let code = tonic::Code::from_bytes(headers.get(Status::GRPC_STATUS)?.as_bytes());
    let timed_out = code == tonic::Code::Cancelled
        && deadline.is_some_and(|at| {
            let message = headers.get(Status::GRPC_MESSAGE).map(HeaderValue::as_bytes);
            at <= Instant::now() || message == Some(TONIC_TIMEOUT)
        });
    if !timed_out {
        return Some(code);
    }
    let error = deadline::exceeded();
    let code = error.code().grpc();
    for (name, value) in &form::trailers(error) {
        headers.insert(name, value.clone());
    }
    Some(code)
}

/// The error that an answer's head or trailers name, or `Ok` when they say that all went well.
pub(crate) fn outcome(mut headers: HeaderMap, deadline: Option<Instant>) -> Result<(), Error> {
    match judge(&mut headers, deadline) {
        Some(tonic::Code::Ok) => Ok(()),
        Some(_) => Err(Status::from_header_map(&headers).map_or_else(without_status, |status| Error::from(&status))),
        None => Err(without_status()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(code: &'static str, message: &'static str) -> HeaderMap {
        HeaderMap::from_iter([
            (Status::GRPC_STATUS, HeaderValue::from_static(code)),
            (Status::GRPC_MESSAGE, HeaderValue::from_static(message)),
        ])
    }

    #[test]
    fn a_deadline_that_ran_out_on_the_server_is_one_whatever_the_server_calls_it() {
        let (past, future) = (Instant::now(), Instant::now() + std::time::Duration::from_secs(60));
        let code = |headers: HeaderMap, deadline| outcome(headers, deadline).map_err(|error| error.code());
        assert_eq!(code(headers("1", "Timeout%20expired"), Some(future)), Err(Code::DeadlineExceeded));
        assert_eq!(code(headers("1", "gave up"), Some(past)), Err(Code::DeadlineExceeded));
        assert_eq!(code(headers("1", "gave up"), Some(future)), Err(Code::Cancelled));
        assert_eq!(code(headers("5", "none"), Some(past)), Err(Code::NotFound));
        assert_eq!(code(headers("0", ""), Some(past)), Ok(()));
        assert_eq!(code(HeaderMap::new(), None), Err(Code::UpstreamFailed));
    }
}
