//! One schedule: its record, its rules, and what it decides.
//!
//! Fire times are decided one after the other, as they come. What has passed undecided (an outage, a pause, a change of
//! the rules) is decided in ranges, so that the work does not depend on how long it was.

mod backlog;
mod recent;
mod runs;

use crate::{
    effect::Effect,
    error::RestoreError,
    faults::Fault,
    id::{Millis, Partition, ScheduleId},
    ledger::{FireKind, FireRecord, MissReason, Outcome, Range, SkipReason},
    limits::{Limits, ON_TIME},
    record::{Fire, ScheduleRecord, VERSION},
    rules::{Overlap, Rules},
    schedule::recent::Recent,
};

/// What a decision is made with, and where it goes.
#[derive(Debug)]
pub(crate) struct Context<'a> {
    pub(crate) now: Millis,
    pub(crate) limits: &'a Limits,
    pub(crate) fault: Option<Fault>,
    pub(crate) effects: &'a mut Vec<Effect>,
}

impl Context<'_> {
    /// True in a test that plants this bug.
    fn has(&self, fault: Fault) -> bool {
        cfg!(test) && self.fault == Some(fault)
    }
}

/// The next fire time, and when it starts.
#[derive(Debug, Clone, Copy)]
struct Planned {
    time: Millis,
    start: Millis,
}

/// A schedule in the book.
#[derive(Debug)]
pub(crate) struct Schedule {
    pub(crate) partition: Partition,
    pub(crate) record: ScheduleRecord,
    pub(crate) rules: Rules,
    /// When the book looks at it again.
    pub(crate) timer: Option<Millis>,
    next: Option<Planned>,
    /// Starts that the caller has not answered.
    awaiting: Vec<Fire>,
    recent: Recent,
    /// No more fire times up to this one are late than may be caught up with.
    surplus_until: Millis,
    /// The record has changed since it was saved.
    dirty: bool,
}

impl Schedule {
    /// A schedule that begins now.
    pub(crate) fn new(context: &Context<'_>, id: ScheduleId, partition: Partition, rules: Rules) -> Self {
        let now = context.now;
        let record = ScheduleRecord {
            version: VERSION,
            id,
            rules: rules.raw().clone(),
            created_at: now,
            changed_at: now,
            paused_at: None,
            note: String::new(),
            decided_until: now,
            triggered_until: 0,
            revision: now,
            running: Vec::new(),
            waiting: None,
            backlog: Vec::new(),
        };
        let mut schedule = Self::from_record(context.fault, partition, record, rules);
        schedule.dirty = true;
        schedule
    }

    /// A schedule as it was saved.
    pub(crate) fn restored(
        fault: Option<Fault>,
        partition: Partition,
        mut record: ScheduleRecord,
    ) -> Result<Self, RestoreError> {
        let id = record.id.clone();
        if record.version > VERSION {
            return Err(RestoreError::Version { id, found: record.version, known: VERSION });
        }
        if cfg!(test) && fault == Some(Fault::RunsForgotten) {
            record.running.clear();
        }
        let rules = Rules::checked(record.rules.clone()).map_err(|source| RestoreError::Rules { id, source })?;
        Ok(Self::from_record(fault, partition, record, rules))
    }

    fn from_record(fault: Option<Fault>, partition: Partition, record: ScheduleRecord, rules: Rules) -> Self {
        let recent = Recent::since(record.revision);
        let (timer, next, awaiting, surplus_until, dirty) = Default::default();
        let mut schedule = Self { partition, record, rules, timer, next, awaiting, recent, surplus_until, dirty };
        schedule.plan(fault);
        schedule
    }

    /// The next fire time, without jitter. `None` while it is paused.
    pub(crate) fn next_time(&self) -> Option<Millis> {
        self.next.filter(|_| self.record.paused_at.is_none()).map(|next| next.time)
    }

    /// When there is something to decide; at most `now` when there is already.
    pub(crate) fn due(&self, now: Millis, limits: &Limits) -> Option<Millis> {
        if self.is_answer_due(limits) {
            return None;
        }
        let has_waiting = self.record.waiting.is_some() || !self.record.backlog.is_empty();
        if has_waiting && self.is_free(limits) {
            return Some(now);
        }
        self.next.filter(|_| self.record.paused_at.is_none()).map(|next| next.start)
    }

