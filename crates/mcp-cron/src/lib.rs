//! The rules of cron schedules as a pure state machine.
//!
//! [`Schedules`] is a book of schedules. It is told the time, what callers want and what became of the tasks it
//! started, and gives [`Effect`]s: what to start, what to cancel, what to put on record. There is no I/O, no clock and
//! no randomness here, so that a seeded simulation can drive it through crashes, clock jumps and changes of owner. It
//! does not know what a schedule starts: the program around it keeps that beside the record.
//!
//! # The ledger
//!
//! **L-1: every (schedule, fire time) has exactly one outcome: it ran, it was skipped, or it was missed, each with a
//! reason.** Fire times are decided in order. How far is the schedule's position
//! ([`ScheduleRecord::decided_until`]), and the position advances in the same durable commit as the entries of the
//! ledger and the task that was started. So after a crash, and with another owner, nothing is decided twice and
//! nothing is forgotten. Many fire times in a row that share one fate (a long outage, a pause) share one entry with a
//! count. The one thing that may be decided again is a fire time that did not run, by a backfill: an entry of its own
//! takes precedence over a range that covers it.
//!
//! **L-2: a fire time runs at most once.** A backfill leaves out what ran; see [`Known`].
//!
//! **L-3: the overlap policy holds** for every task that a schedule started, across owners: the record holds them.
//!
//! # How to drive it
//!
//! 1. [`Schedules::restore`] every record of a partition; for each task of [`Schedules::runs`] that is over by then,
//!    call [`Schedules::run_ended`].
//! 2. Whenever [`Schedules::next_timer`] has come, call [`Schedules::tick`], at best before commands are applied, and
//!    again while `next_timer` is not in the future.
//! 3. Answer every [`Effect::Start`] with [`Schedules::started`] or [`Schedules::refused`] before the next command and
//!    within the same batch.
//! 4. Commit [`Effect::Save`], [`Effect::Remove`] and [`Effect::Ledger`] together with the tasks that were started, in
//!    one durable step. Of several saves of one schedule in a batch the last one counts. When the commit fails, throw
//!    the book away and restore.
//!
//! # Daylight saving time
//!
//! An expression whose second, minute and hour have no `*` names fixed times of the day, and each of them comes once a
//! day: one that the clock skips in spring fires right after the gap (several of them in one gap together fire once),
//! one that comes twice in autumn fires the first time. Every other expression follows the time that really passes:
//! it fires whenever the clock shows a time that matches, so not in a gap, and in both passes of a doubled hour. That
//! is what Vixie cron does. A period ([`RawRules::every_ms`]) knows no time zone.
//!
//! # Replaying a simulated run
//!
//! `SEED=17 cargo test -p mcp-cron one_seed -- --nocapture` prints everything that happens in one run;
//! `SEEDS=100000 cargo test -p mcp-cron sim` runs more of them than the usual 1,000.

mod backfill;
mod effect;
mod error;
mod expression;
mod faults;
mod id;
mod ledger;
mod limits;
mod record;
mod rules;
mod schedule;
mod schedules;
#[cfg(test)]
mod sim;
mod timetable;
mod zone;

pub use backfill::{Backfilled, Known};
pub use effect::Effect;
pub use error::{Error, RestoreError, RulesError};
pub use id::{Millis, Partition, ScheduleId, TaskId};
pub use ledger::{FireKind, FireRecord, MissReason, Outcome, Refusal, SkipReason};
pub use limits::{Limits, ON_TIME};
pub use record::{Backlog, Fire, Run, ScheduleRecord};
pub use rules::{Overlap, RawRules, Rules};
pub use schedules::{PutDone, Schedules, View};
