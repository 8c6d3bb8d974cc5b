//! Starting what is due.

use serde_json::Value;

use super::{
    Effect, ItemRef, RunState, StepState,
    ends::Ended,
    errors,
    run::{Run, Turn},
    work::{SlotState, Work},
};
use crate::{expression::Item, json::Json};

/// Most items of a `for_each`.
pub const ITEMS_MAX: usize = 10_000;

/// What a run came to in its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Advanced {
    /// It waits for something to end.
    Waits,
    /// It has more to do than the turn allowed.
    HasMore,
    /// It is final.
    IsFinal,
}

/// What a step does when its turn has come.
enum Decision {
    /// Its condition is false.
    Skip,
    /// Something before it failed.
    SkipAfter(u32),
    /// An expression failed.
    Fail(Json),
    /// It runs once.
    Once,
    /// It runs for each item.
    ForEach(Vec<Value>),
}

impl Run {
    /// Starts and stops what can be, as far as the turn allows.
    pub(super) fn advance(&mut self, turn: &mut Turn<'_>) -> Advanced {
        loop {
            if turn.is_spent() {
                return Advanced::HasMore;
            }
            if let Some((step, item)) = self.cancels.pop_front() {
                self.cancel_task(step, item, turn);
            } else if let Some(step) = self.next_working() {
                self.offer(step, turn);
            } else if let Some(step) = self.next_due() {
                turn.started_one();
                self.start(step, turn);
            } else if self.record.state == RunState::Ending {
                if self.flying > 0 {
                    return Advanced::Waits;
                }
                match self.rouse_on_failure() {
                    None => {
                        self.finish(turn);
                        return Advanced::IsFinal;
                    }
                    Some(true) => {}
                    Some(false) => return Advanced::Waits,
                }
            } else if self.open == 0 {
                if self.complete(turn) {
                    return Advanced::IsFinal;
                }
            } else {
                return Advanced::Waits;
            }
        }
    }

    fn next_working(&mut self) -> Option<u32> {
        let step = *self.working.front()?;
        if !self.may_start(step) {
            return None;
        }
        self.working.pop_front();
        if let Some(work) = &mut self.steps[step as usize].work {
            work.is_queued = false;
        }
        Some(step)
    }

    fn next_due(&mut self) -> Option<u32> {
        let step = *self.due.front()?;
        if !self.may_start(step) {
            return None;
        }
        self.due.pop_front()
    }

    /// Lets the step for failures run, after all others: whether there is something to start for it now, or none if it
    /// has ended or does not run.
    fn rouse_on_failure(&mut self) -> Option<bool> {
        let step = self.definition.on_failure().filter(|step| self.may_start(*step))?;
        match self.state_of(step) {
            StepState::Blocked => {
                self.due.push_back(step);
                Some(true)
            }
            StepState::Active => {
                // An item that was refused waits for its timer.
                self.queue_work(step);
                Some(!self.working.is_empty())
            }
            _ => None,
        }
    }

    fn cancel_task(&mut self, step: u32, item: u32, turn: &mut Turn<'_>) {
        turn.started_one();
        let slot = self.steps[step as usize].work.as_mut().and_then(|work| work.slot(item));
        if let Some(slot) = slot
            && slot.state == SlotState::Active
            && let Some(task) = slot.task
        {
            turn.out.push(Effect::CancelTask { item: ItemRef { run: self.record.id, step, item }, task });
        }
    }

    fn start(&mut self, step: u32, turn: &mut Turn<'_>) {
        let mut spent = 0;
        let decision = self.decide(step, &mut spent);
        turn.effort = turn.effort.saturating_sub(spent);
        let progress = &mut self.steps[step as usize].progress;
        progress.started = Some(turn.now);
        let items = match decision {
            Decision::Skip => return self.end_step(step, StepState::Skipped, turn),
            Decision::SkipAfter(failed) => {
                progress.passes_failure = true;
                progress.error = Some(errors::after_failure(&self.definition.steps[failed as usize].name));
                return self.end_step(step, StepState::Skipped, turn);
            }
            Decision::Fail(error) => {
                progress.error = Some(error);
                return self.end_step(step, StepState::Failed, turn);
            }
            Decision::Once => {
                progress.item_count = 1;
                1
            }
            Decision::ForEach(items) => {
                let count = items.len();
                progress.item_count = u32::try_from(count).unwrap_or(u32::MAX);
                if items.is_empty() {
                    progress.output = Some(Value::Array(Vec::new()).into());
                    return self.end_step(step, StepState::Succeeded, turn);
                }
                progress.items = Some(Value::Array(items).into());
                count
            }
        };
        progress.state = StepState::Active;
        self.steps[step as usize].work = Some(Box::new(Work::new(items)));
        if self.is_fan(step) {
            self.save_step(step, turn);
        }
        self.queue_work(step);
    }

