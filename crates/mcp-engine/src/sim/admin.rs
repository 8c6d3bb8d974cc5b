//! Somebody who sets the rules of queues.

use super::{
    checker::Verdict,
    plan::queue_names,
    world::{Event, World},
};
use crate::types::{Command, Dispatch, Intake, QueueKey, QueueRules, Refused};

/// How often rules are set back to what lets everything end, until they are.
const RESUME_INTERVAL: u64 = 300;

impl World {
    /// Pauses, drains, resumes a queue, or changes its limits.
    pub(super) fn administer(&mut self) {
        if !self.is_faulty() {
            return;
        }
        let next = self.dice.range(100, 3_000);
        self.after(next, Event::Administer);
        let names = queue_names();
        let queue = names[usize::try_from(self.dice.range(0, names.len() as u64 - 1)).unwrap()].clone();
        let mut rules = self.store.rules.get(&queue).cloned().unwrap_or_default();
        match self.dice.range(0, 5) {
            0 | 1 => rules.dispatch = Dispatch::Paused { since: self.now },
            2 => rules.intake = Intake::Closed,
            3 => rules.concurrency_max = self.dice.percent(70).then(|| self.small(1, 4)),
            4 => rules.key_concurrency_max = self.dice.percent(70).then(|| self.small(1, 2)),
            _ => (rules.dispatch, rules.intake) = (Dispatch::Running, Intake::Open),
        }
        self.ask_for(queue, rules);
    }

    fn small(&mut self, low: u64, high: u64) -> u32 {
        u32::try_from(self.dice.range(low, high)).unwrap()
    }

    /// Sees to it that every queue hands out and takes in again: from now on everything must end.
    pub(super) fn resume(&mut self) {
        let keeps_back = |rules: &QueueRules| rules.dispatch != Dispatch::Running || rules.intake != Intake::Open;
        let paused: Vec<_> = self.store.rules.iter().filter(|(_, rules)| keeps_back(rules)).collect();
        let paused: Vec<_> = paused.into_iter().map(|(queue, rules)| (queue.clone(), rules.clone())).collect();
        for (queue, rules) in paused {
            self.ask_for(queue, QueueRules { dispatch: Dispatch::Running, intake: Intake::Open, ..rules });
        }
        self.after(RESUME_INTERVAL, Event::Resume);
    }

    fn ask_for(&mut self, queue: QueueKey, rules: QueueRules) {
        if let Some(owner) = self.owner_of(self.plan.partition(&queue)) {
            self.send(Event::SetQueueCall { owner, queue, rules });
        }
    }

    pub(super) fn set_queue_called(&mut self, owner: usize, queue: QueueKey, rules: QueueRules) -> Verdict {
        let (again, same) = (queue.clone(), rules.clone());
        if !self.awake(owner, || Event::SetQueueCall { owner, queue: again, rules: same }) {
            return Ok(());
        }
        let partition = self.plan.partition(&queue);
        match self.apply(owner, Command::SetQueue { queue, partition, rules })? {
            Ok(_) | Err(Refused::Full | Refused::NotOwned(_)) => Ok(()),
            Err(refused) => Err(format!("rules are refused: {refused}")),
        }
    }
}
