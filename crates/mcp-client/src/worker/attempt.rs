//! How attempts are named.

use std::fmt;

use mcp_proto::{
    Error, TaskId,
    worker::v1::{AttemptRef, FencingToken as WireToken},
};

/// Orders the attempts of one task, so that whatever the task writes to can refuse an outdated attempt: compare the
/// epoch, then the sequence. Its text is `epoch.sequence`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FencingToken {
    /// Epoch of the partition's owner.
    pub epoch: u64,
    /// Number of the dispatch within the epoch.
    pub sequence: u64,
}

impl fmt::Display for FencingToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.sequence)
    }
}

/// One attempt of one task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct AttemptKey {
    pub(super) task: TaskId,
    pub(super) token: FencingToken,
}

impl AttemptKey {
    /// The wire form.
    pub(super) fn to_ref(self) -> AttemptRef {
        AttemptRef {
            task_id: self.task.to_string(),
            token: Some(WireToken { epoch: self.token.epoch, sequence: self.token.sequence }),
        }
    }
}

/// A reference without a token has token 0.0.
impl TryFrom<&AttemptRef> for AttemptKey {
    type Error = Error;

    fn try_from(wire: &AttemptRef) -> Result<Self, Error> {
        let token = wire.token.unwrap_or_default();
        let token = FencingToken { epoch: token.epoch, sequence: token.sequence };
        Ok(Self { task: wire.task_id.parse()?, token })
    }
}
