//! Bugs that the simulation plants to prove that it finds them. Outside of this crate's own tests there are none, and
//! the questions about them cost nothing.

/// A rule that can be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A result counts whatever its token.
    TokenUnchecked,
    /// An assignment takes no slot.
    SlotNotTaken,
    /// The end of a lease requeues nothing.
    LeaseEndIgnored,
    /// The first dispatch of a restored task does not make earlier attempts void.
    RestoredNotVoided,
    /// A failed attempt is not made void on record.
    RetryNotVoided,
    /// A task that is final is not put on record.
    FinishNotPersisted,
    /// An idempotency key is not remembered.
    KeyForgotten,
    /// The idempotency key of a submit that was merged into another task is not put on record.
    MergedKeyNotKept,
    /// A cancel of a running task is lost with its worker.
    CancelLost,
    /// The queue's limit does not hold.
    QueueUnbounded,
    /// The permit of a lost attempt does not come back.
    PermitLeaked,
    /// Attempts that may run after a change of owners do not count under limits.
    HeldNotCounted,
    /// A key that was shut never opens again.
    LaneNotWoken,
    /// A pause of a queue has no effect.
    PauseIgnored,
    /// A rate has no effect.
    RateIgnored,
    /// Rates start with everything saved up after a change of owners.
    RateStartsFull,
    /// The name of a task that ended stays taken.
    UniqueKept,
    /// A name is not compared with those of other tasks.
    UniqueUnchecked,
    /// A task that runs at most once is started without a record of it.
    StartNotPersisted,
    /// A task that runs at most once is started again when its attempt is lost.
    StartedAgain,
    /// A failure that is never to be tried again is.
    RetriedAnyway,
    /// Waiting does not make up for priority.
    AgeIgnored,
    /// A key pays nothing for its turns.
    TurnsFree,
    /// Tokens carry the epoch of whichever partition was opened last under the highest one.
    EpochsMixed,
    /// Closing a partition leaves the names of its tasks taken.
    NamesNotClosed,
    /// An owner that closes in order does not name what may run.
    ClosedUnnamed,
    /// What an owner named when it closed is believed again after the next one.
    #[cfg(test)]
    ClosingBelieved,
}
