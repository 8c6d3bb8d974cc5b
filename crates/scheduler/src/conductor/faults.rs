//! Bugs that the simulation plants to prove that it finds them. Outside of tests there are none, and the questions about
//! them cost nothing.

/// A rule that can be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// A task to start in another partition is sent, but not on record.
    StartNotKept,
    /// A task that another partition asks for is started without looking whether it is there.
    StartNotLookedFor,
    /// The end of a task is not told to another partition.
    EndNotReported,
    /// A partition that is opened does not know of the steps of its workflows.
    StepsNotRestored,
    /// A final workflow stays on record as an unfinished one.
    FinalRunKept,
    /// The idempotency key of a workflow is not put on record.
    KeyNotKept,
    /// A schedule takes the workflows it started for over when its partition is opened.
    WorkflowsTakenForOver,
    /// A backfill does not look at what ran already.
    BackfillBlind,
}

/// Whether a rule is left out.
#[cfg(not(test))]
pub(super) const fn is_planted(_: Fault) -> bool {
    false
}

#[cfg(test)]
pub(super) use planted::{is_planted, plant};

#[cfg(test)]
mod planted {
    use std::cell::Cell;

    use super::Fault;

    thread_local! {
        static PLANTED: Cell<Option<Fault>> = const { Cell::new(None) };
    }

    /// Leaves a rule out on this thread from now on.
    pub(in crate::conductor) fn plant(fault: Option<Fault>) {
        PLANTED.set(fault);
    }

    pub(in crate::conductor) fn is_planted(fault: Fault) -> bool {
        PLANTED.get() == Some(fault)
    }
}
