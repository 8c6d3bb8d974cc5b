//! Which fire times ran lately: what a caller that read the ledger a moment ago may not have seen.

use std::collections::VecDeque;

use crate::{id::Millis, ledger::FireKind, record::Fire};

/// Fire times that ran, with the revision of the record they were saved with.
#[derive(Debug)]
pub(super) struct Recent {
    /// Whoever read the ledger at this revision or later misses nothing but what is listed.
    since: u64,
    ran: VecDeque<(u64, Millis)>,
}

impl Recent {
    pub(super) const fn since(revision: u64) -> Self {
        Self { since: revision, ran: VecDeque::new() }
    }

    pub(super) fn add(&mut self, fire: &Fire, revision: u64, max: usize) {
        if fire.kind == FireKind::Trigger {
            return;
        }
        self.ran.push_back((revision, fire.time));
        while self.ran.len() > max {
            if let Some((revision, _)) = self.ran.pop_front() {
                self.since = revision;
            }
        }
    }

    /// True when a ledger read at `revision` and this list have everything together.
    pub(super) const fn covers(&self, revision: u64) -> bool {
        revision >= self.since
    }

    pub(super) fn has(&self, time: Millis) -> bool {
        self.ran.iter().any(|(_, ran)| *ran == time)
    }
}
