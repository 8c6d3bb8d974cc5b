//! A store that survives everything and refuses what comes from an earlier owner of a partition.

use std::collections::{BTreeMap, BTreeSet};

use super::plan::partition_of;
use crate::types::{Idempotency, Millis, Partition, QueueKey, QueueRules, Record, RestoredTask, Submission, TaskId};

/// What is durable.
#[derive(Debug, Default)]
pub(super) struct Store {
    epochs: BTreeMap<Partition, u64>,
    pub(super) unfinished: BTreeMap<TaskId, RestoredTask>,
    pub(super) rules: BTreeMap<QueueKey, QueueRules>,
    pub(super) keys: BTreeMap<(QueueKey, String), (Idempotency, TaskId, Millis)>,
    /// What may run of partitions whose owners closed them in order, until the next one has begun.
    pub(super) closed: BTreeMap<Partition, BTreeSet<TaskId>>,
}

/// The commit came from somebody who is not the latest owner of one of its partitions.
#[derive(Debug)]
pub(super) struct Fenced;

impl Store {
    /// Starts the next epoch of a partition.
    pub(super) fn open(&mut self, partition: Partition) -> u64 {
        let epoch = self.epochs.entry(partition).or_default();
        *epoch += 1;
        *epoch
    }

    /// The epoch of the rightful owner of a partition; 0 when there was none yet.
    pub(super) fn epoch(&self, partition: Partition) -> u64 {
        self.epochs.get(&partition).copied().unwrap_or_default()
    }

    /// True when these are the epochs of the rightful owners.
    pub(super) fn accepts(&self, epochs: &BTreeMap<Partition, u64>) -> bool {
        epochs.iter().all(|(partition, epoch)| self.epoch(*partition) == *epoch)
    }

    /// Unfinished tasks of a partition.
    pub(super) fn tasks_of(&self, partition: Partition) -> impl Iterator<Item = &RestoredTask> {
        self.unfinished.values().filter(move |task| partition_of(task.submission.id) == partition)
    }

    /// Makes records of several partitions durable, all of them or none.
    pub(super) fn commit(
        &mut self,
        epochs: &BTreeMap<Partition, u64>,
        records: &[Record],
        submissions: &BTreeMap<TaskId, (Submission, Millis)>,
        rules: BTreeMap<QueueKey, QueueRules>,
    ) -> Result<(), Fenced> {
        if !self.accepts(epochs) {
            return Err(Fenced);
        }
        self.rules.extend(rules);
        for record in records {
            match record {
                Record::Submitted { task, state } => {
                    let (submission, forget_at) = submissions[task].clone();
                    if let Some(idempotency) = &submission.idempotency {
                        let name = (submission.queue.clone(), idempotency.key.to_string());
                        self.keys.insert(name, (idempotency.clone(), *task, forget_at));
                    }
                    let (attempts, cancel_requested) = Default::default();
                    let state = *state;
                    self.unfinished.insert(
                        *task,
                        RestoredTask { submission, attempts, state, cancel_requested, void: None, started: None },
                    );
                }
                Record::Merged { task, submitted } => {
                    let (submission, forget_at) = submissions[submitted].clone();
                    let idempotency = submission.idempotency.expect("only a key is to be kept");
                    let name = (submission.queue, idempotency.key.to_string());
                    self.keys.insert(name, (idempotency, *task, forget_at));
                }
                Record::Retry { task, state, attempts, not_before, void, .. } => {
                    let entry = self.task(*task);
                    (entry.state, entry.attempts, entry.void) = (*state, *attempts, Some(*void));
                    entry.submission.not_before = *not_before;
                }
                Record::Started { task, token, .. } => self.task(*task).started = Some(*token),
                Record::CancelRequested { task } => self.task(*task).cancel_requested = true,
                Record::Finished { task, .. } => drop(self.unfinished.remove(task)),
            }
        }
        Ok(())
    }

    fn task(&mut self, task: TaskId) -> &mut RestoredTask {
        // A record for a final task: the checker has seen it; here it must only do no harm.
        self.unfinished.entry(task).or_insert_with(|| panic!("a record of {task:?}, which is final or unknown"))
    }
}
