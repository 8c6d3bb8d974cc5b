//! Bugs that the simulation plants to prove that it finds them. Outside of this crate's own tests there are none, and
//! the questions about them cost nothing.

/// A rule that can be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(test), expect(dead_code, reason = "only tests plant bugs"))]
pub(crate) enum Fault {
    /// The position on record is a minute behind.
    PositionNotSaved,
    /// A fire that waits for an earlier run is not on record.
    WaitingNotSaved,
    /// What runs is forgotten when another owner takes over.
    RunsForgotten,
    /// New rules decide on fire times before the change.
    ChangeReachesBack,
    /// The end of a pause does not account for what was skipped.
    PauseUnaccounted,
    /// A range leaves out its last fire time.
    RangeShort,
    /// Jitter may go beyond its limit.
    JitterUnbounded,
    /// A backfill runs what ran already.
    BackfillRepeats,
    /// What takes the place of an earlier run does not wait for its end.
    CancelNotAwaited,
    /// A fixed time of the day fires in both passes of a doubled hour.
    DoubledHourTwice,
}
