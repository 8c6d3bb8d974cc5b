//! Carrying out what the rules order.

use std::collections::VecDeque;

use mcp_flow::{Effect, ItemEnd, ItemRef, Json, Refusal, RunState, RunView};
use mcp_proto::{Code, Error as WireError, scheduler::v1::TaskState};
use prost::Message as _;

use super::{Workflows, fire_of, refusal::step_refusal};
use crate::{
    conductor::{
        Item,
        batch::{End, Ended},
        faults::{Fault, is_planted},
        stage::Stage,
    },
    store::{self, StepOf, Write},
    workflow::{
        Brief, flow_task_id,
        json::{from_error, output, to_error, value},
        records, task_of, wire_task_id, workflow_id,
    },
};

impl Workflows {
    /// Turns what the rules ordered into records, tasks that start and tasks that are cancelled, until they order nothing
    /// more.
    ///
    /// # Errors
    /// The store failed.
    pub(super) fn carry_out(&mut self, stage: &mut Stage<'_>) -> Result<(), store::Error> {
        let mut effects: VecDeque<Effect> = self.effects.drain(..).collect();
        while let Some(effect) = effects.pop_front() {
            match effect {
                Effect::SaveRun(record) => {
                    let Some(facts) = self.facts.get(&record.id) else { continue };
                    let moving = records::Moving::of(&record, &facts.cancel_reason);
                    write(stage, facts.partition, records::put_moving(record.id, &moving));
                    self.touched.insert(record.id);
                }
                Effect::SaveStep(record) => {
                    let Some(facts) = self.facts.get(&record.run) else { continue };
                    write(stage, facts.partition, records::put_step(&record));
                    if record.item.is_none() {
                        self.touched.insert(record.run);
                    }
                }
                Effect::Submit { item, task } => self.start_item(item, &task, stage)?,
                Effect::CancelTask { item, task } => {
                    let Some(facts) = self.facts.get(&item.run) else { continue };
                    stage.cancel(facts.partition, wire_task_id(task), &facts.cancel_reason)?;
                }
                Effect::Finished { view, records } => self.finish(&view, records, stage),
            }
            effects.extend(self.effects.drain(..));
        }
        Ok(())
    }

    /// Starts the task of an item, and tells the rules what became of it.
    fn start_item(&mut self, item: ItemRef, task: &Json, stage: &mut Stage<'_>) -> Result<(), store::Error> {
        let Some(facts) = self.facts.get(&item.run) else { return Ok(()) };
        let now = stage.now();
        let refusal = match task_of(task, &facts.extra) {
            Ok(mut spec) => {
                if spec.name.is_empty() {
                    facts.step_name(item.step).clone_into(&mut spec.name);
                }
                let step = StepOf {
                    workflow: item.run.0.to_be_bytes(),
                    step: item.step,
                    item: item.item,
                    name: facts.step_name(item.step).to_owned(),
                };
                match stage.start(facts.partition, spec, &Item::Step(step), &facts.trace)? {
                    Ok(id) => {
                        self.runs.submitted(now, item, flow_task_id(id), &mut self.effects);
                        return Ok(());
                    }
                    Err(not_started) => step_refusal(not_started, now),
                }
            }
            Err(reason) => {
                let error = WireError::new(Code::InvalidArgument, format!("the task cannot be made: {reason}"));
                Refusal::Invalid { error: from_error(&error.into()) }
            }
        };
        self.runs.refused(now, item, refusal, &mut self.effects);
        Ok(())
    }

    /// Moves a run to the final ones, and tells the schedule that started it.
    fn finish(&mut self, view: &RunView, former: Vec<(u32, Option<u32>)>, stage: &mut Stage<'_>) {
        let run = view.run.id;
        let Some(facts) = self.facts.remove(&run) else { return };
        let brief = Brief::of(&view.run, view.steps_ended(), &facts.cancel_reason);
        let expires_ms = stage.now().saturating_add(self.retention_ms);
        let kept = if is_planted(Fault::FinalRunKept) { 2 } else { 0 };
        for record in records::finish(view, &facts.cancel_reason, &brief, expires_ms).into_iter().skip(kept) {
            write(stage, facts.partition, record);
        }
        let state = match view.run.state {
            RunState::Succeeded => "succeeded",
            RunState::Cancelled => "cancelled",
            _ => "failed",
        };
        self.counts.ended.push((state, stage.now().saturating_sub(view.run.created)));
        self.former.extend(former.into_iter().map(|(step, item)| (facts.partition, run, step, item)));
        self.touched.insert(run);
        self.ended.push(workflow_id(run));
        if let Some(item) = fire_of(&facts.extra) {
            stage.tell(Ended { item, task: workflow_id(run), end: end_of(view), was_started: true });
        }
    }
}

/// Adds a record to the batch.
pub(super) fn write(stage: &mut Stage<'_>, partition: u16, record: Write) {
    match record {
        Write::Put(entry) => {
            stage.put(partition, entry.table, entry.key.into(), entry.value.into(), entry.expires_ms);
        }
        Write::Delete { table, key } => stage.delete(partition, table, key.into()),
        other => unreachable!("a workflow has entries only, not {other:?}"),
    }
}

/// How a task ended, for the rules.
pub(super) fn item_end(end: &End) -> ItemEnd {
    match end.state {
        TaskState::Succeeded => ItemEnd::Succeeded { output: end.output.as_deref().and_then(output) },
        TaskState::Cancelled => ItemEnd::Cancelled,
        _ => {
            let error = end.error.clone();
            let error = error.unwrap_or_else(|| WireError::new(Code::Internal, "the task failed").into());
            ItemEnd::Failed { error: from_error(&error) }
        }
    }
}

/// How a run ended, for its schedule.
fn end_of(view: &RunView) -> End {
    let state = match view.run.state {
        RunState::Succeeded => TaskState::Succeeded,
        RunState::Cancelled => TaskState::Cancelled,
        _ => TaskState::Failed,
    };
    End {
        state,
        output: view.run.output.as_ref().map(|output| value(output).encode_to_vec().into()),
        error: view.run.error.as_ref().map(to_error),
    }
}
