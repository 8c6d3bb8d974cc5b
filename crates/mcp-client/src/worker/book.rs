//! The state of a worker: its slots, its sessions and the attempts it runs. Pure: no clock, no I/O, no waiting.
//!
//! Invariant: `free` + the idle credits of all seats + the running attempts = `slots`. A scheduler therefore never
//! holds more credits than there are free slots.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use futures_util::FutureExt;
use mcp_proto::{
    scheduler::v1::Progress,
    worker::v1::{AttemptLogLine, AttemptResult},
};
use tokio::sync::Notify;

use super::{
    attempt::AttemptKey,
    queue::{Batch, Queue, UNACKED_BYTES_MAX},
    stop::{Stop, StopReason},
};

/// Results that may wait for their acknowledgement, when the worker does not have more slots than half of it.
const UNACKED_MAX: usize = 10_000;
/// Attempts that a hello may claim; what is beyond, after several replicas were lost at once, is run again elsewhere.
const CLAIMS_MAX: usize = 20_000;

/// A session across its reconnects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct SessionId(pub(super) u64);

/// How the loop of a session is woken.
#[derive(Debug, Default)]
pub(super) struct Signals {
    /// There is something to send.
    pub(super) wake: Notify,
    /// The session must be opened anew: its credits are too many, or there are attempts to claim.
    pub(super) reopen: Notify,
}

/// What a session says first.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Claims {
    /// Attempts it runs, and those whose results are not acknowledged.
    pub(super) running: Vec<AttemptKey>,
    /// Its first credits.
    pub(super) credits: u32,
}

/// How an attempt ended, as the scheduler will be told.
#[derive(Debug)]
pub(super) enum Report {
    /// With this result.
    Result(AttemptResult),
    /// Unfinished.
    HandedBack,
    /// Not at all: it was revoked.
    Nothing,
}

/// What became of a line.
#[derive(Debug, PartialEq)]
pub(super) enum Logged {
    /// It will be sent.
    Taken,
    /// There is no room now; here it is again.
    Full(AttemptLogLine),
    /// Nobody wants it: the attempt is over, or not ours any more.
    Gone,
}

#[derive(Debug)]
struct Running {
    /// `None` after its session was closed for good and before another one claimed it.
    home: Option<SessionId>,
    stop: Arc<Stop>,
    revoked: bool,
}

#[derive(Debug)]
struct Seat {
    /// Most slots it may hold.
    share: usize,
    /// Credits the scheduler has and did not use.
    idle: usize,
    /// Attempts that came by this session.
    running: usize,
    queue: Queue,
    signals: Arc<Signals>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Book {
    slots: usize,
    free: usize,
    draining: bool,
    attempts: HashMap<AttemptKey, Running>,
    seats: BTreeMap<SessionId, Seat>,
    /// What closed sessions left behind.
    orphans: Queue,
}

impl Seat {
    fn held(&self) -> usize {
        self.idle + self.running
    }
}

impl Book {
    pub(super) fn new(slots: usize) -> Self {
        Self {
            slots,
            free: slots,
            draining: false,
            attempts: HashMap::new(),
            seats: BTreeMap::new(),
            orphans: Queue::default(),
        }
    }

    /// Attempts that run.
    pub(super) fn running(&self) -> usize {
        self.attempts.len()
    }

    /// Makes room for a session. It gets a share with the next [`share_out`](Self::share_out).
    pub(super) fn add(&mut self, id: SessionId, signals: Arc<Signals>) {
        self.seats.insert(id, Seat { share: 0, idle: 0, running: 0, queue: Queue::default(), signals });
    }

    /// Closes a session for good. What it ran and had to say waits for another session, which is told to claim it.
    pub(super) fn remove(&mut self, id: SessionId) {
        let Some(mut seat) = self.seats.remove(&id) else { return };
        self.free += seat.idle;
        self.orphans.absorb(&mut seat.queue);
        for attempt in self.attempts.values_mut().filter(|attempt| attempt.home == Some(id)) {
            attempt.home = None;
        }
        let has_orphans = seat.running > 0 || !self.orphans.is_flushed();
        if has_orphans && let Some(heir) = self.seats.values().next() {
            heir.signals.reopen.notify_one();
        }
        self.wake_all();
    }

