//! The workers as the loop knows them: the number of each for the engine, and its session.

use std::{collections::HashMap, sync::Arc};

use mcp_engine::{RunningAttempt, WorkerId};

use super::{
    outbox::{Outbox, Outgoing},
    request::SessionRef,
};
use crate::error::Error;

/// A worker.
#[derive(Debug)]
struct Worker {
    id: Arc<str>,
    session: Option<Session>,
    /// When its session ended; milliseconds since 1970.
    left_at: u64,
}

#[derive(Debug)]
struct Session {
    serial: u64,
    outbox: Arc<Outbox>,
    /// Slots it granted that have no attempt yet.
    free: u32,
}

/// All workers with a session, or that had one not long ago.
#[derive(Debug)]
pub(super) struct Workers {
    by_id: HashMap<Arc<str>, WorkerId>,
    by_number: HashMap<WorkerId, Worker>,
    sessions: usize,
    sessions_max: usize,
    slots_max: u32,
    /// How long the engine may still speak of a worker that left.
    keep_ms: u64,
    next_number: u64,
    next_serial: u64,
}

impl Workers {
    /// No workers yet.
    pub(super) fn new(sessions_max: usize, slots_max: u32, lease_ms: u64) -> Self {
        let keep_ms = lease_ms.saturating_mul(2);
        let (by_id, by_number) = Default::default();
        Self { by_id, by_number, sessions: 0, sessions_max, slots_max, keep_ms, next_number: 1, next_serial: 1 }
    }

    /// Opens a session. The worker's earlier one is over.
    ///
    /// # Errors
    /// [`Error::Overloaded`]: there are too many.
    pub(super) fn join(
        &mut self,
        id: &Arc<str>,
        slots: u32,
        outbox: Arc<Outbox>,
        now: u64,
    ) -> Result<SessionRef, Error> {
        self.forget_gone(now);
        let known = self.by_id.get(id).copied();
        let has_session = known.is_some_and(|number| self.by_number[&number].session.is_some());
        if !has_session && self.sessions >= self.sessions_max {
            return Err(Error::Overloaded { what: "worker sessions" });
        }
        let number = known.unwrap_or_else(|| {
            let number = WorkerId(self.next_number);
            self.next_number += 1;
            self.by_id.insert(Arc::clone(id), number);
            number
        });
        let worker =
            self.by_number.entry(number).or_insert_with(|| Worker { id: Arc::clone(id), session: None, left_at: now });
        let serial = self.next_serial;
        self.next_serial += 1;
        match worker.session.replace(Session { serial, outbox, free: slots }) {
            Some(earlier) => earlier.outbox.close(Error::replaced()),
            None => self.sessions += 1,
        }
        Ok(SessionRef { worker: number, serial })
    }

    /// Ends a session: true when it was the worker's current one.
    pub(super) fn leave(&mut self, session: SessionRef, now: u64) -> bool {
        let Some(worker) = self.by_number.get_mut(&session.worker) else { return false };
        if worker.session.as_ref().is_none_or(|current| current.serial != session.serial) {
            return false;
        }
        worker.session = None;
        worker.left_at = now;
        self.sessions -= 1;
        true
    }

    /// True when this is the worker's current session.
    pub(super) fn is_current(&self, session: SessionRef) -> bool {
        self.session(session.worker).is_some_and(|current| current.serial == session.serial)
    }

    /// Notes free slots. A worker that grants more than it may loses its session: false.
    pub(super) fn grant(&mut self, worker: WorkerId, slots: u32) -> bool {
        let slots_max = self.slots_max;
        let Some(session) = self.by_number.get_mut(&worker).and_then(|worker| worker.session.as_mut()) else {
            return false;
        };
        session.free = session.free.saturating_add(slots);
        if session.free > slots_max {
            session.outbox.close(Error::too_many_slots(slots_max));
            return false;
        }
        true
    }

    /// Notes that an attempt takes a slot.
    pub(super) fn take_slot(&mut self, worker: WorkerId) {
        self.take_slots(worker, 1);
    }

    /// Notes that free slots are in use, or void.
    pub(super) fn take_slots(&mut self, worker: WorkerId, slots: u32) {
        if let Some(session) = self.by_number.get_mut(&worker).and_then(|worker| worker.session.as_mut()) {
            session.free = session.free.saturating_sub(slots);
        }
    }

    /// The id that a worker chose.
    pub(super) fn id(&self, worker: WorkerId) -> Arc<str> {
        self.by_number.get(&worker).map_or_else(|| Arc::from(""), |worker| Arc::clone(&worker.id))
    }

    /// Sends orders; without a session they are void, and the worker hears them again when it is back.
    pub(super) fn send(&self, worker: WorkerId, outgoing: Outgoing) {
        if let Some(session) = self.session(worker) {
            session.outbox.push(outgoing);
        }
    }

    /// Asks every worker to say what it runs that no replica has adopted.
    pub(super) fn ask_for_reports(&self) {
        for session in self.by_number.values().filter_map(|worker| worker.session.as_ref()) {
            session.outbox.push(Outgoing { report: true, ..Outgoing::default() });
        }
    }

    /// Tells a worker that attempts it runs are not for this replica any more.
    pub(super) fn tell_not_mine(&self, id: &str, attempts: Vec<RunningAttempt>) {
        if let Some(worker) = self.by_id.get(id) {
            self.send(*worker, Outgoing { not_mine: attempts, ..Outgoing::default() });
        }
    }

    /// Ends every session.
    pub(super) fn close_all(&self, reason: &Error) {
        for session in self.by_number.values().filter_map(|worker| worker.session.as_ref()) {
            session.outbox.close(reason.clone());
        }
    }

    fn session(&self, worker: WorkerId) -> Option<&Session> {
        self.by_number.get(&worker)?.session.as_ref()
    }

    /// Forgets workers whose lease ended long ago. Numbers are never used again.
    fn forget_gone(&mut self, now: u64) {
        if self.by_number.len() <= self.sessions_max {
            return; // a bounded number may stay
        }
        let keep_ms = self.keep_ms;
        self.by_number.retain(|_, worker| worker.session.is_some() || worker.left_at + keep_ms > now);
        let known = &self.by_number;
        self.by_id.retain(|_, number| known.contains_key(number));
    }
}
