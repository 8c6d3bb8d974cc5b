//! When a call is tried again.

use std::{future::Future, time::Duration};

use backon::{ExponentialBuilder, Retryable};
use mcp_proto::{Code, Error};
use tokio::time::Instant;
use tonic::{Code as Grpc, ConnectError, Status};

/// Tries after the first one, of a call that may be repeated though the other end may have done it, and of one that did
/// not get through at all.
const RETRIES_MAX: usize = 4;
/// Tries after the first one when the other end says that it did nothing, for instance because tasks move to another
/// replica. With the waits between them they last longer than a take-over.
const REFUSALS_MAX: usize = 10;
/// First wait; each wait is doubled, and up to as much is added at random.
const BACKOFF_MIN: Duration = Duration::from_millis(50);
/// Longest wait between two tries, before the random part.
const BACKOFF_MAX: Duration = Duration::from_secs(2);
/// Random part that is added to a wait that the other end asked for: callers that were sent away together do not come
/// back together.
const ADVICE_JITTER: f64 = 0.25;

/// Whether a call may be sent more than once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    /// It changes nothing, or a repeat is recognised.
    Allowed,
    /// A repeat might do the work twice: only after an answer that says that nothing was done.
    IfNothingDone,
    /// The caller does that itself.
    Never,
}

/// Why a try failed.
#[derive(Debug)]
pub(super) struct Failed {
    error: Error,
    outcome: Outcome,
}

/// What is known about a try that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// The other end says that nothing was done, and that another try may succeed.
    Refused,
    /// The call reached no instance.
    Unsent,
    /// Nothing that is of use.
    Unknown,
}

impl From<Status> for Failed {
    fn from(status: Status) -> Self {
        let unsent = is_caused_by_connect(&status);
        let is_answer = is_an_answer(&status);
        let error = Error::from(status);
        let refused = is_answer && matches!(error.code(), Code::NotOwner | Code::ShuttingDown | Code::Unavailable);
        let unsent = unsent || (is_answer && error.code() == Code::NoInstance);
        let outcome = match (refused, unsent) {
            (true, _) => Outcome::Refused,
            (false, true) => Outcome::Unsent,
            (false, false) => Outcome::Unknown,
        };
        Self { error, outcome }
    }
}

/// True when the other end said it, in full; what is made up here when a connection breaks has a source and no details.
fn is_an_answer(status: &Status) -> bool {
    std::error::Error::source(status).is_none() && !status.details().is_empty()
}