    fn decide(&self, number: u32, spent: &mut u64) -> Decision {
        let step = &self.definition.steps[number as usize];
        let fail = |what, reason: &dyn std::fmt::Display| Decision::Fail(errors::expression(&step.name, what, reason));
        match &step.condition {
            None => {
                let failed = |step: &&u32| self.steps[**step as usize].progress.is_failure();
                if let Some(failed) = step.dependencies.iter().find(failed) {
                    return Decision::SkipAfter(*failed);
                }
            }
            Some(condition) => match condition.evaluate(self, spent) {
                Ok(Value::Bool(true)) => {}
                Ok(Value::Bool(false)) => return Decision::Skip,
                Ok(other) => return fail("condition", &format!("it gave `{}`, not a bool", shown(&other))),
                Err(error) => return fail("condition", &error),
            },
        }
        let Some(for_each) = &step.for_each else { return Decision::Once };
        match for_each.evaluate(self, spent) {
            Ok(Value::Array(items)) if items.len() <= ITEMS_MAX => Decision::ForEach(items),
            Ok(Value::Array(items)) => {
                fail("for_each", &format!("it gave {} items; at most {ITEMS_MAX} are allowed", items.len()))
            }
            Ok(other) => fail("for_each", &format!("it gave `{}`, not a list", shown(&other))),
            Err(error) => fail("for_each", &error),
        }
    }

    /// Offers items of an active step, as many as may run and the turn allows.
    fn offer(&mut self, step: u32, turn: &mut Turn<'_>) {
        let picked = self.pick(step, turn.starts);
        let rendered = self.render(step, picked, turn);
        for (item, task) in rendered {
            if !self.may_start(step) {
                return;
            }
            match task {
                Ok(task) => self.submit_item(step, item, task, turn),
                Err(error) => self.end_item(step, item, Ended::Failed(error), turn),
            }
        }
        self.queue_work(step);
    }

    fn pick(&mut self, step: u32, most: u32) -> Vec<u32> {
        let parallel_max = self.definition.steps[step as usize].parallel_max;
        let Some(work) = &mut self.steps[step as usize].work else { return Vec::new() };
        let room = parallel_max.saturating_sub(work.flying).min(most);
        (0..room).map_while(|_| work.pop()).collect()
    }

    /// The tasks of items; those that the turn does not allow stay for the next.
    fn render(&mut self, number: u32, picked: Vec<u32>, turn: &mut Turn<'_>) -> Vec<(u32, Result<Json, Json>)> {
        let step = &self.definition.steps[number as usize];
        let list = self.steps[number as usize].progress.items.clone();
        let template = step.template.bind(self);
        let mut rendered = Vec::with_capacity(picked.len());
        let mut picked = picked.into_iter();
        while !turn.is_spent() {
            let Some(item) = picked.next() else { break };
            turn.started_one();
            if step.template.is_plain() {
                rendered.push((item, Ok(step.task.clone())));
                continue;
            }
            let value = list.as_deref().and_then(|list| list.get(item as usize));
            let mut spent = 0;
            let task = template.render(&step.task, value.map(|value| Item { value, index: item }), &mut spent);
            turn.effort = turn.effort.saturating_sub(spent);
            rendered.push((item, task.map(Json::from).map_err(|failure| errors::rendering(&step.name, &failure))));
        }
        drop(template);
        if let Some(work) = &mut self.steps[number as usize].work {
            picked.rev().for_each(|item| work.push_again(item));
        }
        rendered
    }

    fn submit_item(&mut self, step: u32, item: u32, task: Json, turn: &mut Turn<'_>) {
        let Some(work) = &mut self.steps[step as usize].work else { return };
        if let Some(slot) = work.slot(item) {
            slot.state = SlotState::Offered;
        }
        work.flying += 1;
        self.flying += 1;
        turn.out.push(Effect::Submit { item: ItemRef { run: self.record.id, step, item }, task });
    }
}

/// A value in a message: its beginning.
fn shown(value: &Value) -> String {
    const SHOWN_CHARS: usize = 60;
    let text = value.to_string();
    let mut shown: String = text.chars().take(SHOWN_CHARS).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}
