//! Taking over what the store holds.

use super::Engine;
use crate::types::{Idempotency, Millis, QueueKey, RestoredTask, State, TaskId, Token};

/// The idempotency key of a restored task.
#[derive(Debug)]
pub(super) struct RestoredKey {
    queue: QueueKey,
    idempotency: Idempotency,
    task: TaskId,
}

impl Engine {
    /// Takes over an unfinished task from the store. Only between [`new`](Self::new) and [`opened`](Self::opened),
    /// each task once. Limits do not apply: what was accepted stays accepted. A task whose state is final is left out.
    pub fn restore(&mut self, task: RestoredTask) {
        let RestoredTask { submission, attempts, state, cancel_requested, void } = task;
        let id = submission.id;
        if state.is_final() || self.tasks.find(id).is_some() {
            return;
        }
        // A dispatch is not on record, so a task that was running is on record as waiting.
        let state = if state == State::Running { State::Pending } else { state };
        let slot = self.insert(&submission, state, attempts, void.unwrap_or(Token::ZERO));
        let entry = self.tasks.at_mut(slot);
        entry.restored = true;
        entry.cancel_requested = cancel_requested;
        if let Some(idempotency) = submission.idempotency {
            self.restored_keys.push(RestoredKey { queue: submission.queue, idempotency, task: id });
        }
    }

    /// Remembers an idempotency key from the store, of a task that is finished or not, until `forget_at`. Only before
    /// [`opened`](Self::opened). The keys of unfinished tasks need not be given here: they are known from
    /// [`restore`](Self::restore), but then the window starts anew.
    pub fn remember(&mut self, queue: &QueueKey, idempotency: Idempotency, task: TaskId, forget_at: Millis) {
        self.remember_key(queue, idempotency, task, forget_at);
    }

    /// Ends the restoring. Restored tasks that are due wait for `worker_lease` from here on, so that the workers that
    /// still run them can say so; what nobody reported by then is dispatched anew. Tasks that are submitted from here
    /// on do not wait for that.
    pub fn opened(&mut self, now: Millis) {
        self.now = self.now.max(now);
        let now = self.now;
        let grace_end = now.saturating_add(self.config.worker_lease);
        let slots: Vec<_> = self.tasks.iter().map(|(slot, _)| slot).collect();
        for slot in slots {
            let task = self.tasks.at_mut(slot);
            if task.state != State::Pending && task.not_before > now && !task.cancel_requested {
                let due = task.not_before;
                self.set_timer(slot, due);
                continue;
            }
            task.held = true;
            if task.not_before == 0 {
                task.not_before = now;
            }
            self.tasks.place_in(slot, State::Pending);
            self.set_timer(slot, grace_end);
        }
        let forget_at = now.saturating_add(self.config.idempotency_window);
        for key in std::mem::take(&mut self.restored_keys) {
            let known = self
                .board
                .buckets
                .queues
                .find(&key.queue)
                .and_then(|queue| self.keys.get(queue, &key.idempotency.key, now));
            // Two tasks have one key when the earlier one outlived its window: the key is the later one's.
            if known.is_none_or(|known| known.task < key.task) {
                self.remember_key(&key.queue, key.idempotency, key.task, forget_at);
            }
        }
    }
}
