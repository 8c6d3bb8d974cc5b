//! Schedules: what their records and their ledgers say, and what was started.

use std::collections::{BTreeMap, BTreeSet};

use mcp_cron::{Backlog, FireKind, FireRecord, Outcome, Overlap, ScheduleId, ScheduleRecord};
use mcp_proto::TaskId;

use super::{Commit, Started};
use crate::{
    conductor::{FireEntry, Item, Kept, sim::plan::Plan},
    store::{Entry, Table, Write},
};

/// Bytes of a ledger's key after the schedule's: a NUL, the time, what sort of entry it is.
const KEY_TAIL: usize = 10;

/// A schedule and its ledger.
#[derive(Debug)]
struct Ledger {
    plan: Plan,
    record: Option<ScheduleRecord>,
    /// Entries by the end of their keys.
    entries: BTreeMap<Vec<u8>, FireRecord>,
    ran: BTreeSet<TaskId>,
}

/// All schedules, by their keys.
#[derive(Debug, Default)]
pub(super) struct Ledgers {
    all: BTreeMap<Vec<u8>, Ledger>,
    /// Fire times that ran because somebody asked for a past range.
    pub(super) backfilled: usize,
}

impl Ledgers {
    pub(super) fn expect(&mut self, plan: &Plan) {
        let (record, entries, ran) = Default::default();
        self.all.insert(plan.id.key(), Ledger { plan: plan.clone(), record, entries, ran });
    }

    /// Takes what was written, with the tasks and workflows that were started in the same commit.
    pub(super) fn committed(&mut self, commit: &Commit<'_>, new: &[(TaskId, Item)], started: &Started) {
        let mut begun: BTreeMap<TaskId, (ScheduleId, u64)> = BTreeMap::new();
        for (task, item) in new {
            if let Item::Fire { schedule, fire_ms } = item {
                begun.insert(*task, (schedule.clone(), *fire_ms));
            }
        }
        let (mut entered, mut saved) = (BTreeMap::<&[u8], Vec<FireRecord>>::new(), BTreeMap::new());
        for (_, write) in commit.writes {
            match write {
                Write::Put(Entry { table: Table::Fire, key, value, .. }) => {
                    let (id, tail) = key.split_at(key.len() - KEY_TAIL);
                    let fire = FireEntry::read(value).unwrap().fire;
                    let ledger = self.all.get_mut(id).expect("a ledger of a schedule");
                    if let Outcome::Ran { task } = fire.outcome {
                        let begun = begun.remove(&TaskId::from_u128(task.0));
                        assert_eq!(begun, Some((ledger.plan.id.clone(), fire.time)), "the ledger says {fire:?}");
                        self.backfilled += usize::from(fire.kind == FireKind::Backfill);
                    }
                    ledger.enter(tail, &fire, started);
                    entered.entry(id).or_default().push(fire);
                }
                Write::Put(Entry { table: Table::Schedule, key, value, .. }) => {
                    saved.insert(key, Kept::read(value).unwrap().record);
                }
                _ => {}
            }
        }
        assert!(begun.is_empty(), "{begun:?} began without an entry in the ledger");
        for (key, record) in saved {
            let ledger = self.all.get_mut(&key[..]).expect("a schedule that was expected");
            ledger.save(*record, entered.get(&key[..]).map_or(&[], Vec::as_slice));
        }
        self.all.values().for_each(|ledger| ledger.check_overlap(commit, started));
    }

    pub(super) fn at_rest(&self) {
        for Ledger { plan, record, .. } in self.all.values() {
            let Some(record) = record else { continue };
            let id = &plan.id;
            assert_eq!(record.running, [], "{id:?} waits for what is over");
            assert!(record.waiting.is_none() && record.backlog.is_empty(), "{id:?} has not started {record:?}");
        }
    }
}

impl Ledger {
    /// One entry takes the place of another only when what was said before did not run.
    fn enter(&mut self, tail: &[u8], fire: &FireRecord, started: &Started) {
        let earlier = self.entries.insert(tail.to_vec(), fire.clone());
        let is_backfill = fire.kind == FireKind::Backfill;
        match &earlier {
            Some(FireRecord { outcome: Outcome::Ran { task }, .. }) => {
                let never_started = started.refused.contains(&TaskId::from_u128(task.0));
                assert!(never_started, "{earlier:?} became {fire:?}");
            }
            Some(earlier) => assert!(is_backfill, "{earlier:?} became {fire:?}"),
            None => {
                let is_late = |record: &ScheduleRecord| {
                    let waits = record.waiting.is_some_and(|waiting| waiting.time == fire.time);
                    fire.time <= record.decided_until && !waits
                };
                let is_asked_for = is_backfill || fire.kind == FireKind::Trigger;
                let was_decided = !is_asked_for && self.record.as_ref().is_some_and(is_late);
                assert!(!was_decided, "{fire:?} was decided before: {:?}", self.record);
            }
        }
        if let Outcome::Ran { task } = fire.outcome {
            self.ran.insert(TaskId::from_u128(task.0));
        }
    }

    /// What the record says is decided has an entry of this commit, or waits.
    fn save(&mut self, record: ScheduleRecord, entered: &[FireRecord]) {
        let every = self.plan.every_ms;
        let single = |time| entered.iter().filter(move |fire| !fire.range && fire.time == time);
        let of_range = |time| entered.iter().filter(move |fire| fire.range && (fire.time..=fire.last).contains(&time));
        let until = self.record.as_ref().map_or(record.created_at, |before| before.decided_until);
        for time in times(until + 1, record.decided_until, every) {
            let waits = record.waiting.is_some_and(|fire| fire.time == time);
            let entries = single(time).chain(of_range(time));
            let (asked_for, regular): (Vec<_>, Vec<_>) = entries.partition(|fire| fire.kind == FireKind::Backfill);
            let outcomes = regular.len() + usize::from(waits);
            let is_right = outcomes == 1 || (outcomes == 0 && !asked_for.is_empty());
            assert!(is_right, "{time} of {:?} has {outcomes} outcomes: {entered:?}", record.id);
        }
        if let Some(before) = &self.record {
            assert!(record.revision > before.revision && record.decided_until >= before.decided_until);
            if let Some(waiting) = before.waiting.filter(|waiting| record.waiting != Some(*waiting)) {
                assert!(single(waiting.time).next().is_some(), "{waiting:?} came to nothing");
            }
            let (left, more) = (backlog(&before.backlog, every), backlog(&record.backlog, every));
            for time in left.difference(&more) {
                let mut of_backfill = single(*time).chain(of_range(*time));
                let is_there = of_backfill.any(|fire| fire.kind == FireKind::Backfill);
                assert!(is_there, "{time} was to be backfilled and came to nothing");
            }
        }
        self.record = Some(record);
    }

    fn check_overlap(&self, commit: &Commit<'_>, started: &Started) {
        if self.plan.overlap == Overlap::AllowAll {
            return;
        }
        let running: Vec<_> = self.ran.iter().filter(|task| !started.is_over(**task, commit.tasks)).collect();
        let most = 1;
        assert!(running.len() <= most, "{:?} {:?} runs {running:?} at {}", self.plan.id, self.plan.overlap, commit.now);
    }
}

/// Fire times from `first` to `last`.
fn times(first: u64, last: u64, every: u64) -> impl Iterator<Item = u64> {
    let first = first.next_multiple_of(every);
    (first..=last).step_by(usize::try_from(every).unwrap())
}

fn backlog(ranges: &[Backlog], every: u64) -> BTreeSet<u64> {
    ranges.iter().flat_map(|range| times(range.first, range.last, every)).collect()
}
