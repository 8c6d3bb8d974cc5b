//! What callers ask for: schedules, triggers, backfills, workflows.

use mcp_cron::{Known, Outcome as Became, Rules, ScheduleId};
use mcp_proto::{Code, TaskId, partition::of_home};
use tokio::sync::oneshot;

use super::{PARTITIONS, plan, world::World};
use crate::{
    conductor::{
        Conduct, Control, FireEntry, Kept, ScheduleCommand, StartedRun, Target, WorkflowCommand, home_of_schedule,
    },
    error::Error,
    store::Table,
    validate,
    workflow::records,
};

/// What was read of a schedule's ledger, for a backfill some time later.
pub(super) struct LedgerRead {
    number: usize,
    known: Known,
    from: u64,
    to: u64,
}

/// Idempotency keys for each workflow.
const KEYS: u64 = 2;

impl World {
    /// Somebody asks for something.
    pub(super) fn call(&mut self) {
        match self.dice.range(0, 11) {
            0..=1 => {
                // Not at a regular fire time, so that a fire time is known by its schedule and moment.
                self.now += u64::from(self.now.is_multiple_of(1_000));
                let number = self.dice.place(self.plans.len());
                self.command(number, |id, reply| ScheduleCommand::Trigger { id, reply });
            }
            2 => {
                let (number, is_paused) = (self.dice.place(self.plans.len()), self.dice.percent(40));
                self.command(number, |id, reply| ScheduleCommand::SetPaused { id, is_paused, reply });
            }
            3 => self.read_ledger(),
            4 => self.backfill(),
            5..=7 => self.submit(),
            8..=9 => self.control(),
            _ => self.rerun(),
        }
    }

    /// Callers let everything end, and start nothing more.
    pub(super) fn calm_down(&mut self) {
        for number in 0..self.plans.len() {
            self.command(number, |id, reply| ScheduleCommand::SetPaused { id, is_paused: true, reply });
        }
        for run in self.disk.checker.runs().0 {
            self.ask(run, |reply| WorkflowCommand::Control(run, Control::Resume, reply));
        }
    }

    /// True when something waits to be started.
    pub(super) fn has_backlog(&self) -> bool {
        let waits = |partition| {
            self.disk.table(partition, Table::Schedule).any(|(_, value)| {
                let record = Kept::read(value).unwrap().record;
                record.waiting.is_some() || !record.backlog.is_empty() || !record.running.is_empty()
            })
        };
        (0..PARTITIONS).any(waits)
    }

    /// Puts a schedule.
    pub(super) fn put(&mut self, number: usize) {
        let (raw, has_workflow) = (self.plans[number].rules(), self.plans[number].has_workflow);
        let target = if has_workflow {
            let at = self.dice.place(self.workflows.len());
            Target::Workflow(self.workflows[at].clone().into())
        } else {
            Target::Task(plan::task(&mut self.dice, "due").into())
        };
        self.command(number, |id, reply| {
            let rules = Box::new(Rules::checked(raw).unwrap());
            ScheduleCommand::Put { id, rules, target, reply }
        });
    }

    /// The answer, when there is one.
    fn command<T>(
        &mut self,
        number: usize,
        command: impl FnOnce(ScheduleId, oneshot::Sender<Result<T, Error>>) -> ScheduleCommand,
    ) -> Option<Result<T, Error>> {
        let id = self.plans[number].id.clone();
        let partition = home_of(&id);
        let (reply, mut answer) = oneshot::channel();
        self.request(partition, Conduct::Schedule(partition, command(id, reply)));
        answer.try_recv().ok()
    }