fn is_caused_by_connect(status: &Status) -> bool {
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        if error.is::<ConnectError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

/// Runs `call` until it succeeds, fails for good, was tried often enough, or the next try would begin after `end`. The
/// other end's advice on when to retry counts more than the backoff.
///
/// # Errors
/// That of the last try.
pub(super) async fn run<T, Fut>(end: Instant, repeat: Repeat, call: impl FnMut() -> Fut) -> Result<T, Error>
where
    Fut: Future<Output = Result<T, Failed>>,
{
    let mut others = 0;
    call.retry(
        ExponentialBuilder::default()
            .with_min_delay(BACKOFF_MIN)
            .with_max_delay(BACKOFF_MAX)
            .with_max_times(REFUSALS_MAX)
            .with_jitter(),
    )
    .when(move |failed: &Failed| {
        if failed.outcome == Outcome::Refused {
            return repeat != Repeat::Never;
        }
        others += 1;
        let may = match repeat {
            Repeat::Allowed => is_transient(&failed.error),
            Repeat::IfNothingDone => failed.outcome == Outcome::Unsent,
            Repeat::Never => false,
        };
        may && others <= RETRIES_MAX
    })
    // `None` ends the retries, and says so when it comes in.
    .adjust(|failed, wait| {
        wait.map(|wait| failed.error.retry_after().map_or(wait, spread)).filter(|wait| Instant::now() + *wait < end)
    })
    .await
    .map_err(|failed| failed.error)
}

/// A wait that was asked for, and a little more.
fn spread(advice: Duration) -> Duration {
    advice.saturating_add(advice.mul_f64(rand::random::<f64>() * ADVICE_JITTER))
}

/// True when the other end could not be reached or broke off. A full queue or an overload is not: to repeat such
/// calls at once would make it worse.
pub(super) fn is_transient(error: &Error) -> bool {
    error.code().grpc() == Grpc::Unavailable || error.code() == Code::OutcomeUnknown
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, time::Duration};

    use mcp_proto::{Code, Error};
    use tokio::time::Instant;
    use tonic::Status;

    use super::{Failed, REFUSALS_MAX, RETRIES_MAX, Repeat, run};

    const DEADLINE: Duration = Duration::from_secs(60);

    async fn tries_of(repeat: Repeat, status: Status, successful_try: usize) -> (usize, Result<(), Error>) {
        let count = Cell::new(0);
        let end = Instant::now() + DEADLINE;
        let result = run(end, repeat, || {
            count.set(count.get() + 1);
            let result = if count.get() == successful_try { Ok(()) } else { Err(Failed::from(status.clone())) };
            async move { result }
        })
        .await;
        (count.get(), result)
    }

    /// As it comes out of a connection.
    fn answered(error: Error) -> Status {
        let status = Status::from(error);
        Status::with_details(status.code(), status.message(), status.details().to_vec().into())
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_not_done_is_tried_again_whatever_the_call() {
        for code in [Code::NotOwner, Code::ShuttingDown, Code::Unavailable] {
            let error = Error::new(code, "moving");
            for repeat in [Repeat::Allowed, Repeat::IfNothingDone] {
                assert_eq!(tries_of(repeat, answered(error.clone()), 7).await, (7, Ok(())), "{code:?}");
                let (tries, result) = tries_of(repeat, answered(error.clone()), 0).await;
                assert_eq!((tries, result), (REFUSALS_MAX + 1, Err(error.clone())));
            }
            assert_eq!(tries_of(Repeat::Never, answered(error.clone()), 2).await.0, 1);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_may_have_been_done_is_tried_again_only_when_a_repeat_is_harmless() {
        let broken = Status::unavailable("connection reset");
        for status in [broken, answered(Error::new(Code::UpstreamFailed, "broke off")), Status::unknown("gone")] {
            assert_eq!(tries_of(Repeat::Allowed, status.clone(), 3).await, (3, Ok(())));
            assert_eq!(tries_of(Repeat::Allowed, status.clone(), 0).await.0, RETRIES_MAX + 1);
            assert_eq!(tries_of(Repeat::IfNothingDone, status.clone(), 2).await.0, 1, "{status:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_did_not_leave_is_tried_again() {
        let refused = tonic::ConnectError(Box::new(std::io::Error::other("refused")));
        let status = || Status::from_error(Box::new(tonic::ConnectError(Box::new(std::io::Error::other("refused")))));
        assert_eq!(Status::from_error(Box::new(refused)).code(), tonic::Code::Unavailable);
        let count = Cell::new(0);
        let end = Instant::now() + DEADLINE;
        let result: Result<(), Error> = run(end, Repeat::IfNothingDone, || {
            count.set(count.get() + 1);
            let failed = Failed::from(status());
            async move { Err(failed) }
        })
        .await;
        assert_eq!((count.get(), result.unwrap_err().code()), (RETRIES_MAX + 1, Code::Unavailable));
    }

    #[tokio::test(start_paused = true)]
    async fn other_errors_are_final() {
        for code in [Code::InvalidArgument, Code::QueueFull, Code::Overloaded, Code::DeadlineExceeded, Code::Internal] {
            let status = answered(Error::new(code, "no"));
            assert_eq!(tries_of(Repeat::Allowed, status, 0).await.0, 1, "{code:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_advice_on_when_to_retry_is_followed() {
        let start = Instant::now();
        let error = Error::new(Code::NotOwner, "moving").with_retry_after(Duration::from_secs(7));
        assert_eq!(tries_of(Repeat::IfNothingDone, answered(error), 2).await, (2, Ok(())));
        let (least, most) = (Duration::from_secs(7), Duration::from_secs(9));
        assert!(start.elapsed() >= least && start.elapsed() <= most, "{:?}", start.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn no_try_begins_after_the_deadline() {
        let start = Instant::now();
        let error = Error::new(Code::NotOwner, "moving").with_retry_after(DEADLINE);
        assert_eq!(tries_of(Repeat::Allowed, answered(error.clone()), 2).await, (1, Err(error)));
        assert_eq!(start.elapsed(), Duration::ZERO, "the caller hears at once");
    }
}
