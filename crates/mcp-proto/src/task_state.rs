//! What the generated task states do not know by themselves.

use crate::scheduler::v1::TaskState;

impl TaskState {
    /// True when nothing can change any more.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }
}