    /// Decides what is due, in at most `steps_max` steps; gives how many it took.
    pub(crate) fn work(&mut self, context: &mut Context<'_>, steps_max: usize) -> usize {
        (0..steps_max).find(|_| !self.step(context)).unwrap_or(steps_max)
    }

    /// Decides one thing. False: there is nothing to decide.
    fn step(&mut self, context: &mut Context<'_>) -> bool {
        if self.is_answer_due(context.limits) {
            return false;
        }
        let is_free = self.is_free(context.limits);
        if is_free && let Some(fire) = self.record.waiting.take() {
            self.start(context, fire);
            return true;
        }
        let next = self.next.filter(|next| self.record.paused_at.is_none() && next.start <= context.now);
        if let Some(next) = next {
            self.decide(context, next);
            return true;
        }
        if is_free && let Some(fire) = self.next_of_backlog(context) {
            self.start(context, fire);
            return true;
        }
        false
    }

    /// Decides on the next fire time, or on many with the same fate.
    fn decide(&mut self, context: &mut Context<'_>, next: Planned) {
        if self.miss_too_late(context) || self.miss_surplus(context, next) {
            return;
        }
        let is_late = next.start + ON_TIME < context.now;
        let kind = if is_late { FireKind::CatchUp } else { FireKind::Regular };
        let fire = Fire { time: next.time, scheduled_for: next.start, kind };
        self.admit(context, fire, self.rules.overlap());
        self.advance(context, next.time);
    }

    /// Misses what is older than the catch-up window. The window is counted from the latest moment at which a fire may
    /// start.
    fn miss_too_late(&mut self, context: &mut Context<'_>) -> bool {
        let raw = self.rules.raw();
        let catch_up_ms = raw.catch_up_ms;
        let oldest = context.now.saturating_sub(catch_up_ms + raw.jitter_ms);
        if self.next.is_none_or(|next| next.time >= oldest) {
            return false;
        }
        let outcome = Outcome::Missed { reason: MissReason::TooLate { catch_up_ms } };
        self.settle_range(context, oldest - 1, outcome)
    }

    /// Misses what is late, and in excess of what may be caught up with.
    fn miss_surplus(&mut self, context: &mut Context<'_>, next: Planned) -> bool {
        let raw = self.rules.raw();
        let catch_up_max = raw.catch_up_max;
        let late_until = context.now.saturating_sub(ON_TIME + raw.jitter_ms);
        if next.time <= self.surplus_until || next.time > late_until {
            return false;
        }
        let Some(last) = self.rules.surplus(self.record.decided_until, late_until, catch_up_max) else {
            self.surplus_until = late_until;
            return false;
        };
        let outcome = Outcome::Missed { reason: MissReason::TooMany { catch_up_max } };
        self.settle_range(context, last, outcome)
    }

    /// Decides on every fire time up to now without starting any.
    fn settle(&mut self, context: &mut Context<'_>, reason: SkipReason) {
        if self.record.paused_at.is_none() {
            self.miss_too_late(context);
        }
        self.settle_range(context, context.now, Outcome::Skipped { reason });
        self.advance(context, context.now);
    }

    /// One outcome for every undecided fire time up to `until`. False: there is none.
    fn settle_range(&mut self, context: &mut Context<'_>, until: Millis, outcome: Outcome) -> bool {
        let Some(range) = self.rules.range(self.record.decided_until, until) else { return false };
        self.enter_range(context, range, FireKind::Regular, outcome);
        self.advance(context, range.last);
        true
    }

    /// Moves the position on; never back.
    fn advance(&mut self, context: &Context<'_>, until: Millis) {
        self.record.decided_until = self.record.decided_until.max(until);
        self.dirty = true;
        self.plan(context.fault);
    }

    fn plan(&mut self, fault: Option<Fault>) {
        let id = &self.record.id;
        self.next = self.rules.next(self.record.decided_until).map(|time| {
            let mut start = self.rules.start_of(id, time);
            if cfg!(test) && fault == Some(Fault::JitterUnbounded) && start > time {
                start += self.rules.raw().jitter_ms / 2;
            }
            Planned { time, start }
        });
    }

