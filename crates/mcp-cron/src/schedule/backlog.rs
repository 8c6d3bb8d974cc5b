//! Backfills: past fire times that did not run, started one range after the other.

use super::{Context, Schedule};
use crate::{
    backfill::{Backfilled, Known},
    error::Error,
    faults::Fault,
    id::Millis,
    ledger::{FireKind, Outcome, Range, SkipReason},
    limits::ON_TIME,
    record::{Backlog, Fire},
};

impl Schedule {
    /// Takes the fire times from `from` on and before `to` into the backlog, without those that ran or are under way.
    pub(crate) fn backfill(
        &mut self,
        context: &mut Context<'_>,
        from: Millis,
        to: Millis,
        known: &Known,
    ) -> Result<Backfilled, Error> {
        if from >= to || to > context.now + ON_TIME {
            return Err(Error::BackfillRange);
        }
        if !self.recent.covers(known.as_of) {
            return Err(Error::LedgerStale { as_of: known.as_of });
        }
        // What is not decided yet has its turn anyway; during a pause it has not, and is decided on below.
        let is_paused = self.record.paused_at.is_some();
        let last = (to - 1).min(if is_paused { context.now } else { self.record.decided_until });
        let (ranges, done) = self.missing(context, from, last, known)?;
        if ranges.len() + self.record.backlog.len() > context.limits.backlog_ranges_max {
            return Err(Error::BackfillScattered { max: context.limits.backlog_ranges_max });
        }
        if !ranges.is_empty() {
            if is_paused {
                self.settle(context, SkipReason::Paused);
            }
            self.record.backlog.extend(ranges);
            self.dirty = true;
        }
        Ok(done)
    }

    /// The fire times from `from` to `last` that are neither done nor under way, as ranges.
    fn missing(
        &self,
        context: &Context<'_>,
        from: Millis,
        last: Millis,
        known: &Known,
    ) -> Result<(Vec<Backlog>, Backfilled), Error> {
        let max = context.limits.backfill_max;
        let mut room = (max as u64).saturating_sub(self.record.backlog.iter().map(|range| range.left).sum());
        let (mut ranges, mut done) = (Vec::<Backlog>::new(), Backfilled::default());
        let mut is_unbroken = false;
        // Fire times are after a moment; the very first moment is none.
        let mut at = from.saturating_sub(1);
        while let Some(time) = self.rules.next(at).filter(|time| *time <= last) {
            room = room.checked_sub(1).ok_or(Error::BackfillTooLarge { max })?;
            at = time;
            let has_run = known.ran.contains(&time) || self.recent.has(time);
            let has_run = has_run && !context.has(Fault::BackfillRepeats);
            done.ran_before += u32::from(has_run);
            if has_run || self.is_under_way(time) || self.is_in_backlog(time) {
                is_unbroken = false;
                continue;
            }
            done.accepted += 1;
            match ranges.last_mut().filter(|_| is_unbroken) {
                Some(range) => (range.last, range.left) = (time, range.left + 1),
                None => ranges.push(Backlog { first: time, last: time, left: 1 }),
            }
            is_unbroken = true;
        }
        Ok((ranges, done))
    }

    fn is_in_backlog(&self, time: Millis) -> bool {
        self.record.backlog.iter().any(|range| (range.first..=range.last).contains(&time))
    }

    /// Takes the next fire time out of the backlog.
    pub(super) fn next_of_backlog(&mut self, context: &Context<'_>) -> Option<Fire> {
        let range = self.record.backlog.first_mut()?;
        let time = range.first;
        let next = self.rules.next(time).filter(|next| *next <= range.last);
        range.left = range.left.saturating_sub(1);
        match next {
            Some(next) => range.first = next,
            None => drop(self.record.backlog.remove(0)),
        }
        self.dirty = true;
        Some(Fire { time, scheduled_for: context.now, kind: FireKind::Backfill })
    }

    /// Gives up what is left of the backlog.
    pub(super) fn drop_backlog(&mut self, context: &mut Context<'_>, reason: &SkipReason) {
        for Backlog { first, last, left } in std::mem::take(&mut self.record.backlog) {
            let range = Range { first, last, count: left, at_least: false };
            self.enter_range(context, range, FireKind::Backfill, Outcome::Skipped { reason: reason.clone() });
        }
    }
}
