//! Bugs that the simulation plants to prove that it finds them. Outside of this crate's own tests there are none, and
//! the questions about them cost nothing.

/// A rule that can be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A restored step does not know that it has a task.
    TaskForgotten,
    /// A step starts as soon as one of those it depends on has ended.
    OneDependencyIsEnough,
    /// The end of an item that has ended counts again.
    RepeatedEndCounts,
    /// The end of another task counts for an item.
    OtherTaskCounts,
    /// The end of an item is not put on record.
    ItemEndNotSaved,
    /// A paused run goes on.
    PauseIgnored,
    /// An item that was refused is not offered again.
    RefusedForgotten,
}

/// Whether a rule is left out.
#[cfg(not(test))]
pub(crate) const fn is_planted(_: Fault) -> bool {
    false
}

#[cfg(test)]
pub(crate) use planted::{is_planted, plant};

#[cfg(test)]
mod planted {
    use std::cell::Cell;

    use super::Fault;

    thread_local! {
        static PLANTED: Cell<Option<Fault>> = const { Cell::new(None) };
    }

    /// Leaves a rule out on this thread from now on.
    pub(crate) fn plant(fault: Option<Fault>) {
        PLANTED.set(fault);
    }

    pub(crate) fn is_planted(fault: Fault) -> bool {
        PLANTED.get() == Some(fault)
    }
}
