//! What a checker knows of one schedule.

use std::collections::{BTreeMap, BTreeSet};

use super::{Truth, Verdict, promise};
use crate::{
    id::{Millis, ScheduleId, TaskId},
    ledger::{FireKind, FireRecord, MissReason, Outcome, SkipReason},
    limits::ON_TIME,
    record::{Fire, ScheduleRecord},
    rules::{Overlap, RawRules},
};

/// A time in which the fire times followed one set of rules.
#[derive(Debug)]
struct Segment {
    rules: RawRules,
    after: Millis,
    until: Option<Millis>,
}

#[derive(Debug)]
pub(super) struct Life {
    segments: Vec<Segment>,
    rules: RawRules,
    pub(super) paused_at: Option<Millis>,
    /// Everything up to here is decided or waits.
    high: Millis,
    pub(super) running: BTreeSet<TaskId>,
    pub(super) cancelled: BTreeSet<TaskId>,
    /// Fire times that ran.
    ran: BTreeSet<Millis>,
    /// Keys of entries that are there, and whether they say that it ran.
    entries: BTreeMap<Vec<u8>, bool>,
    waiting: Option<Fire>,
    pub(super) triggers: BTreeSet<Millis>,
    /// Fire times that backfills took in, and those that have an outcome from one.
    accepted: u64,
    backfilled: u64,
    /// When everything due was last decided.
    pub(super) drained_at: Millis,
}

impl Life {
    pub(super) fn new(now: Millis, rules: RawRules) -> Self {
        Self {
            segments: vec![Segment { rules: rules.clone(), after: now, until: None }],
            rules,
            paused_at: None,
            high: now,
            running: BTreeSet::new(),
            cancelled: BTreeSet::new(),
            ran: BTreeSet::new(),
            entries: BTreeMap::new(),
            waiting: None,
            triggers: BTreeSet::new(),
            accepted: 0,
            backfilled: 0,
            drained_at: now,
        }
    }

    pub(super) const fn rules(&self) -> &RawRules {
        &self.rules
    }

    pub(super) fn put(&mut self, now: Millis, rules: &RawRules) {
        let timing = |rules: &RawRules| RawRules {
            overlap: Overlap::default(),
            catch_up_ms: 0,
            catch_up_max: 0,
            ..rules.clone()
        };
        if timing(rules) != timing(&self.rules) {
            let boundary = self.high.max(now);
            self.close_segment(boundary);
            self.segments.push(Segment { rules: rules.clone(), after: boundary, until: None });
        }
        self.rules = rules.clone();
    }

    fn close_segment(&mut self, boundary: Millis) {
        self.high = boundary;
        self.segments.last_mut().unwrap().until = Some(boundary);
    }

    pub(super) fn resume(&mut self, now: Millis) {
        self.paused_at = None;
        self.high = self.high.max(now);
    }

    pub(super) fn delete(&mut self, now: Millis) {
        self.close_segment(self.high.max(now));
    }

    pub(super) fn backfill(&mut self, now: Millis, accepted: u64) {
        self.accepted += accepted;
        if accepted > 0 && self.paused_at.is_some() {
            self.high = self.high.max(now);
        }
    }

    pub(super) fn saved(&mut self, record: &ScheduleRecord) -> Verdict {
        let waiting = record.waiting;
        if let Some(fire) = waiting.filter(|fire| self.waiting != Some(*fire)) {
            if !fire.kind.is_asked_for() {
                self.high = self.high.max(fire.time);
            }
            if self.rules.overlap == Overlap::CancelOther {
                let spared: Vec<_> = self.running.difference(&self.cancelled).collect();
                promise!(spared.is_empty(), "L-3: {fire:?} waits for {spared:?}, which were not cancelled");
            }
        }
        self.waiting = waiting;
        let running: BTreeSet<_> = record.running.iter().map(|run| run.task).collect();
        promise!(running == self.running, "the record says that {running:?} run, not {:?}", self.running);
        Ok(())
    }

