//! Waiting for something to end, by long polls.

use std::{future::Future, time::Duration};

use mcp_proto::{Code, Error};
use tokio::time::{Instant, sleep};

use super::{
    call::Call,
    retry::{Repeat, is_transient},
};

/// How long one long poll may take.
const POLL_MAX: Duration = Duration::from_secs(30);
/// Time beyond the poll's own in which its answer must be there.
const POLL_MARGIN: Duration = Duration::from_secs(10);
/// Wait after a poll that failed because the other end was away, when it gives no advice.
const POLL_PAUSE: Duration = Duration::from_millis(500);

/// Polls until `is_final`, at most `limit`, and goes on through times in which the other end is away. `poll` gets how
/// long it may wait at the other end.
///
/// # Errors
/// One that no other poll can mend; the last one when the other end was away at the end of `limit`.
pub(super) async fn until_final<T, Fut>(
    limit: Duration,
    is_final: impl Fn(&T) -> bool,
    poll: impl Fn(Duration) -> Fut,
) -> Result<T, Error>
where
    Fut: Future<Output = Result<T, Error>>,
{
    let end = Instant::now() + limit;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let polled = poll(left.min(POLL_MAX)).await;
        let is_over = Instant::now() >= end;
        match polled {
            Ok(found) if is_over || is_final(&found) => return Ok(found),
            Ok(_) => {}
            Err(error) if is_over || !goes_on_after(&error) => return Err(error),
            Err(error) => {
                let pause = error.retry_after().unwrap_or(POLL_PAUSE);
                sleep(pause.min(end.saturating_duration_since(Instant::now()))).await;
            }
        }
    }
}

/// The call of a poll that is like `call` and waits so long at the other end, and the time as the other end reads it.
///
/// # Errors
/// `INVALID_ARGUMENT` when it is too long for the wire.
pub(super) fn poll_call(call: Call, wait: Duration) -> Result<(Call, prost_types::Duration), Error> {
    let timeout = wait.try_into().map_err(|_| Error::invalid("timeout", "is too long"))?;
    let call = Call { deadline: wait + POLL_MARGIN, repeat: Repeat::Never, ..call };
    Ok((call, timeout))
}

fn goes_on_after(error: &Error) -> bool {
    is_transient(error) || matches!(error.code(), Code::DeadlineExceeded | Code::Overloaded | Code::Cancelled)
}