    /// New rules, from now on.
    pub(crate) fn change(&mut self, context: &mut Context<'_>, rules: Rules) {
        if !rules.fires_like(&self.rules) {
            let position = self.record.decided_until;
            let is_paused = self.record.paused_at.is_some();
            self.settle(context, if is_paused { SkipReason::Paused } else { SkipReason::RulesChanged });
            self.drop_backlog(context, &SkipReason::RulesChanged);
            if context.has(Fault::ChangeReachesBack) {
                self.record.decided_until = position;
            }
        }
        self.record.rules = rules.raw().clone();
        self.record.changed_at = context.now;
        self.rules = rules;
        self.surplus_until = 0;
        self.advance(context, 0);
    }

    /// Skips fire times from now on. A fire that waits is skipped, too, unless somebody asked for it. False: it was
    /// paused already.
    pub(crate) fn pause(&mut self, context: &mut Context<'_>, note: String) -> bool {
        if self.record.paused_at.is_some() {
            return false;
        }
        self.miss_too_late(context);
        if let Some(fire) = self.record.waiting.take_if(|fire| !fire.kind.is_asked_for()) {
            self.skip(context, fire, SkipReason::Paused);
        }
        self.record.paused_at = Some(context.now);
        self.record.note = note;
        self.dirty = true;
        true
    }

    /// Ends a pause, and accounts for what was skipped in it. False: it was not paused.
    pub(crate) fn resume(&mut self, context: &mut Context<'_>) -> bool {
        if self.record.paused_at.is_none() {
            return false;
        }
        if !context.has(Fault::PauseUnaccounted) {
            self.settle(context, SkipReason::Paused);
        }
        self.record.paused_at = None;
        self.record.note.clear();
        self.advance(context, context.now);
        true
    }

    /// Accounts for everything undecided before the schedule goes.
    pub(crate) fn close_ledger(&mut self, context: &mut Context<'_>) {
        let is_paused = self.record.paused_at.is_some();
        self.settle(context, if is_paused { SkipReason::Paused } else { SkipReason::Deleted });
        if let Some(fire) = self.record.waiting.take() {
            self.skip(context, fire, SkipReason::Deleted);
        }
        self.drop_backlog(context, &SkipReason::Deleted);
    }

    /// Starts once, now.
    pub(crate) fn trigger(&mut self, context: &mut Context<'_>, overlap: Option<Overlap>) -> Fire {
        let time = context.now.max(self.record.triggered_until + 1);
        self.record.triggered_until = time;
        self.dirty = true;
        let fire = Fire { time, scheduled_for: time, kind: FireKind::Trigger };
        self.admit(context, fire, overlap.unwrap_or_else(|| self.rules.overlap()));
        fire
    }

    /// Puts the record out when it has changed, and every start was answered: a position must not be saved before what
    /// it covers.
    pub(crate) fn flush(&mut self, context: &mut Context<'_>) {
        if !self.dirty || !self.awaiting.is_empty() {
            return;
        }
        self.dirty = false;
        self.record.revision += 1;
        let mut record = Box::new(self.record.clone());
        if context.has(Fault::PositionNotSaved) {
            record.decided_until = record.decided_until.saturating_sub(60_000).max(record.created_at);
        }
        if context.has(Fault::WaitingNotSaved) {
            record.waiting = None;
        }
        context.effects.push(Effect::Save { partition: self.partition, record });
    }

    fn enter(&mut self, context: &mut Context<'_>, fire: Fire, outcome: Outcome) {
        let entry = FireRecord::single(fire.time, fire.scheduled_for, fire.kind, outcome, context.now);
        let id = self.record.id.clone();
        context.effects.push(Effect::Ledger { partition: self.partition, id, entry });
        self.dirty = true;
    }

    fn enter_range(&mut self, context: &mut Context<'_>, mut range: Range, kind: FireKind, outcome: Outcome) {
        if context.has(Fault::RangeShort) && range.count > 1 {
            range.count -= 1;
        }
        let entry = FireRecord::range(range, kind, outcome, context.now);
        let id = self.record.id.clone();
        context.effects.push(Effect::Ledger { partition: self.partition, id, entry });
        self.dirty = true;
    }

    fn skip(&mut self, context: &mut Context<'_>, fire: Fire, reason: SkipReason) {
        self.enter(context, fire, Outcome::Skipped { reason });
    }
}
