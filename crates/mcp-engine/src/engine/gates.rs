//! Gates: what keeps tasks back although a worker is free, and how they open again.
//!
//! A gate shuts at once, in the step that uses up what it guards. What may open one, and what opens one because time has
//! passed, marks it; at the end of the command the marked ones are looked at, and what they let through is dispatched. So a permit that comes back with a
//! task is not gone before the task has its place again.

use std::collections::BTreeSet;

use super::Engine;
use crate::{
    faults::Fault,
    limits::Block,
    slab::Slot,
    timers::Gate,
    types::{Effect, Millis},
};

impl Engine {
    /// Looks at the gates of a queue and a key after one attempt more or less counts.
    pub(super) fn occupancy_changed(&mut self, queue: Slot, party: Option<Slot>, grew: bool) {
        if self.board.queues.at(queue).limits.is_none() {
            return;
        }
        if grew {
            self.refresh(queue, party);
        } else {
            self.mark(queue, party);
        }
    }

    /// Has the gates looked at when the command is done.
    pub(super) fn mark(&mut self, queue: Slot, party: Option<Slot>) {
        if let Some(party) = party {
            self.marked.push(Gate::Party(party));
        }
        self.marked.push(Gate::Queue(queue));
    }

    /// Shuts or opens the gates that a task passes.
    pub(super) fn refresh(&mut self, queue: Slot, party: Option<Slot>) {
        if let Some(party) = party {
            self.refresh_party(party);
        }
        self.refresh_queue(queue);
    }

    fn refresh_queue(&mut self, slot: Slot) {
        let Some(queue) = self.board.queues.get(slot) else { return };
        let Some(limits) = &queue.limits else { return };
        let block = limits.blocks(queue.occupied(), self.now).find(|block| !self.ignores(*block));
        let (before, was_shut) = (limits.limit.wake, limits.limit.shut.is_some());
        let wake = wake(block, queue.queued() > 0);
        if before != wake {
            self.timers.wake(Gate::Queue(slot), before, wake);
            let limits = self.board.queues.at_mut(slot).limits.as_mut().expect("it has limits");
            limits.limit.wake = wake;
        }
        if was_shut != block.is_some() {
            self.board.set_queue_shut(slot, block.is_some(), self.now);
            self.marked.extend(was_shut.then_some(Gate::Queue(slot)));
        }
    }

    fn refresh_party(&mut self, slot: Slot) {
        let Some(party) = self.board.parties.get(slot) else { return };
        let (before, was_shut) = (party.limit.wake, party.limit.shut.is_some());
        let block = self
            .board
            .queues
            .at(party.queue)
            .limits
            .as_ref()
            .and_then(|limits| party.blocks(limits, self.now).find(|block| !self.ignores(*block)));
        let waits = || party.lanes.iter().any(|lane| !self.board.buckets.lanes.at(*lane).waiting.is_empty());
        let wake = wake(block, waits());
        if before != wake {
            self.timers.wake(Gate::Party(slot), before, wake);
            self.board.parties.at_mut(slot).limit.wake = wake;
        }
        if was_shut != block.is_some() && !(was_shut && self.has(Fault::LaneNotWoken)) {
            self.board.set_party_shut(slot, block.is_some(), self.now);
            self.marked.extend(was_shut.then_some(Gate::Party(slot)));
        }
    }

    /// True for a limit that a planted bug leaves out.
    fn ignores(&self, block: Block) -> bool {
        match block {
            Block::Paused { .. } => self.has(Fault::PauseIgnored),
            Block::Rate { .. } => self.has(Fault::RateIgnored),
            Block::Concurrency { .. } => false,
        }
    }

    /// Looks at what the command may have opened, and dispatches what can be dispatched now.
    pub(super) fn settle(&mut self, effects: &mut Vec<Effect>) {
        loop {
            let marked = std::mem::take(&mut self.marked);
            let mut queues = BTreeSet::new();
            for gate in marked {
                match gate {
                    Gate::Party(party) => {
                        self.refresh_party(party);
                        queues.extend(self.board.parties.get(party).map(|party| party.queue));
                    }
                    Gate::Queue(queue) => _ = queues.insert(queue),
                }
            }
            for queue in queues {
                self.refresh_queue(queue);
                self.drain(queue, effects);
            }
            self.serve_roomy(effects);
            self.preempt(effects);
            if self.marked.is_empty() && self.roomy.is_empty() {
                return;
            }
        }
    }

    /// True when something is to be looked at before the command is done.
    pub(super) fn is_unsettled(&self) -> bool {
        !(self.marked.is_empty() && self.roomy.is_empty() && self.urgent.is_empty())
    }

    /// Dispatches the tasks of a queue for which there are workers.
    fn drain(&mut self, queue: Slot, effects: &mut Vec<Effect>) {
        while let Some((bucket, worker)) = self.next_of(queue) {
            self.dispatch(bucket, worker, effects);
        }
    }

    /// The first of a queue's published tasks that a worker has room for.
    fn next_of(&self, queue: Slot) -> Option<(Slot, Slot)> {
        let mut best = None;
        for &bucket in &self.board.queues.get(queue)?.buckets {
            if let Some(head) = self.board.buckets.at(bucket).published
                && best.is_none_or(|(place, _, _)| head < place)
                && let Some(worker) = self.pick(bucket)
            {
                best = Some((head, bucket, worker));
            }
        }
        best.map(|(_, bucket, worker)| (bucket, worker))
    }

    /// A gate's timer fires.
    pub(super) fn wake(&mut self, gate: Gate) {
        match gate {
            Gate::Queue(queue) => self.refresh_queue(queue),
            Gate::Party(party) => self.refresh_party(party),
        }
        self.marked.push(gate);
    }
}

/// When a gate opens by itself, if anything waits for that.
fn wake(block: Option<Block>, waits: bool) -> Option<Millis> {
    match block {
        Some(Block::Rate { next }) if waits => Some(next),
        _ => None,
    }
}
