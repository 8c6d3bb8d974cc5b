//! The state of a worker: its slots, its sessions and the attempts it runs. Pure: no clock, no I/O, no waiting.
//!
//! An attempt is at home at the session that will hear how it ends: at first the one that assigned it. It loses its home
//! when that session breaks or says that the task is not its own, and is then reported to all the others until one
//! adopts it; what it has to say waits meanwhile. It stays in the book until its end is acknowledged, or its owner
//! revokes it. (`homes` has these rules, `credits` those of the slots.)
//!
//! Invariants: `free` + the idle credits of all seats + the running attempts = `slots`, so that schedulers never hold more
//! credits than there are free slots. An attempt that ended and has a home is queued there, or was sent in this session.

mod credits;
mod homes;
mod orders;
mod record;
mod seat;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use futures_util::FutureExt as _;
use mcp_proto::{
    scheduler::v1::Progress,
    worker::v1::{AttemptLogLine, AttemptResult},
};
use prost::Message as _;

use self::{
    record::{Attempt, Phase},
    seat::{Seat, Unacked},
};
use super::{
    attempt::AttemptKey,
    queue::{Batch, End, line_bytes},
    stop::{Stop, StopReason},
};

pub(super) use self::{
    orders::{Heard, Orders},
    record::SessionId,
    seat::Signals,
};

/// Lines of one session that wait to be sent, in bytes, and those of attempts without a home; when there are more, who
/// writes a line waits.
const LOG_BYTES_MAX: usize = 1024 * 1024;
/// The same for all together.
const LOG_BYTES_TOTAL_MAX: usize = 8 * LOG_BYTES_MAX;
/// Attempts that a hello may claim; what is beyond is run again elsewhere.
const CLAIMS_MAX: usize = 20_000;

/// What a session says first.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Claims {
    /// Attempts it runs, and those whose ends are not acknowledged.
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

/// See the module.
#[derive(Debug)]
pub(super) struct Book {
    slots: usize,
    free: usize,
    draining: bool,
    attempts: HashMap<AttemptKey, Attempt>,
    /// Those of `attempts` that run.
    running: usize,
    seats: BTreeMap<SessionId, Seat>,
    /// How often a slot was passed on because there are fewer than replicas.
    turns: u64,
    /// Ends of attempts without a home.
    homeless: Unacked,
    /// Lines of attempts without a home, in bytes.
    homeless_log_bytes: usize,
}

impl Book {
    pub(super) fn new(slots: usize) -> Self {
        Self {
            slots,
            free: slots,
            draining: false,
            attempts: HashMap::new(),
            running: 0,
            seats: BTreeMap::new(),
            turns: 0,
            homeless: Unacked::default(),
            homeless_log_bytes: 0,
        }
    }

    /// Attempts that run.
    pub(super) fn running(&self) -> usize {
        self.running
    }

    /// Makes room for a session. It gets a share with the next [`share_out`](Self::share_out).
    pub(super) fn add(&mut self, id: SessionId, signals: Arc<Signals>) {
        self.seats.insert(id, Seat::new(signals));
    }

    /// Closes a session for good.
    pub(super) fn remove(&mut self, id: SessionId) {
        self.leave(id);
        self.seats.remove(&id);
    }

    /// Starts a session: what it claims, and its first credits. Ends that were not acknowledged will be sent again.
    pub(super) fn join(&mut self, id: SessionId) -> Claims {
        let Some(seat) = self.seats.get_mut(&id) else { return Claims { running: Vec::new(), credits: 0 } };
        seat.joined = true;
        // What it was told to reopen for is done by this.
        let _told = seat.signals.reopen.notified().now_or_never();
        // All of them, those at home elsewhere too: this replica may have adopted them, and its word was lost.
        let (mut running, mut ended) = (Vec::new(), Vec::new());
        for (key, attempt) in self.attempts.iter().filter(|(_, attempt)| !attempt.is_revoked()) {
            if attempt.is_running() { running.push(*key) } else { ended.push(*key) }
        }
        let sent = ended.iter().copied().filter(|key| self.attempts[key].home == Some(id));
        seat.queue.repeat_ends(sent);
        running.extend(ended);
        let beyond = running.split_off(running.len().min(CLAIMS_MAX));
        seat.queue.report(beyond);
        running.sort_unstable();
        self.even_out();
        Claims { running, credits: self.grant(id) }
    }