    /// Splits the slots evenly over `wanted`; other sessions get no more credits. A session that has more credits
    /// than its share is told to open anew, which is how credits are taken back.
    pub(super) fn share_out(&mut self, wanted: &[SessionId]) {
        let count = wanted.len().max(1);
        for (id, seat) in &mut self.seats {
            let share = match wanted.iter().position(|wanted| wanted == id) {
                Some(index) => (self.slots / count + usize::from(index < self.slots % count)).max(1),
                None => 0,
            };
            seat.share = share;
            if share > 0 && seat.idle > 0 && seat.held() > share {
                seat.signals.reopen.notify_one();
            }
        }
        self.wake_all();
    }

    /// Starts a session: what it claims, what closed sessions left behind included, and its first credits. Results
    /// that were not acknowledged will be sent again.
    pub(super) fn join(&mut self, id: SessionId) -> Claims {
        let Some(seat) = self.seats.get_mut(&id) else { return Claims { running: Vec::new(), credits: 0 } };
        // What it was told to reopen for is done by this.
        let _told = seat.signals.reopen.notified().now_or_never();
        seat.queue.absorb(&mut self.orphans);
        seat.queue.repeat_unacked();
        let mut running = Vec::new();
        for (key, attempt) in &mut self.attempts {
            if attempt.home.is_none() {
                attempt.home = Some(id);
                seat.running += 1;
            }
            if attempt.home == Some(id) && !attempt.revoked {
                running.push(*key);
            }
        }
        let ended = seat.queue.unacked().take(CLAIMS_MAX.saturating_sub(running.len()));
        running.extend(ended);
        running.sort_unstable();
        Claims { running, credits: self.grant(id) }
    }

    /// Ends a session that may come back: the credits the scheduler had are void.
    pub(super) fn leave(&mut self, id: SessionId) {
        if let Some(seat) = self.seats.get_mut(&id) {
            self.free += std::mem::take(&mut seat.idle);
            self.wake_all();
        }
    }

    /// Takes an attempt in; false when it must not be started: known already, or handed back at once because there
    /// is no credit for it or the worker ends.
    pub(super) fn assign(&mut self, id: SessionId, key: AttemptKey, stop: &Arc<Stop>) -> bool {
        let Some(seat) = self.seats.get_mut(&id) else { return false };
        if self.attempts.contains_key(&key) || seat.queue.is_unacked(key) {
            return false;
        }
        let has_credit = seat.idle > 0;
        if has_credit {
            seat.idle -= 1;
        }
        if !has_credit || self.draining {
            self.free += usize::from(has_credit);
            seat.queue.push_handed_back(key);
            seat.signals.wake.notify_one();
            return false;
        }
        seat.running += 1;
        self.attempts.insert(key, Running { home: Some(id), stop: Arc::clone(stop), revoked: false });
        true
    }

    /// Ends an attempt and frees its slot.
    pub(super) fn finish(&mut self, key: AttemptKey, report: Report) {
        let Some(attempt) = self.attempts.remove(&key) else { return };
        self.free += 1;
        let report = if attempt.revoked { Report::Nothing } else { report };
        let seat = attempt.home.and_then(|id| self.seats.get_mut(&id));
        let (queue, is_short) = match seat {
            Some(seat) => {
                seat.running -= 1;
                seat.signals.wake.notify_one();
                (&mut seat.queue, seat.idle + seat.running < seat.share)
            }
            None => (&mut self.orphans, false),
        };
        match report {
            Report::Result(result) => queue.push_result(key, result),
            Report::HandedBack => queue.push_handed_back(key),
            Report::Nothing => {}
        }
        if !is_short {
            // This session does not take the slot again, so another one may.
            self.wake_all();
        }
    }

    /// Keeps a line for sending.
    pub(super) fn log(&mut self, key: AttemptKey, line: AttemptLogLine) -> Logged {
        let Some((queue, signals)) = self.queue_of(key) else { return Logged::Gone };
        match queue.push_line(key, line) {
            Ok(()) => {
                if let Some(signals) = signals {
                    signals.wake.notify_one();
                }
                Logged::Taken
            }
            Err(line) => Logged::Full(line),
        }
    }

