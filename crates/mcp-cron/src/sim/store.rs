//! A store that survives everything and refuses what comes from an earlier owner.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    effect::Effect,
    id::{Millis, Partition, ScheduleId, TaskId},
    ledger::{FireRecord, Outcome},
    record::ScheduleRecord,
};

/// What a batch does, in order.
#[derive(Debug, Clone)]
pub(super) enum Write {
    Effect(Effect),
    /// A task begins, and would end by itself at some moment.
    TaskStarted {
        id: ScheduleId,
        task: TaskId,
        ends: Millis,
    },
    TaskEnded(TaskId),
}

/// What is durable.
#[derive(Debug, Default)]
pub(super) struct Store {
    epoch: u64,
    pub(super) records: BTreeMap<ScheduleId, (Partition, String)>,
    pub(super) ledger: BTreeMap<Vec<u8>, (ScheduleId, String)>,
    /// Tasks that are not over, and when they end.
    pub(super) tasks: BTreeMap<TaskId, (ScheduleId, Millis)>,
}

impl Store {
    /// Starts the next epoch.
    pub(super) const fn open(&mut self) -> u64 {
        self.epoch += 1;
        self.epoch
    }

    /// Makes a batch durable, all of it or, when it comes from an earlier owner, nothing.
    pub(super) fn commit(&mut self, epoch: u64, now: Millis, writes: &[Write]) -> bool {
        if epoch != self.epoch {
            return false;
        }
        for write in writes {
            match write {
                Write::TaskStarted { id, task, ends } => drop(self.tasks.insert(*task, (id.clone(), *ends))),
                Write::TaskEnded(task) => drop(self.tasks.remove(task)),
                Write::Effect(Effect::Save { partition, record }) => {
                    let text = serde_json::to_string(record).unwrap();
                    self.records.insert(record.id.clone(), (*partition, text));
                }
                Write::Effect(Effect::Remove { id, .. }) => drop(self.records.remove(id)),
                Write::Effect(Effect::Ledger { id, entry, .. }) => {
                    let text = serde_json::to_string(entry).unwrap();
                    self.ledger.insert(entry.key(id), (id.clone(), text));
                }
                Write::Effect(Effect::CancelRun { task, .. }) => {
                    if let Some((_, ends)) = self.tasks.get_mut(task) {
                        *ends = (*ends).min(now + 5_000);
                    }
                }
                Write::Effect(Effect::Start { .. }) => {}
            }
        }
        true
    }

    /// A schedule as it was saved.
    pub(super) fn record(&self, id: &ScheduleId) -> Option<ScheduleRecord> {
        self.records.get(id).map(|(_, text)| serde_json::from_str(text).unwrap())
    }

    /// The ledger of a schedule.
    pub(super) fn ledger_of(&self, id: &ScheduleId) -> Vec<FireRecord> {
        let ours = self.ledger.values().filter(|(of, _)| of == id);
        ours.map(|(_, text)| serde_json::from_str(text).unwrap()).collect()
    }

    /// Fire times of a schedule that ran, as a backfill's caller reads them.
    pub(super) fn ran(&self, id: &ScheduleId) -> BTreeSet<Millis> {
        let ran = self.ledger_of(id).into_iter().filter(|entry| {
            matches!(entry.outcome, Outcome::Ran { .. }) && entry.key(id) == FireRecord::key_of_fire(id, entry.time)
        });
        ran.map(|entry| entry.time).collect()
    }
}