    /// Ends a session that is opened again at once: the credits the scheduler had are void, the attempts stay.
    pub(super) fn pause(&mut self, id: SessionId) {
        if let Some(seat) = self.seats.get_mut(&id) {
            self.free += seat.close();
            seat.queue.forget_reports();
            self.wake_all();
        }
    }

    /// Ends a session that may come back: the credits the scheduler had are void, and its attempts have no home.
    pub(super) fn leave(&mut self, id: SessionId) {
        self.pause(id);
        let left = self.attempts.iter().filter(|(_, attempt)| attempt.home == Some(id)).map(|(key, _)| *key).collect();
        self.evict(id, &left);
        self.feed_all();
    }

    /// Takes an attempt in; false when it must not be started: known already, or handed back at once because there
    /// is no credit for it or the worker ends.
    fn assign(&mut self, id: SessionId, key: AttemptKey, stop: &Arc<Stop>) -> bool {
        let Some(seat) = self.seats.get_mut(&id) else { return false };
        if self.attempts.contains_key(&key) {
            return false;
        }
        let has_credit = seat.idle > 0;
        seat.idle -= usize::from(has_credit);
        if !has_credit || self.draining {
            self.free += usize::from(has_credit);
            self.hand_back(id, key);
            return false;
        }
        seat.running += 1;
        seat.used = true;
        self.running += 1;
        self.attempts.insert(key, Attempt::running(id, Arc::clone(stop)));
        if seat.idle == 0 {
            seat.exhausted = true;
            self.feed(id);
        }
        true
    }

    /// Ends an attempt and frees its slot.
    pub(super) fn finish(&mut self, key: AttemptKey, report: Report) {
        let Some(attempt) = self.attempts.get_mut(&key) else { return };
        let Phase::Running { revoked, .. } = attempt.phase else { return };
        self.free += 1;
        self.running -= 1;
        let home = attempt.home.and_then(|home| self.seats.get_mut(&home));
        let end = match report {
            Report::Result(result) => {
                let bytes = result.encoded_len();
                End::Result(Arc::new(result), bytes)
            }
            // Revoked by one replica, then adopted by another: that one must hear of it.
            Report::HandedBack | Report::Nothing => End::HandedBack,
        };
        let is_short = match home {
            Some(seat) => {
                seat.running -= 1;
                if !revoked {
                    seat.unacked.add(&end);
                    seat.queue.push_end(key);
                }
                seat.wake();
                seat.held() < seat.share
            }
            None => {
                if !revoked {
                    self.homeless.add(&end);
                }
                false
            }
        };
        attempt.phase = Phase::Ended(end);
        if revoked {
            self.homeless_log_bytes -= attempt.held_log_bytes();
            self.attempts.remove(&key);
            self.wake_if_over();
        }
        if !is_short {
            // This session does not take the slot again, so another one may.
            self.wake_all();
        }
        self.feed_all();
    }

    /// Keeps a line for sending.
    pub(super) fn log(&mut self, key: AttemptKey, line: AttemptLogLine) -> Logged {
        let total = self.homeless_log_bytes + self.seats.values().map(|seat| seat.queue.log_bytes()).sum::<usize>();
        let Some(attempt) = self.attempts.get_mut(&key) else { return Logged::Gone };
        if !attempt.is_running() || attempt.is_revoked() {
            return Logged::Gone;
        }
        let home = attempt.home.and_then(|home| self.seats.get_mut(&home));
        let waiting = home.as_ref().map_or(self.homeless_log_bytes, |seat| seat.queue.log_bytes());
        if waiting >= LOG_BYTES_MAX || total >= LOG_BYTES_TOTAL_MAX {
            return Logged::Full(line);
        }
        match home {
            Some(seat) => {
                seat.queue.push_line(key, line);
                seat.wake();
            }
            None => {
                self.homeless_log_bytes += line_bytes(&line);
                attempt.held_mut().lines.push(line);
            }
        }
        Logged::Taken
    }

