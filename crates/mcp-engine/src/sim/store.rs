//! A store that survives everything and refuses what comes from an earlier owner.

use std::collections::BTreeMap;

use crate::types::{Idempotency, Millis, QueueKey, Record, RestoredTask, State, Submission, TaskId};

/// What is durable.
#[derive(Debug, Default)]
pub(super) struct Store {
    epoch: u64,
    pub(super) unfinished: BTreeMap<TaskId, RestoredTask>,
    pub(super) keys: BTreeMap<(QueueKey, String), (Idempotency, TaskId, Millis)>,
}

/// The commit came from an owner that is not the latest.
#[derive(Debug)]
pub(super) struct Fenced;

impl Store {
    /// Starts the next epoch.
    pub(super) fn open(&mut self) -> u64 {
        self.epoch += 1;
        self.epoch
    }

    /// The epoch of the rightful owner.
    pub(super) const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Makes records durable, all of them or none.
    pub(super) fn commit(
        &mut self,
        epoch: u64,
        records: &[Record],
        submissions: &BTreeMap<TaskId, (Submission, Millis)>,
    ) -> Result<(), Fenced> {
        if epoch != self.epoch {
            return Err(Fenced);
        }
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

    /// Unfinished tasks by their state on record, for the trace.
    pub(super) fn count(&self, state: State) -> usize {
        self.unfinished.values().filter(|task| task.state == state).count()
    }
}
