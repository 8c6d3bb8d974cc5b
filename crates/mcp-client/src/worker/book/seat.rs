//! A session as the book sees it.

use std::sync::Arc;

use tokio::sync::Notify;

use crate::worker::queue::{End, Queue};

/// How the loop of a session is woken.
#[derive(Debug, Default)]
pub(in crate::worker) struct Signals {
    /// There is something to send.
    pub(in crate::worker) wake: Notify,
    /// The session must be opened anew: its scheduler does not give credits back when asked.
    pub(in crate::worker) reopen: Notify,
}

/// A session's part of the slots, and what it has to say.
#[derive(Debug, Default)]
pub(super) struct Seat {
    /// True while its replica is registered; otherwise it gets no more credits.
    pub(super) wanted: bool,
    /// True from the hello on, so that reports reach the scheduler.
    pub(super) joined: bool,
    /// Slots it may hold before it gets no more credits.
    pub(super) share: usize,
    /// Credits the scheduler has and did not use.
    pub(super) idle: usize,
    /// Attempts that run and are at home here.
    pub(super) running: usize,
    /// Results and attempts handed back that wait for an acknowledgement of this session, and their bytes.
    pub(super) unacked: Unacked,
    /// It used up its credits and got no new ones since.
    pub(super) exhausted: bool,
    /// It used a credit since the latest ping, and in the interval before that.
    pub(super) used: bool,
    pub(super) used_before: bool,
    /// When it passed a slot on last, by the book's count; see `credits`.
    pub(super) turn: u64,
    /// Pings since its scheduler was asked for credits; `None` when it was not, or has answered.
    pub(super) asked: Option<u32>,
    pub(super) queue: Queue,
    pub(super) signals: Arc<Signals>,
}

/// What waits for an acknowledgement.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unacked {
    pub(super) count: usize,
    pub(super) bytes: usize,
}

impl Unacked {
    pub(super) fn add(&mut self, end: &End) {
        self.count += 1;
        self.bytes += end.bytes();
    }

    pub(super) fn remove(&mut self, end: &End) {
        self.count -= 1;
        self.bytes -= end.bytes();
    }
}

impl Seat {
    pub(super) fn new(signals: Arc<Signals>) -> Self {
        Self { signals, ..Self::default() }
    }

    /// Slots that it holds.
    pub(super) fn held(&self) -> usize {
        self.idle + self.running
    }

    /// Slots beyond its share: idle ones can be asked back, the others come back when they are free.
    pub(super) fn surplus(&self) -> usize {
        self.held().saturating_sub(self.share)
    }

    /// Slots that it may have and does not.
    pub(super) fn lack(&self) -> usize {
        if self.joined { self.share.saturating_sub(self.held()) } else { 0 }
    }

    /// Credits beyond its share that it did not use.
    pub(super) fn excess(&self) -> usize {
        self.surplus().min(self.idle)
    }

    /// Slots that it can do without, when `even` is everybody's share and a session is `due` so many for its own. Of idle
    /// credits one is always kept, and an even share while some were used not long ago.
    pub(super) fn can_spare(&self, even: usize, due: usize) -> usize {
        let rest = self.held().min(self.share);
        let kept = if self.used || self.used_before { even } else { 1 };
        let unused = (self.idle - self.excess()).saturating_sub(1).min(rest.saturating_sub(kept));
        unused.max(due.min(rest.saturating_sub(even)))
    }

    pub(super) fn wake(&self) {
        self.signals.wake.notify_one();
    }

    /// The scheduler's credits are void; gives how many they were.
    pub(super) fn close(&mut self) -> usize {
        self.joined = false;
        self.exhausted = false;
        self.asked = None;
        std::mem::take(&mut self.idle)
    }
}
