//! Whether a batch of tasks can be accepted as a whole.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::Engine;
use crate::types::{Millis, QueueKey, Refused, Submission, TaskId};

/// A name within a queue.
type Name<'a> = (&'a QueueKey, &'a Arc<str>);

/// What the tasks of a batch before the one that is looked at would change.
#[derive(Debug)]
struct Plan<'a> {
    /// Tasks that each queue would get.
    added: BTreeMap<&'a QueueKey, usize>,
    ids: BTreeSet<TaskId>,
    /// Idempotency keys, with body and task.
    keys: BTreeMap<Name<'a>, (u64, TaskId)>,
    names: BTreeMap<Name<'a>, TaskId>,
    tasks: usize,
    queues: usize,
}

impl<'a> Plan<'a> {
    fn remember(&mut self, submission: &'a Submission, task: TaskId) {
        if let Some(idempotency) = &submission.idempotency {
            self.keys.insert((&submission.queue, &idempotency.key), (idempotency.body_hash, task));
        }
    }
}

impl Engine {
    /// Whether a batch would be accepted as it stands, every one of its tasks: the shell asks this first when a batch
    /// is to be taken as a whole or not at all. `now` as in [`apply`](Self::apply). Changes nothing.
    ///
    /// # Errors
    /// The position of the first task that [`Command::Submit`](crate::Command::Submit) would refuse, and why.
    pub fn admits(&self, now: Millis, batch: &[Submission]) -> Result<(), (usize, Refused)> {
        let now = self.now.max(now);
        let mut plan = Plan {
            added: BTreeMap::new(),
            ids: BTreeSet::new(),
            keys: BTreeMap::new(),
            names: BTreeMap::new(),
            tasks: self.tasks.len(),
            queues: self.board.queues.with_tasks(),
        };
        for (position, submission) in batch.iter().enumerate() {
            self.admit(now, submission, &mut plan).map_err(|refused| (position, refused))?;
        }
        Ok(())
    }

    /// The steps of [`submit`](Self::submit), on paper.
    fn admit<'a>(&self, now: Millis, submission: &'a Submission, plan: &mut Plan<'a>) -> Result<(), Refused> {
        let Submission { id, partition, queue, unique, idempotency, .. } = submission;
        if !self.owns(*partition) {
            return Err(Refused::NotOwned(*partition));
        }
        if let Some(idempotency) = idempotency {
            let remembered = self.remembered(now, submission, idempotency);
            let earlier = remembered.map(|earlier| (earlier.body_hash, earlier.task));
            match earlier.or_else(|| plan.keys.get(&(queue, &idempotency.key)).copied()) {
                Some((body_hash, _)) if body_hash == idempotency.body_hash => return Ok(()),
                Some((_, task)) => return Err(Refused::IdempotencyConflict(task)),
                None => {}
            }
        }
        let name = unique.as_ref().map(|name| (queue, name));
        let first = name.and_then(|name| plan.names.get(&name).copied()).or_else(|| self.same_name(submission));
        if let Some(first) = first {
            plan.remember(submission, first);
            return Ok(());
        }
        if plan.ids.contains(id) || self.tasks.find(*id).is_some() {
            return Ok(());
        }
        let slot = self.board.queues.find(queue);
        let before = slot.map_or(0, |slot| self.board.queues.at(slot).counts.sum());
        let added = plan.added.entry(queue).or_default();
        let queue_len = before + *added;
        self.check_room(slot, queue_len, plan.tasks, plan.queues)?;
        *added += 1;
        plan.tasks += 1;
        plan.queues += usize::from(queue_len == 0);
        plan.ids.insert(*id);
        plan.names.extend(name.map(|name| (name, *id)));
        plan.remember(submission, *id);
        Ok(())
    }
}
