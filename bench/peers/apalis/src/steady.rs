//! When an idle worker looks for tasks.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use apalis::prelude::{PollSnapshot, PollStrategy};
use tokio::time::{Instant, Sleep, sleep};

/// Wakes the worker at a fixed interval.
///
/// apalis 1.0.0's own interval strategy starts its next delay without polling it, so that nothing wakes an idle worker any
/// more and it stalls until its heartbeat. This one polls the delay it has just started, which keeps the wake-up in place.
pub(crate) struct Steady {
    interval: Duration,
    next: Pin<Box<Sleep>>,
}

impl Steady {
    /// Must be called within a runtime.
    pub(crate) fn new(interval: Duration) -> Self {
        Self { interval, next: Box::pin(sleep(interval)) }
    }
}

impl PollStrategy for Steady {
    fn poll_drive(&mut self, cx: &mut Context<'_>, _: &PollSnapshot) -> Poll<Option<()>> {
        let mut due = Poll::Pending;
        while self.next.as_mut().poll(cx).is_ready() {
            due = Poll::Ready(Some(()));
            self.next.as_mut().reset(Instant::now() + self.interval);
        }
        due
    }
}
