//! An owner of the book: what it hears, and how it answers the book's orders.

use dice::Dice;

use super::{
    plan::Plan,
    store::{Store, Write},
};
use crate::{
    effect::Effect,
    id::{Millis, Partition, TaskId},
    ledger::Refusal,
    schedules::Schedules,
};

/// All schedules are here.
pub(super) const HOME: Partition = Partition(3);

/// Calls of `tick` in one batch.
const ROUNDS_MAX: usize = 40;

#[derive(Debug)]
pub(super) struct Owner {
    pub(super) book: Schedules,
    pub(super) epoch: u64,
    /// What its clock shows is the time plus this, less the plan's largest difference.
    pub(super) ahead: Millis,
    /// What it does in the batch under way.
    pub(super) writes: Vec<Write>,
}

impl Owner {
    /// Takes over from whoever had the store.
    pub(super) fn new(store: &mut Store, plan: &Plan, ahead: Millis) -> Self {
        let mut book = Schedules::with_fault(plan.limits.clone(), plan.fault);
        let epoch = store.open();
        for (partition, text) in store.records.values() {
            book.restore(*partition, serde_json::from_str(text).unwrap()).unwrap();
        }
        Self { book, epoch, ahead, writes: Vec::new() }
    }

    /// Ends tasks whose time has come.
    pub(super) fn end_tasks(&mut self, now: Millis, store: &Store) {
        for (task, (_, ends)) in &store.tasks {
            if *ends <= now {
                self.writes.push(Write::TaskEnded(*task));
                let mut effects = Vec::new();
                // The schedule may be gone.
                self.book.run_ended(now, *task, &mut effects);
                self.writes.extend(effects.into_iter().map(Write::Effect));
            }
        }
    }

    /// Ticks until nothing is due. False: the limits did not allow it.
    pub(super) fn tick(&mut self, now: Millis, dice: &mut Dice, plan: &Plan, tasks_made: &mut u128) -> bool {
        for _ in 0..ROUNDS_MAX {
            if self.book.next_timer().is_none_or(|timer| timer > now) {
                break;
            }
            let mut effects = Vec::new();
            self.book.tick(now, &mut effects);
            self.obey(now, effects, dice, plan, tasks_made);
        }
        self.book.next_timer().is_none_or(|timer| timer > now + 1)
    }

    /// Answers every start, in order.
    pub(super) fn obey(
        &mut self,
        now: Millis,
        effects: Vec<Effect>,
        dice: &mut Dice,
        plan: &Plan,
        tasks_made: &mut u128,
    ) {
        for effect in effects {
            self.writes.push(Write::Effect(effect.clone()));
            let Effect::Start { id, fire, .. } = effect else { continue };
            let mut answer = Vec::new();
            if dice.permille(plan.refusing) {
                assert!(self.book.refused(now, &id, &fire, Refusal::QueueFull, &mut answer));
            } else {
                *tasks_made += 1;
                let task = TaskId(*tasks_made);
                assert!(self.book.started(now, &id, &fire, task, &mut answer));
                let ends = now + dice.range(1_000, plan.work_time);
                self.writes.push(Write::TaskStarted { id, task, ends });
            }
            self.writes.extend(answer.into_iter().map(Write::Effect));
        }
    }
}
