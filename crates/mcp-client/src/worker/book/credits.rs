//! How the slots are shared by the sessions.
//!
//! Every replica that is wanted starts with an even share of the slots as credits. A session that has used up its
//! credits takes what the others do not need: slots nobody has, idle credits of sessions that were quiet for a while
//! (all but one, so that they can always start something at once), and, while it has less than its even share, whatever
//! others hold beyond theirs. Credits come back by asking the scheduler for them, and slots in use when they become free.

use super::{Book, record::SessionId, seat::Seat};

/// Ends that may wait for their acknowledgement at one session, or without a home, when the worker does not have more
/// slots than half of it; when there are more, no credit is granted.
pub(super) const UNACKED_MAX: usize = 10_000;
/// The same in bytes.
const UNACKED_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Pings without an answer to a request for credits after which only a new session can take them back.
const RECLAIM_PINGS_MAX: u32 = 2;

impl Book {
    /// Says which replicas are wanted, and, when they are not the same as before, splits the slots evenly over them.
    pub(in crate::worker) fn share_out(&mut self, wanted: &[SessionId]) {
        let changed = self.seats.iter().any(|(id, seat)| seat.wanted != wanted.contains(id));
        if changed {
            for (id, seat) in &mut self.seats {
                seat.wanted = wanted.contains(id);
            }
            self.even_out();
        }
    }

    /// Gives every wanted replica an even share.
    pub(super) fn even_out(&mut self) {
        let count = self.seats.values().filter(|seat| seat.wanted).count().max(1);
        let (even, rest) = (self.slots / count, self.slots % count);
        let mut index = 0;
        for seat in self.seats.values_mut() {
            seat.share = 0;
            if seat.wanted {
                seat.share = (even + usize::from(index < rest)).max(1);
                index += 1;
            }
        }
        self.wake_all();
    }

    /// Takes the answer to a request for credits.
    pub(super) fn reclaimed(&mut self, id: SessionId, credits: u32) {
        let Some(seat) = self.seats.get_mut(&id) else { return };
        let credits = seat.idle.min(usize::try_from(credits).unwrap_or(usize::MAX));
        seat.idle -= credits;
        seat.asked = None;
        self.free += credits;
        self.wake_all();
    }

    /// Notes that an interval between two pings of a session is over.
    pub(super) fn pinged(&mut self, id: SessionId) {
        if let Some(seat) = self.seats.get_mut(&id) {
            seat.used_before = std::mem::take(&mut seat.used);
            seat.asked = seat.asked.map(|pings| pings + 1);
            if seat.asked.is_some_and(|pings| pings > RECLAIM_PINGS_MAX) {
                seat.signals.reopen.notify_one();
            }
        }
        self.report_homeless(id);
        self.pass_on(id);
        self.feed_all();
    }

    /// With fewer slots than replicas some have no credit. Whoever has one lets it go after a while, for the one that has
    /// waited longest: it may have work, and could not show it.
    fn pass_on(&mut self, id: SessionId) {
        if self.slots >= self.seats.values().filter(|seat| seat.wanted).count() {
            return;
        }
        let is_empty = |seat: &Seat| seat.wanted && seat.joined && seat.held() == 0;
        let empty = self.seats.iter().filter(|(_, seat)| is_empty(seat));
        let Some(next) = empty.min_by_key(|(_, seat)| seat.turn).map(|(id, _)| *id) else { return };
        let Some(seat) = self.seats.get_mut(&id).filter(|seat| seat.held() > 0) else { return };
        self.turns += 1;
        seat.turn = self.turns;
        seat.share = seat.held() - 1;
        for (other, seat) in &mut self.seats {
            if is_empty(seat) {
                seat.share = usize::from(*other == next);
            }
        }
        self.wake_all();
    }

    /// Turns free slots into credits for a session, within its share and as far as ends are acknowledged.
    pub(super) fn grant(&mut self, id: SessionId) -> u32 {
        let homeless = self.homeless;
        let Some(seat) = self.seats.get_mut(&id) else { return 0 };
        let is_heavy = seat.unacked.bytes >= UNACKED_BYTES_MAX || homeless.bytes >= UNACKED_BYTES_MAX;
        if self.draining || is_heavy || !seat.wanted {
            return 0;
        }
        let unacked_max = UNACKED_MAX.max(2 * self.slots);
        let most = seat.share.min(unacked_max.saturating_sub(seat.unacked.count.max(homeless.count)));
        let credits = most.saturating_sub(seat.held()).min(self.free);
        if credits == 0 {
            return 0;
        }
        self.free -= credits;
        seat.idle += credits;
        seat.exhausted = false;
        self.feed_all();
        u32::try_from(credits).unwrap_or(u32::MAX)
    }

    /// The credits to ask back from a scheduler.
    pub(super) fn reclaim(&mut self, id: SessionId) -> u32 {
        let draining = self.draining;
        let Some(seat) = self.seats.get_mut(&id) else { return 0 };
        let excess = u32::try_from(seat.excess()).unwrap_or(u32::MAX);
        if excess == 0 || draining || seat.asked.is_some() {
            return 0;
        }
        seat.asked = Some(0);
        excess
    }

    /// Looks for slots for every session that has no credit left.
    pub(super) fn feed_all(&mut self) {
        if self.seats.len() < 2 || self.draining {
            return;
        }
        let hungry = |seat: &Seat| seat.wanted && seat.joined && seat.idle == 0;
        let ids: Vec<SessionId> = self.seats.iter().filter(|(_, seat)| hungry(seat)).map(|(id, _)| *id).collect();
        for id in ids {
            self.feed(id);
        }
    }

    /// Looks for slots for one session that has no credit left: as many as there are if it used them up, else one.
    pub(super) fn feed(&mut self, id: SessionId) {
        let count = self.seats.values().filter(|seat| seat.wanted).count();
        let even = (self.slots / count.max(1)).max(1);
        let Some(seat) = self.seats.get(&id).filter(|seat| seat.wanted) else { return };
        let (held, exhausted) = (seat.held(), seat.exhausted);
        let on_the_way = self.free + self.seats.values().map(Seat::surplus).sum::<usize>();
        if seat.share > held && on_the_way > 0 {
            return;
        }
        let mut room = if exhausted { self.slots.saturating_sub(held) } else { 1 };
        let promised: usize = self.seats.values().map(Seat::lack).sum();
        let mut found = self.free.saturating_sub(promised).min(room);
        room -= found;
        let mut due = if exhausted { even.saturating_sub(held + found) } else { 0 };
        let others = self.seats.iter_mut().filter(|(other, seat)| **other != id && seat.wanted);
        for (_, seat) in others {
            let taken = seat.can_spare(even, due).min(room);
            if taken > 0 {
                seat.share = seat.held().min(seat.share) - taken;
                found += taken;
                room -= taken;
                due = due.saturating_sub(taken);
                seat.wake();
            }
        }
        if found > 0
            && let Some(seat) = self.seats.get_mut(&id)
        {
            seat.share = held + found;
            seat.wake();
        }
    }
}