    /// Keeps the latest progress for sending.
    pub(super) fn progress(&mut self, key: AttemptKey, progress: Progress) {
        let Some(attempt) = self.attempts.get_mut(&key) else { return };
        if !attempt.is_running() || attempt.is_revoked() {
            return;
        }
        match attempt.home.and_then(|home| self.seats.get_mut(&home)) {
            Some(seat) => {
                seat.queue.set_progress(key, progress);
                seat.wake();
            }
            None => attempt.held_mut().progress = Some(progress),
        }
    }

    /// Stops an attempt because its scheduler said so.
    fn cancel(&self, id: SessionId, key: AttemptKey) {
        if let Some(Attempt { phase: Phase::Running { stop, .. }, .. }) =
            self.attempts.get(&key).filter(|attempt| attempt.obeys(id))
        {
            stop.order(StopReason::Cancelled);
        }
    }

    /// Forgets ends that are durable, or outdated. What comes back is to be dropped outside of the lock.
    fn acknowledge(&mut self, id: SessionId, keys: &[AttemptKey]) -> Vec<End> {
        if keys.is_empty() {
            return Vec::new();
        }
        let mut forgotten = Vec::with_capacity(keys.len());
        for &key in keys {
            // One that another replica has adopted meanwhile waits for that one's word: it waits for the end.
            if self.attempts.get(&key).is_some_and(|attempt| !attempt.is_running() && attempt.obeys(id)) {
                forgotten.extend(self.forget(key));
            }
        }
        if let Some(seat) = self.seats.get(&id)
            && seat.held() < seat.share
            && self.free > 0
        {
            // Credits may have been withheld for want of acknowledgements.
            seat.wake();
        }
        forgotten
    }

    /// What the session says next, with the credits that became due.
    pub(super) fn outgoing(&mut self, id: SessionId) -> Batch {
        let credits = self.grant(id);
        let reclaim = self.reclaim(id);
        let Some(seat) = self.seats.get_mut(&id) else { return Batch::default() };
        let attempts = &self.attempts;
        let at_home = |key| attempts.get(&key).filter(|attempt: &&Attempt| attempt.home == Some(id));
        let is_elsewhere = |attempt: &Attempt| attempt.home != Some(id) && !attempt.is_revoked();
        let mut batch = seat
            .queue
            .take(|key| at_home(key).and_then(Attempt::end), |key| attempts.get(&key).is_some_and(is_elsewhere));
        (batch.credits, batch.reclaim) = (credits, reclaim);
        batch
    }

    /// From now on: no credits, and every new attempt goes back.
    pub(super) fn drain(&mut self) {
        self.draining = true;
        self.wake_all();
    }

    /// Stops every attempt, for this reason.
    pub(super) fn stop_all(&self, reason: StopReason) {
        for attempt in self.attempts.values() {
            if let Phase::Running { stop, .. } = &attempt.phase {
                stop.order(reason);
            }
        }
    }

    /// True when a session has said everything, and no attempt is left whose end anybody may ask for.
    pub(super) fn is_flushed(&self, id: SessionId) -> bool {
        self.attempts.is_empty() && self.seats.get(&id).is_none_or(|seat| seat.queue.is_empty())
    }

    /// Lets the sessions of a worker that ends see that nothing is left.
    fn wake_if_over(&self) {
        if self.draining && self.attempts.is_empty() {
            self.wake_all();
        }
    }

    fn wake_all(&self) {
        for seat in self.seats.values() {
            seat.wake();
        }
    }
}

#[cfg(test)]
mod check;
#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
