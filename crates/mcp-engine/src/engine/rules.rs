//! Setting the rules of queues.

use super::Engine;
use crate::{
    limits::QueueLimits,
    slab::Slot,
    timers::Gate,
    types::{Partition, QueueKey, QueueRules, Rate, Refused},
};

impl Engine {
    /// Sets the rules of a queue, all of them at once.
    pub(super) fn set_queue(&mut self, key: &QueueKey, partition: Partition, rules: QueueRules) -> Result<(), Refused> {
        let Some(epoch) = self.epoch(partition) else { return Err(Refused::NotOwned(partition)) };
        let known = self.board.queues.find(key);
        let has_rules = known.is_some_and(|queue| self.board.queues.at(queue).limits.is_some());
        if !has_rules && rules != QueueRules::default() && self.board.queues.with_rules() >= self.config.queues_max {
            return Err(Refused::Full);
        }
        let queue = self.board.queues.ensure(key, partition, epoch);
        self.set_rules(queue, rules);
        Ok(())
    }

    /// Replaces the rules of a queue. What is saved up under a rate stays; gates open when the command is done.
    pub(super) fn set_rules(&mut self, queue: Slot, rules: QueueRules) {
        let now = self.now;
        let before = self.board.queues.at(queue).limits.as_ref().map(|limits| limits.rules.clone());
        if rules == QueueRules::default() {
            self.clear_rules(queue);
        } else if let Some(limits) = &mut self.board.queues.at_mut(queue).limits {
            limits.limit.set_rate(rules.rate, now);
            if limits.rules.key_rate.is_none() {
                limits.keys_since = now;
            }
            limits.rules = rules.clone();
        } else {
            let limits = Box::new(QueueLimits::new(rules.clone(), now));
            self.board.queues.set_limits(queue, Some(limits));
        }
        self.set_key_rate(queue, before.as_ref().and_then(|rules| rules.key_rate), rules.key_rate);
        if before.is_none_or(|before| before.weights != rules.weights) {
            self.board.reweigh(queue);
        }
        for party in self.board.parties.of_queue(queue) {
            self.refresh(queue, Some(party));
            self.marked.push(Gate::Party(party));
        }
        self.refresh(queue, None);
        self.mark(queue, None);
        self.board.queues.forget_unused(queue);
    }

    /// Takes the rules of a queue away: its gates are open from here on.
    fn clear_rules(&mut self, queue: Slot) {
        if let Some(limits) = self.board.queues.set_limits(queue, None) {
            self.timers.wake(Gate::Queue(queue), limits.limit.wake, None);
            self.board.set_queue_shut(queue, false, self.now);
        }
    }

    /// Changes the rate of every key of a queue. A key that is remembered for its rate alone is forgotten with it.
    fn set_key_rate(&mut self, queue: Slot, before: Option<Rate>, after: Option<Rate>) {
        if before == after {
            return;
        }
        if after.is_none() {
            self.board.parties.forget_idle(queue);
        }
        let now = self.now;
        for party in self.board.parties.of_queue(queue) {
            self.board.parties.set_rate(party, |limit| limit.set_rate(after, now));
        }
    }
}
