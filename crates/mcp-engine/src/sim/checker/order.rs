//! Who comes first, decided a second time: by age and priority among the tasks of one key, by turns among keys.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{Verdict, limits::Limits, promise};
use crate::types::{Millis, Placement, QueueKey, Submission, TaskId, WorkKind};

/// What a level of priority is worth in waiting time.
const LEVEL_MS: i64 = 10_000;

/// Turns that one key may have before another one beyond what their shares say: for rounding at either end.
const TURNS_SLACK: u32 = 2;

/// Tasks that the same workers can run.
type Kind = (QueueKey, WorkKind, Option<Arc<Placement>>);

/// A key, or none.
type Key = Option<Arc<str>>;

/// How often each key came before each other one that waited all the while.
#[derive(Debug, Default)]
pub(in crate::sim) struct Turns(BTreeMap<(Kind, Key), BTreeMap<Key, u32>>);

impl Turns {
    /// A task is started while these others wait that could be started just as well, but for their keys. Of the
    /// `restored` ones nobody knows.
    pub(super) fn started(
        &mut self,
        id: TaskId,
        waiting: impl Iterator<Item = TaskId>,
        restored: &[TaskId],
        limits: &Limits,
        now: Millis,
    ) -> Verdict {
        let task = limits.task(id);
        let kind = kind_of(task);
        // A worker keeps a slot for one that stopped another; others may come first meanwhile.
        if task.placement.as_ref().is_some_and(|placement| placement.preempt) {
            return Ok(());
        }
        let mut waited = BTreeMap::new();
        for other in waiting.filter(|other| *other != id) {
            let submission = limits.task(other);
            if kind_of(submission) != kind {
                continue;
            }
            if submission.key == task.key {
                let comes_first = place(task) < place(submission);
                promise!(comes_first, "S8: {id:?} is started before {other:?}, which has waited longer");
            } else if !limits.key_is_shut(other, restored, now) {
                waited.insert(submission.key.clone(), other);
            }
        }
        let keys: BTreeSet<_> = waited.keys().cloned().collect();
        self.0.retain(|(of, key), _| *of != kind || (keys.contains(key) && *key != task.key));
        for (key, other) in waited {
            let turns = self.0.entry((kind.clone(), key)).or_default().entry(task.key.clone()).or_default();
            *turns += 1;
            let most = limits.weight(id).div_ceil(limits.weight(other).max(1)) + TURNS_SLACK;
            promise!(*turns <= most, "S8: {other:?} waits while {:?} has {turns} turns, not {most}", task.key);
        }
        Ok(())
    }
}

fn kind_of(task: &Submission) -> Kind {
    let placement = task.placement.clone().filter(|placement| **placement != Placement::default());
    (task.queue.clone(), task.kind.clone(), placement)
}

fn place(task: &Submission) -> (i64, TaskId) {
    let due = i64::try_from(task.submitted_at.max(task.not_before)).unwrap();
    (due - i64::from(task.priority) * LEVEL_MS, task.id)
}
