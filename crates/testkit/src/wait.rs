//! Waiting for a condition instead of sleeping.

use std::{future::Future, time::Duration};

use tokio::time::{Instant, sleep};

/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(10);

/// Waits until `probe` gives `Ok`, and returns what it gave.
///
/// # Panics
/// When `limit` passes first; the text holds the last `Err`, which should say what the state was.
pub async fn eventually<T, Fut>(limit: Duration, mut probe: impl FnMut() -> Fut) -> T
where
    Fut: Future<Output = Result<T, String>>,
{
    let deadline = Instant::now() + limit;
    loop {
        match probe().await {
            Ok(value) => return value,
            Err(state) => assert!(Instant::now() < deadline, "not within {limit:?}; last state: {state}"),
        }
        sleep(POLL).await;
    }
}