    /// Keeps the latest progress for sending.
    pub(super) fn progress(&mut self, key: AttemptKey, progress: Progress) {
        if let Some((queue, signals)) = self.queue_of(key) {
            queue.set_progress(key, progress);
            if let Some(signals) = signals {
                signals.wake.notify_one();
            }
        }
    }

    /// Stops an attempt because the scheduler said so.
    pub(super) fn cancel(&self, key: AttemptKey) {
        if let Some(attempt) = self.attempts.get(&key) {
            attempt.stop.order(StopReason::Cancelled);
        }
    }

    /// Gives up an attempt that is not ours any more: it is stopped and not reported, its result forgotten.
    pub(super) fn revoke(&mut self, id: SessionId, key: AttemptKey) {
        if let Some(seat) = self.seats.get_mut(&id) {
            seat.queue.acknowledge(key);
        }
        if let Some(attempt) = self.attempts.get_mut(&key) {
            attempt.revoked = true;
            attempt.stop.order(StopReason::Revoked);
        }
    }

    /// Forgets results that are durable. What comes back is to be dropped outside of the lock.
    pub(super) fn acknowledge(
        &mut self,
        id: SessionId,
        keys: impl IntoIterator<Item = AttemptKey>,
    ) -> Vec<Arc<AttemptResult>> {
        let Some(seat) = self.seats.get_mut(&id) else { return Vec::new() };
        let forgotten = keys.into_iter().filter_map(|key| seat.queue.acknowledge(key)).collect();
        if seat.held() < seat.share && self.free > 0 {
            // Credits may have been withheld for want of acknowledgements.
            seat.signals.wake.notify_one();
        }
        forgotten
    }

    /// What the session says next, with the credits that became due.
    pub(super) fn outgoing(&mut self, id: SessionId) -> Batch {
        let credits = self.grant(id);
        match self.seats.get_mut(&id) {
            Some(seat) => seat.queue.take(credits),
            None => Batch::default(),
        }
    }

    /// From now on: no credits, and every new attempt goes back.
    pub(super) fn drain(&mut self) {
        self.draining = true;
    }

    /// Stops every attempt, for this reason.
    pub(super) fn stop_all(&self, reason: StopReason) {
        for attempt in self.attempts.values() {
            attempt.stop.order(reason);
        }
    }

    /// True when a session has said everything and all its results are acknowledged.
    pub(super) fn is_flushed(&self, id: SessionId) -> bool {
        self.seats.get(&id).is_none_or(|seat| seat.queue.is_flushed()) && self.orphans.is_flushed()
    }

    /// Turns free slots into credits for a session, within its share and as far as its results are acknowledged.
    fn grant(&mut self, id: SessionId) -> u32 {
        let Some(seat) = self.seats.get_mut(&id) else { return 0 };
        let (unacked, unacked_bytes) = seat.queue.unacked_size();
        if self.draining || unacked_bytes >= UNACKED_BYTES_MAX {
            return 0;
        }
        let unacked_max = UNACKED_MAX.max(2 * self.slots);
        let most = seat.share.min(unacked_max.saturating_sub(unacked));
        let credits = most.saturating_sub(seat.held()).min(self.free);
        self.free -= credits;
        seat.idle += credits;
        u32::try_from(credits).unwrap_or(u32::MAX)
    }

    fn queue_of(&mut self, key: AttemptKey) -> Option<(&mut Queue, Option<&Signals>)> {
        let attempt = self.attempts.get(&key).filter(|attempt| !attempt.revoked)?;
        match attempt.home.and_then(|id| self.seats.get_mut(&id)) {
            Some(seat) => Some((&mut seat.queue, Some(&*seat.signals))),
            None => Some((&mut self.orphans, None)),
        }
    }

    fn wake_all(&self) {
        for seat in self.seats.values() {
            seat.signals.wake.notify_one();
        }
    }

    /// Panics when the invariant of the module is broken.
    #[cfg(test)]
    fn check(&self) {
        let idle: usize = self.seats.values().map(|seat| seat.idle).sum();
        assert_eq!(self.free + idle + self.attempts.len(), self.slots, "{self:?}");
        for (id, seat) in &self.seats {
            let running = self.attempts.values().filter(|attempt| attempt.home == Some(*id)).count();
            assert_eq!(seat.running, running, "{self:?}");
        }
    }
}

#[cfg(test)]
mod tests;
