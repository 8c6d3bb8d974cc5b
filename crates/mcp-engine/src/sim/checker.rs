//! The promises, checked from outside. The checker keeps a view of its own, built from what passes between the engine
//! and the world, and shares no code with the engine but the vocabulary.

mod durable;
mod limits;
mod order;
mod shadow;

use crate::types::{Effect, Millis, Outcome, QueueRules, Record, RunningAttempt, Submission, TaskId};

use self::limits::Rates;
pub(super) use self::{durable::Durable, shadow::Shadow};

/// A promise that was broken, and how.
pub(super) type Broken = String;

/// What a step of a check comes to.
pub(super) type Verdict = Result<(), Broken>;

/// Breaks off with a message when a promise does not hold.
macro_rules! promise {
    ($holds:expr, $($text:tt)+) => {
        if !$holds {
            return Err(format!($($text)+));
        }
    };
}
pub(super) use promise;

/// Everything that is checked across owners.
#[derive(Debug, Default)]
pub(super) struct Checker {
    pub(super) durable: Durable,
    rates: Rates,
}

impl Checker {
    /// A batch became durable: its records, and the results that were taken in it.
    pub(super) fn committed(&mut self, records: &[Record], taken: &[(RunningAttempt, Outcome)]) -> Verdict {
        for (attempt, outcome) in taken {
            self.durable.result(*attempt, outcome)?;
        }
        records.iter().try_for_each(|record| self.durable.record(record))
    }

    /// A rightful owner starts an attempt.
    pub(super) fn started(&mut self, task: &Submission, rules: Option<&QueueRules>, now: Millis) -> Verdict {
        self.rates.started(task, rules, now)
    }

    /// An effect leaves its owner. `rightful`: the owner is the latest one.
    pub(super) fn released(&mut self, effect: &Effect, rightful: bool) -> Verdict {
        match effect {
            Effect::Assign { attempt, .. } => self.durable.assigned(*attempt),
            Effect::Acknowledge { attempt, .. } | Effect::Revoke { attempt, .. } if rightful => {
                self.durable.forgotten(*attempt)
            }
            _ => Ok(()),
        }
    }

    /// All is over: every task that was acknowledged has ended.
    pub(super) fn ended(&self) -> Verdict {
        self.durable.all_ended()
    }

    /// A submit was acknowledged.
    pub(super) fn acknowledged(&mut self, task: TaskId) -> Verdict {
        self.durable.acknowledged(task)
    }
}
