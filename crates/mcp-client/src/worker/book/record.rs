//! An attempt as the book sees it.

use std::sync::Arc;

use mcp_proto::{scheduler::v1::Progress, worker::v1::AttemptLogLine};

use crate::worker::{
    queue::{End, line_bytes},
    stop::Stop,
};

/// A session across its reconnects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::worker) struct SessionId(pub(in crate::worker) u64);

/// An attempt from its assignment until the scheduler knows how it ended.
#[derive(Debug)]
pub(super) struct Attempt {
    /// The session that will hear how it ends; `None` while no replica has adopted it.
    pub(super) home: Option<SessionId>,
    pub(super) phase: Phase,
    /// What it has to say, while it has no home.
    pub(super) held: Option<Box<Held>>,
}

#[derive(Debug)]
pub(super) enum Phase {
    Running {
        stop: Arc<Stop>,
        /// It is not ours any more: it was told to stop, and will be forgotten when it has.
        revoked: bool,
    },
    Ended(End),
}

/// Lines and progress of an attempt without a home.
#[derive(Debug, Default)]
pub(super) struct Held {
    pub(super) lines: Vec<AttemptLogLine>,
    pub(super) progress: Option<Progress>,
}

impl Attempt {
    pub(super) fn running(home: SessionId, stop: Arc<Stop>) -> Self {
        Self { home: Some(home), phase: Phase::Running { stop, revoked: false }, held: None }
    }

    /// One that is not run at all.
    pub(super) fn handed_back(home: SessionId) -> Self {
        Self { home: Some(home), phase: Phase::Ended(End::HandedBack), held: None }
    }

    pub(super) fn is_revoked(&self) -> bool {
        matches!(self.phase, Phase::Running { revoked: true, .. })
    }

    pub(super) fn is_running(&self) -> bool {
        matches!(self.phase, Phase::Running { .. })
    }

    pub(super) fn end(&self) -> Option<&End> {
        match &self.phase {
            Phase::Ended(end) => Some(end),
            Phase::Running { .. } => None,
        }
    }

    /// What it has to say, to be added to.
    pub(super) fn held_mut(&mut self) -> &mut Held {
        self.held.get_or_insert_default()
    }

    /// Bytes of the lines that wait in it.
    pub(super) fn held_log_bytes(&self) -> usize {
        self.held.as_ref().map_or(0, |held| held.lines.iter().map(line_bytes).sum())
    }

    /// True when orders of this session about it count: it is at home there, or nowhere.
    pub(super) fn obeys(&self, id: SessionId) -> bool {
        self.home.is_none_or(|home| home == id)
    }
}
