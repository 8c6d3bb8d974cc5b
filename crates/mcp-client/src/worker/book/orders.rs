//! What a scheduler says in one message, as the book takes it.

use std::sync::Arc;

use super::{Book, record::SessionId};
use crate::worker::{attempt::AttemptKey, queue::End, stop::Stop};

/// The parts of a message that concern the book; any of them may be empty.
#[derive(Debug, Default)]
pub(in crate::worker) struct Orders {
    pub(in crate::worker) acknowledged: Vec<AttemptKey>,
    pub(in crate::worker) adopted: Vec<AttemptKey>,
    pub(in crate::worker) assigned: Vec<(AttemptKey, Arc<Stop>)>,
    pub(in crate::worker) cancelled: Vec<AttemptKey>,
    pub(in crate::worker) revoked: Vec<AttemptKey>,
    pub(in crate::worker) not_mine: Vec<AttemptKey>,
    pub(in crate::worker) reclaimed: Option<u32>,
    pub(in crate::worker) report: bool,
    pub(in crate::worker) pinged: bool,
}

/// What came of it.
#[derive(Debug, Default)]
pub(in crate::worker) struct Heard {
    /// For each assigned attempt whether it is to be started.
    pub(in crate::worker) started: Vec<bool>,
    /// To be dropped outside of the lock.
    pub(in crate::worker) forgotten: Vec<End>,
}

impl Orders {
    /// True when attempts change hands, so that their lines go from one buffer to another.
    pub(in crate::worker) fn moves(&self) -> bool {
        !(self.adopted.is_empty() && self.revoked.is_empty() && self.not_mine.is_empty())
    }
}

impl Book {
    /// Takes a message. A scheduler puts together what it said in several steps, so the order is that of the life of an
    /// attempt: what was assigned or adopted may have become another replica's since, and the request for a report is
    /// answered as it stands after all that.
    pub(in crate::worker) fn hear(&mut self, id: SessionId, orders: &Orders) -> Heard {
        let forgotten = self.acknowledge(id, &orders.acknowledged);
        if !orders.adopted.is_empty() {
            self.adopt(id, &orders.adopted);
        }
        let started = orders.assigned.iter().map(|(key, stop)| self.assign(id, *key, stop)).collect();
        for key in &orders.cancelled {
            self.cancel(id, *key);
        }
        self.revoke(id, &orders.revoked);
        if !orders.not_mine.is_empty() {
            self.disown(id, &orders.not_mine);
        }
        if let Some(credits) = orders.reclaimed {
            self.reclaimed(id, credits);
        }
        if orders.report {
            self.report_all(id);
        }
        if orders.pinged {
            self.pinged(id);
        }
        Heard { started, forgotten }
    }
}
