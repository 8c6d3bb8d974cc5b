//! When a call is tried again.

use std::{future::Future, time::Duration};

use backon::{ExponentialBuilder, Retryable};
use mcp_proto::{Code, Error};
use tokio::time::Instant;
use tonic::Code as Grpc;

/// Tries after the first one.
const RETRIES_MAX: usize = 4;
/// First wait; each wait is doubled, and up to as much is added at random.
const BACKOFF_MIN: Duration = Duration::from_millis(50);
/// Longest wait between two tries.
const BACKOFF_MAX: Duration = Duration::from_secs(2);

/// Runs `call`, which may be repeated without harm, until it succeeds, fails for good, was tried often enough, or the
/// next try would begin after `end`. The other end's advice on when to retry counts more than the backoff.
pub(super) async fn repeatable<T, Fut>(end: Instant, call: impl FnMut() -> Fut) -> Result<T, Error>
where
    Fut: Future<Output = Result<T, Error>>,
{
    call.retry(
        ExponentialBuilder::default()
            .with_min_delay(BACKOFF_MIN)
            .with_max_delay(BACKOFF_MAX)
            .with_max_times(RETRIES_MAX)
            .with_jitter(),
    )
    .when(is_transient)
    // `None` ends the retries, and says so when it comes in.
    .adjust(|error, wait| {
        wait.map(|wait| error.retry_after().unwrap_or(wait)).filter(|wait| Instant::now() + *wait < end)
    })
    .await
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

    use super::{RETRIES_MAX, repeatable};

    const DEADLINE: Duration = Duration::from_secs(30);

    async fn tries(error: Error, successful_try: usize) -> (usize, Result<(), Error>) {
        let count = Cell::new(0);
        let end = Instant::now() + DEADLINE;
        let result = repeatable(end, || {
            count.set(count.get() + 1);
            let result = if count.get() == successful_try { Ok(()) } else { Err(error.clone()) };
            async move { result }
        })
        .await;
        (count.get(), result)
    }

    #[tokio::test(start_paused = true)]
    async fn an_unavailable_service_is_tried_a_few_times() {
        let error = Error::new(Code::Unavailable, "away");
        assert_eq!(tries(error.clone(), 3).await, (3, Ok(())));
        assert_eq!(tries(error.clone(), 0).await, (RETRIES_MAX + 1, Err(error)));
    }

    #[tokio::test(start_paused = true)]
    async fn other_errors_are_final() {
        for code in [Code::InvalidArgument, Code::QueueFull, Code::Overloaded, Code::DeadlineExceeded, Code::Internal] {
            assert_eq!(tries(Error::new(code, "no"), 0).await.0, 1, "{code:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_advice_on_when_to_retry_is_followed() {
        let start = Instant::now();
        let error = Error::new(Code::NotOwner, "moving").with_retry_after(Duration::from_secs(7));
        assert_eq!(tries(error, 2).await, (2, Ok(())));
        assert!(start.elapsed() >= Duration::from_secs(7), "{:?}", start.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn no_try_begins_after_the_deadline() {
        let start = Instant::now();
        let error = Error::new(Code::NotOwner, "moving").with_retry_after(DEADLINE);
        assert_eq!(tries(error.clone(), 2).await, (1, Err(error)));
        assert_eq!(start.elapsed(), Duration::ZERO, "the caller hears at once");
    }
}