    /// An entry of the ledger became durable.
    pub(super) fn entered(
        &mut self,
        truth: &mut Truth,
        id: &ScheduleId,
        entry: &FireRecord,
        overlap: Option<Overlap>,
        running_max: usize,
    ) -> Verdict {
        let has_run = matches!(entry.outcome, Outcome::Ran { .. });
        let earlier = self.entries.insert(entry.key(id), has_run);
        if earlier.is_some() {
            promise!(entry.kind == FireKind::Backfill, "L-1: another entry for the same: {entry:?}");
        }
        match entry.kind {
            FireKind::Regular | FireKind::CatchUp => {
                self.high = self.high.max(entry.last);
                self.check_regular(truth, entry)?;
            }
            FireKind::Backfill => {
                self.backfilled += entry.count;
                let fires = truth.fires(&self.rules, entry.time - 1, entry.last);
                promise!(fires.contains(&entry.time), "{} is no fire time", entry.time);
            }
            FireKind::Trigger => {}
        }
        match &entry.outcome {
            Outcome::Ran { task } => {
                if entry.kind != FireKind::Trigger {
                    promise!(self.ran.insert(entry.time), "L-2: {} ran twice", entry.time);
                }
                self.check_overlap(entry, overlap.unwrap_or(self.rules.overlap), running_max)?;
                self.running.insert(*task);
            }
            Outcome::Missed { reason } => self.check_missed(truth, entry, *reason)?,
            Outcome::Skipped { reason: SkipReason::Overlap { .. } | SkipReason::WaitingTaken { .. } } => {
                promise!(!self.running.is_empty(), "L-3: nothing ran, and yet {entry:?}");
            }
            Outcome::Skipped { reason: SkipReason::TooManyRunning { .. } } => {
                promise!(self.running.len() >= running_max, "L-3: not that much ran: {entry:?}");
            }
            Outcome::Skipped { .. } => {}
        }
        Ok(())
    }

    /// What must hold for a fire time that came by itself.
    fn check_regular(&self, truth: &mut Truth, entry: &FireRecord) -> Verdict {
        let Some(scheduled_for) = entry.scheduled_for else { return Ok(()) };
        let (time, late) = (entry.time, entry.decided_at.saturating_sub(scheduled_for));
        let waited = self.waiting.is_some_and(|fire| fire.time == time);
        let is_forced = matches!(
            entry.outcome,
            Outcome::Skipped { reason: SkipReason::Paused | SkipReason::Deleted | SkipReason::RulesChanged }
        );
        promise!(self.paused_at.is_none(), "it is paused: {entry:?}");
        if waited || is_forced {
            return Ok(());
        }
        let jitter = scheduled_for - time;
        promise!(jitter <= self.rules.jitter_ms, "the jitter of {entry:?} is too much");
        promise!(entry.decided_at >= scheduled_for, "{entry:?} came too early");
        if jitter > 0 {
            let before_next = truth.fires(&self.rules, time, scheduled_for).is_empty();
            promise!(before_next, "the jitter of {entry:?} reaches the next fire time");
        }
        promise!((late > ON_TIME) == (entry.kind == FireKind::CatchUp), "{entry:?} is late by {late} ms");
        let window = self.rules.catch_up_ms + self.rules.jitter_ms;
        promise!(entry.decided_at - time <= window, "{entry:?} is out of the window");
        Ok(())
    }

    fn check_overlap(&self, entry: &FireRecord, overlap: Overlap, running_max: usize) -> Verdict {
        let most = if overlap == Overlap::AllowAll { running_max } else { 1 };
        promise!(self.running.len() < most, "L-3: {entry:?} starts under {overlap:?} beside {:?}", self.running);
        Ok(())
    }

