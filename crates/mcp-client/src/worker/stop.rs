//! The order to stop an attempt, and why.

use std::sync::atomic::{AtomicU8, Ordering};

use tokio_util::sync::CancellationToken;

/// Why an attempt is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum StopReason {
    /// The scheduler said so; the result is `cancelled`.
    Cancelled = 1,
    /// It ran for too long; the result is `RUN_TIMEOUT`.
    TimedOut = 2,
    /// The worker ends; it is handed back.
    HandedBack = 3,
    /// It is not this worker's any more; nothing is reported.
    Revoked = 4,
}

/// A stop signal that remembers the first reason it was given.
#[derive(Debug, Default)]
pub(super) struct Stop {
    reason: AtomicU8,
    token: CancellationToken,
}

impl Stop {
    /// Orders the stop. Only the first reason counts.
    pub(super) fn order(&self, reason: StopReason) {
        // Relaxed would do: the token's own synchronisation follows. A lost exchange means an earlier reason.
        if self.reason.compare_exchange(0, reason as u8, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            self.token.cancel();
        }
    }

    /// The reason, once it was ordered.
    pub(super) fn reason(&self) -> Option<StopReason> {
        match self.reason.load(Ordering::Acquire) {
            1 => Some(StopReason::Cancelled),
            2 => Some(StopReason::TimedOut),
            3 => Some(StopReason::HandedBack),
            4 => Some(StopReason::Revoked),
            _ => None,
        }
    }

    /// Resolves when the stop is ordered.
    pub(super) fn token(&self) -> &CancellationToken {
        &self.token
    }
}
