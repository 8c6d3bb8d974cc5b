//! Where attempts are at home: adopted, lost, taken over, forgotten.

use std::collections::{HashMap, HashSet};

use super::{
    Book,
    record::{Attempt, Phase, SessionId},
};
use crate::worker::{
    attempt::AttemptKey,
    queue::{End, line_bytes},
    stop::StopReason,
};

impl Book {
    /// Takes the answer to a hello: of what was claimed, this is not ours any more, that belongs to another replica, and
    /// the rest is at home here from now on.
    pub(in crate::worker) fn welcomed(
        &mut self,
        id: SessionId,
        claimed: &[AttemptKey],
        revoked: &[AttemptKey],
        not_mine: &[AttemptKey],
    ) {
        self.revoke(id, revoked);
        self.disown(id, not_mine);
        let refused: HashSet<&AttemptKey> = revoked.iter().chain(not_mine).collect();
        let adopted: Vec<AttemptKey> = claimed.iter().filter(|key| !refused.contains(key)).copied().collect();
        self.adopt(id, &adopted);
    }

    /// Makes a session the home of attempts that its replica has taken over, wherever they were before.
    pub(super) fn adopt(&mut self, id: SessionId, keys: &[AttemptKey]) {
        if !self.seats.contains_key(&id) {
            return;
        }
        let mut homes: HashMap<SessionId, HashSet<AttemptKey>> = HashMap::new();
        for key in keys {
            if let Some(home) = self.attempts.get(key).and_then(|attempt| attempt.home).filter(|home| *home != id) {
                homes.entry(home).or_default().insert(*key);
            }
        }
        for (home, keys) in homes {
            self.unhouse(home, &keys);
        }
        for &key in keys {
            match self.attempts.get(&key).map(|attempt| attempt.home) {
                // Its end is known to somebody, yet this replica waits for it.
                None => self.hand_back(id, key),
                Some(None) => self.house(id, key),
                Some(Some(_)) => {}
            }
        }
        self.feed_all();
    }

    /// Takes attempts from a session whose replica does not own their tasks.
    pub(super) fn disown(&mut self, id: SessionId, keys: &[AttemptKey]) {
        let at_home = |key: &&AttemptKey| self.attempts.get(*key).is_some_and(|attempt| attempt.home == Some(id));
        let keys: HashSet<AttemptKey> = keys.iter().filter(at_home).copied().collect();
        self.evict(id, &keys);
    }

    /// Gives up attempts that are not ours any more: they are stopped and not reported, their ends forgotten. Only the
    /// replica that has them may say so, or any one when none has.
    pub(super) fn revoke(&mut self, id: SessionId, keys: &[AttemptKey]) {
        for key in keys {
            let Some(attempt) = self.attempts.get_mut(key).filter(|attempt| attempt.obeys(id)) else { continue };
            match &mut attempt.phase {
                Phase::Running { stop, revoked } => {
                    *revoked = true;
                    stop.order(StopReason::Revoked);
                }
                Phase::Ended(_) => drop(self.forget(*key)),
            }
        }
    }

    /// Reports to a session all that is not at home there.
    pub(super) fn report_all(&mut self, id: SessionId) {
        let Some(seat) = self.seats.get_mut(&id) else { return };
        let elsewhere = self.attempts.iter().filter(|(_, attempt)| attempt.home != Some(id)).map(|(key, _)| *key);
        seat.queue.report(elsewhere);
        seat.wake();
    }

    /// Reports to a session what has no home. Called now and then, so that a lost word cannot leave it without one.
    pub(super) fn report_homeless(&mut self, id: SessionId) {
        let Some(seat) = self.seats.get_mut(&id) else { return };
        let homeless = self.attempts.iter().filter(|(_, attempt)| attempt.home.is_none()).map(|(key, _)| *key);
        seat.queue.report(homeless);
    }

    /// Takes the home from attempts that have it at `id`, and reports them to all other sessions.
    pub(super) fn evict(&mut self, id: SessionId, keys: &HashSet<AttemptKey>) {
        self.unhouse(id, keys);
        for (other, seat) in &mut self.seats {
            if *other != id && seat.joined && !keys.is_empty() {
                seat.queue.report(keys.iter().copied());
                seat.wake();
            }
        }
    }

    /// Takes the home from attempts that have it at `id`.
    fn unhouse(&mut self, id: SessionId, keys: &HashSet<AttemptKey>) {
        let Some(seat) = self.seats.get_mut(&id).filter(|_| !keys.is_empty()) else { return };
        for key in keys {
            let Some(attempt) = self.attempts.get_mut(key) else { continue };
            attempt.home = None;
            match &attempt.phase {
                Phase::Running { .. } => seat.running -= 1,
                Phase::Ended(end) => {
                    seat.unacked.remove(end);
                    self.homeless.add(end);
                }
            }
        }
        let (attempts, log_bytes) = (&mut self.attempts, &mut self.homeless_log_bytes);
        let progress = seat.queue.extract(keys, |key, line| {
            if let Some(attempt) = attempts.get_mut(&key).filter(|attempt| !attempt.is_revoked()) {
                *log_bytes += line_bytes(&line);
                attempt.held_mut().lines.push(line);
            }
        });
        for (key, progress) in progress {
            if let Some(attempt) = attempts.get_mut(&key) {
                attempt.held_mut().progress = Some(progress);
            }
        }
    }

    /// Gives a home to an attempt that has none; what it had to say goes there, in its order.
    fn house(&mut self, id: SessionId, key: AttemptKey) {
        let (Some(seat), Some(attempt)) = (self.seats.get_mut(&id), self.attempts.get_mut(&key)) else { return };
        attempt.home = Some(id);
        self.homeless_log_bytes -= attempt.held_log_bytes();
        if let Some(held) = attempt.held.take() {
            for line in held.lines {
                seat.queue.push_line(key, line);
            }
            if let Some(progress) = held.progress {
                seat.queue.set_progress(key, progress);
            }
        }
        match &mut attempt.phase {
            Phase::Running { revoked, .. } => {
                // If it was revoked it is being stopped, and is handed back when it has.
                *revoked = false;
                seat.running += 1;
            }
            Phase::Ended(end) => {
                self.homeless.remove(end);
                seat.unacked.add(end);
                seat.queue.push_end(key);
            }
        }
        seat.wake();
    }

    /// Hands back an attempt that does not run here.
    pub(super) fn hand_back(&mut self, id: SessionId, key: AttemptKey) {
        let Some(seat) = self.seats.get_mut(&id) else { return };
        let attempt = Attempt::handed_back(id);
        if let Some(end) = attempt.end() {
            seat.unacked.add(end);
        }
        seat.queue.push_end(key);
        seat.wake();
        self.attempts.insert(key, attempt);
    }

    /// Forgets an attempt that has ended.
    pub(super) fn forget(&mut self, key: AttemptKey) -> Option<End> {
        let attempt = self.attempts.remove(&key)?;
        self.homeless_log_bytes -= attempt.held_log_bytes();
        let Phase::Ended(end) = attempt.phase else { return None };
        match attempt.home.and_then(|home| self.seats.get_mut(&home)) {
            Some(seat) => seat.unacked.remove(&end),
            None => self.homeless.remove(&end),
        }
        self.wake_if_over();
        Some(end)
    }
}