    /// Reads the record, then the ledger, as the service does.
    fn read_ledger(&mut self) {
        let number = self.dice.place(self.plans.len());
        let id = self.plans[number].id.clone();
        let partition = home_of(&id);
        let key = (partition, Table::Schedule, id.key().into());
        let Some(record) = self.disk.entries.get(&key).map(|value| Kept::read(value).unwrap().record) else { return };
        let from = self.now - self.dice.range(1_000, 40_000);
        let to = (from + self.dice.range(1_000, 30_000)).min(self.now);
        let prefix = [&id.key()[..], &[0]].concat();
        let ledger = self.disk.table(partition, Table::Fire).filter(|(key, _)| key.starts_with(&prefix));
        let entries = ledger.map(|(_, value)| FireEntry::read(value).unwrap().fire);
        let has_run = |fire: &mcp_cron::FireRecord| {
            matches!(fire.outcome, Became::Ran { .. }) && fire.kind != mcp_cron::FireKind::Trigger
        };
        let ran = entries.filter(|fire| has_run(fire) && (from..to).contains(&fire.time)).map(|fire| fire.time);
        let known = Known { ran: ran.collect(), as_of: record.revision };
        self.ledger_read = Some(LedgerRead { number, known, from, to });
    }

    /// Asks for what was read a while ago.
    fn backfill(&mut self) {
        let Some(LedgerRead { number, known, from, to }) = self.ledger_read.take() else { return };
        self.command(number, |id, reply| ScheduleCommand::Backfill { id, from, to, known, reply });
    }

    /// Starts a workflow, perhaps under a key that was used before, perhaps with another body.
    fn submit(&mut self) {
        let at = self.dice.place(self.workflows.len());
        let mut spec = self.workflows[at].clone();
        if self.dice.percent(50) {
            spec.idempotency_key = format!("{}-{}", spec.name, self.dice.range(0, KEYS - 1));
        }
        let body = if self.dice.percent(20) { "another" } else { "usual" };
        spec.labels.insert("body".to_owned(), body.to_owned());
        let key = spec.idempotency_key.clone();
        let new = Box::new(validate::check_workflow(Some(spec), "").unwrap());
        let partition = of_home(new.home(), PARTITIONS);
        let (reply, mut answer) = oneshot::channel();
        self.request(partition, Conduct::Workflow(partition, WorkflowCommand::Start(new, reply)));
        match answer.try_recv() {
            Ok(Ok(StartedRun { id, .. })) => self.disk.checker.acknowledged(id, &key, body),
            Ok(Err(Error::Refused(error))) if error.code() == Code::IdempotencyConflict => {
                self.disk.checker.refused_key(&key, body);
            }
            _ => {}
        }
    }

    fn control(&mut self) {
        let (runs, _) = self.disk.checker.runs();
        if runs.is_empty() {
            return;
        }
        let run = self.dice.pick(&runs);
        let control = match self.dice.range(0, 9) {
            0..=3 => Control::Pause,
            4..=7 => Control::Resume,
            _ => {
                self.disk.checker.may_be_cancelled(run);
                Control::Cancel("no longer wanted".to_owned())
            }
        };
        self.ask(run, |reply| WorkflowCommand::Control(run, control, reply));
    }

    /// Runs a final workflow again, all of it or from a step on.
    fn rerun(&mut self) {
        let (_, finished) = self.disk.checker.runs();
        if finished.is_empty() {
            return;
        }
        let run = self.dice.pick(&finished);
        let partition = of_home(run.home(), PARTITIONS);
        let [end, fixed] = records::done_keys(run);
        let entry = |key| &self.disk.entries[&(partition, Table::WorkflowDone, key)];
        let (view, _) = records::final_run(run, partition, entry(end), entry(fixed)).unwrap();
        let steps = &view.run.definition.steps;
        let from = if self.dice.percent(50) { steps[self.dice.place(steps.len())].name.clone() } else { String::new() };
        let new = Box::new(validate::check_rerun(view, from, None, "").unwrap());
        let (reply, mut answer) = oneshot::channel();
        self.request(partition, Conduct::Workflow(partition, WorkflowCommand::Start(new, reply)));
        if let Ok(Ok(StartedRun { id, .. })) = answer.try_recv() {
            self.disk.checker.acknowledged(id, "", "");
        }
    }

    fn ask<T>(&mut self, run: TaskId, command: impl FnOnce(oneshot::Sender<Result<T, Error>>) -> WorkflowCommand) {
        let partition = of_home(run.home(), PARTITIONS);
        self.request(partition, Conduct::Workflow(partition, command(oneshot::channel().0)));
    }
}

fn home_of(id: &ScheduleId) -> u16 {
    of_home(home_of_schedule(id.namespace(), id.name()), PARTITIONS)
}