    fn check_missed(&self, truth: &mut Truth, entry: &FireRecord, reason: MissReason) -> Verdict {
        let now = entry.decided_at;
        let jitter = self.rules.jitter_ms;
        promise!(self.paused_at.is_none(), "it is paused: {entry:?}");
        promise!(entry.time + jitter >= self.drained_at, "{entry:?} was due when there was an owner");
        match reason {
            MissReason::TooLate { catch_up_ms } => {
                promise!(catch_up_ms == self.rules.catch_up_ms, "{entry:?}: the window is another one");
                promise!(entry.last + catch_up_ms + jitter < now, "{entry:?} is in the window");
            }
            MissReason::TooMany { catch_up_max } => {
                let left = truth.fires(&self.rules, entry.last, now - ON_TIME - jitter).len();
                promise!(left == usize::try_from(catch_up_max).unwrap(), "{entry:?} leaves {left} to catch up with");
            }
        }
        Ok(())
    }

    /// The schedule is gone: every fire time of its life has its outcome. Gives how many there were.
    pub(super) fn ended(&self, truth: &mut Truth, id: &ScheduleId, ledger: &[FireRecord]) -> Result<u64, String> {
        let of_fire = |entry: &&FireRecord| entry.key(id) == FireRecord::key_of_fire(id, entry.time);
        let singles: BTreeMap<_, _> = ledger.iter().filter(of_fire).map(|entry| (entry.time, entry)).collect();
        let is_range = |entry: &&FireRecord| entry.range && entry.kind == FireKind::Regular;
        let ranges: Vec<_> = ledger.iter().filter(is_range).collect();
        let mut covered = vec![0; ranges.len()];
        let mut expected = BTreeSet::new();
        for segment in &self.segments {
            let until = segment.until.ok_or("it is not closed")?;
            for time in truth.fires(&segment.rules, segment.after, until) {
                expected.insert(time);
                let mut in_ranges = 0;
                for (range, covered) in ranges.iter().zip(&mut covered) {
                    if (range.time..=range.last).contains(&time) {
                        in_ranges += 1;
                        *covered += 1;
                    }
                }
                let single = singles.get(&time);
                let is_backfilled = single.is_some_and(|entry| entry.kind == FireKind::Backfill);
                let outcomes = in_ranges + usize::from(single.is_some() && !(is_backfilled && in_ranges > 0));
                promise!(outcomes == 1, "L-1: the fire time {time} has {outcomes} outcomes");
            }
        }
        for (range, covered) in ranges.iter().zip(covered) {
            promise!(range.count == covered, "L-1: {range:?} stands for {covered} fire times");
            let ends = expected.contains(&range.time) && expected.contains(&range.last);
            promise!(ends, "{range:?} does not begin and end with fire times");
        }
        for (time, entry) in &singles {
            let is_one = entry.kind == FireKind::Backfill || expected.contains(time);
            promise!(is_one, "{entry:?} is no fire time of the rules then");
        }
        let triggers = ledger.iter().filter(|entry| entry.kind == FireKind::Trigger).map(|entry| entry.time);
        promise!(triggers.eq(self.triggers.iter().copied()), "not every trigger has its outcome");
        promise!(
            self.accepted == self.backfilled,
            "{} fire times were to be backfilled, {} were",
            self.accepted,
            self.backfilled
        );
        Ok(expected.len() as u64)
    }
}

/// What an entry shows, in short.
pub(super) fn label(entry: &FireRecord) -> String {
    let outcome = match &entry.outcome {
        Outcome::Ran { .. } => "ran",
        Outcome::Missed { reason: MissReason::TooLate { .. } } => "missed: too late",
        Outcome::Missed { reason: MissReason::TooMany { .. } } => "missed: too many",
        Outcome::Skipped { reason } => match reason {
            SkipReason::Paused => "skipped: paused",
            SkipReason::Overlap { .. } => "skipped: overlap",
            SkipReason::WaitingTaken { .. } => "skipped: waiting taken",
            SkipReason::Replaced { .. } => "skipped: replaced",
            SkipReason::TooManyRunning { .. } => "skipped: too many running",
            SkipReason::RulesChanged => "skipped: rules changed",
            SkipReason::Deleted => "skipped: deleted",
            SkipReason::Refused { .. } => "skipped: refused",
        },
    };
    format!("{:?} {outcome}", entry.kind).to_lowercase()
}
