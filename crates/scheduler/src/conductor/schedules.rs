//! Schedules: the book of `mcp-cron`, what each schedule starts, and their records.

use std::{collections::BTreeMap, mem};

use mcp_cron::{
    Backfilled, Effect, Fire, FireKind, FireRecord, Known, Limits, Outcome, Partition, Refusal, Rules, ScheduleId,
    ScheduleRecord, SkipReason,
};
use mcp_proto::{Code, Error as WireError, TaskId, common::v1::Error as CommonError};

use super::{
    Reply,
    batch::{Ended, Later},
    faults::{Fault, is_planted},
    item::{Item, home_of_schedule},
    kept::{FireEntry, Kept, Target},
    stage::{NotStarted, Stage},
    workflows::Workflows,
};
use crate::{
    clock::millis,
    config::Settings,
    error::Error,
    metrics::Conducted,
    store::{self, Entry, Table},
};

/// Why a run is cancelled by its schedule.
const REPLACED: &str = "a later fire time of its schedule takes its place";

/// What is asked of schedules.
#[derive(Debug)]
pub(crate) enum Command {
    /// Create a schedule, or replace it from now on.
    Put {
        /// Which.
        id: ScheduleId,
        /// When it fires.
        rules: Box<Rules>,
        /// What it starts.
        target: Target,
        /// As it is now.
        reply: Reply<Kept>,
    },
    /// Delete a schedule.
    Delete {
        /// Which.
        id: ScheduleId,
        /// Comes when it is gone.
        reply: Reply<()>,
    },
    /// Pause a schedule, or resume it.
    SetPaused {
        /// Which.
        id: ScheduleId,
        /// Whether it is to be paused.
        is_paused: bool,
        /// As it is now.
        reply: Reply<Kept>,
    },
    /// Start it once, now.
    Trigger {
        /// Which.
        id: ScheduleId,
        /// What became of it.
        reply: Reply<Triggered>,
    },
    /// Start it for past fire times.
    Backfill {
        /// Which.
        id: ScheduleId,
        /// First moment.
        from: u64,
        /// End, not in it.
        to: u64,
        /// What the ledger says.
        known: Known,
        /// How many; `None` when the ledger has to be read again.
        reply: Reply<Option<Backfilled>>,
    },
}

/// What became of a trigger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Triggered {
    /// Its entry in the ledger.
    Decided(FireEntry),
    /// It waits for an earlier run.
    Waits(Fire),
}

/// The schedules of the partitions that are open here.
#[derive(Debug)]
pub(super) struct Schedules {
    book: mcp_cron::Schedules,
    targets: BTreeMap<ScheduleId, Target>,
    /// A buffer.
    effects: Vec<Effect>,
    /// Since the last commit.
    pub(super) counts: Conducted,
    ledger_retention_ms: u64,
}

impl Schedules {
    /// None yet.
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            book: mcp_cron::Schedules::new(Limits::default()),
            targets: BTreeMap::new(),
            effects: Vec::new(),
            counts: Conducted::default(),
            ledger_retention_ms: millis(settings.ledger_retention),
        }
    }

    /// Takes up the schedules of a partition. What they started and nobody knows any more is over.
    ///
    /// # Errors
    /// The store failed.
    pub(super) fn open(
        &mut self,
        partition: u16,
        entries: Vec<Entry>,
        workflows: &Workflows,
        stage: &mut Stage<'_>,
    ) -> Result<(), store::Error> {
        for entry in entries {
            let taken = Kept::read(&entry.value).map_err(|error| error.to_string()).and_then(|kept| {
                let id = kept.record.id.clone();
                self.book.restore(Partition(partition), *kept.record).map_err(|error| error.to_string())?;
                self.targets.insert(id, kept.target);
                Ok(())
            });
            if let Err(error) = taken {
                tracing::error!(partition, key = ?entry.key, error, "a schedule cannot be taken up; it is left alone");
            }
        }
        let mut gone = Vec::new();
        for (_, run) in self.book.runs(Partition(partition)) {
            let task = TaskId::from_u128(run.task.0);
            let is_workflow = workflows.has(task) && !is_planted(Fault::WorkflowsTakenForOver);
            if !is_workflow && stage.is_gone(partition, task)? {
                gone.push(run.task);
            }
        }
        for task in gone {
            self.book.run_ended(stage.now(), task, &mut self.effects);
        }
        self.carry_out_plain(stage);
        Ok(())
    }

    /// Forgets the schedules of a partition.
    pub(super) fn close(&mut self, partition: u16) {
        self.book.close(Partition(partition));
        let book = &self.book;
        self.targets.retain(|id, _| book.get(id).is_some());
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.book.len()
    }

    /// When there is something to decide.
    pub(super) fn next_timer(&self) -> Option<u64> {
        self.book.next_timer()
    }

    /// Decides on what is due.
    ///
    /// # Errors
    /// The store failed.
    pub(super) fn tick(&mut self, workflows: &mut Workflows, stage: &mut Stage<'_>) -> Result<(), store::Error> {
        if self.book.next_timer().is_none_or(|at| at > stage.now()) {
            return Ok(());
        }
        self.book.tick(stage.now(), &mut self.effects);
        self.carry_out(workflows, stage).map(drop)
    }

    /// Hears that something is over that a schedule started. What was refused by the owner of its queue did not run.
    ///
    /// # Errors
    /// The store failed.
    pub(super) fn ended(
        &mut self,
        ended: &Ended,
        workflows: &mut Workflows,
        stage: &mut Stage<'_>,
    ) -> Result<(), store::Error> {
        let task = mcp_cron::TaskId(ended.task.as_u128());
        if !ended.was_started {
            self.correct(task, ended.end.error.as_ref(), stage);
        }
        self.book.run_ended(stage.now(), task, &mut self.effects);
        self.carry_out(workflows, stage).map(drop)
    }

    /// Does what somebody asks for.
    ///
    /// # Errors
    /// The store failed.
    pub(super) fn command(
        &mut self,
        partition: u16,
        command: Command,
        workflows: &mut Workflows,
        stage: &mut Stage<'_>,
    ) -> Result<(), store::Error> {
        let now = stage.now();
        match command {
            Command::Put { id, rules, target, reply } => {
                let put = self.book.put(now, &id, Partition(partition), *rules, &mut self.effects);
                let answer = put.map_err(refused).map(|_| drop(self.targets.insert(id.clone(), target)));
                self.carry_out(workflows, stage)?;
                stage.answer(Later::new(reply, answer.and_then(|()| self.kept(&id))));
            }
            Command::Delete { id, reply } => {
                let answer = self.book.delete(now, &id, &mut self.effects).map_err(refused);
                self.carry_out(workflows, stage)?;
                if answer.is_ok() {
                    self.targets.remove(&id);
                }
                stage.answer(Later::new(reply, answer));
            }
            Command::SetPaused { id, is_paused, reply } => {
                let changed = match is_paused {
                    true => self.book.pause(now, &id, String::new(), &mut self.effects),
                    false => self.book.resume(now, &id, &mut self.effects),
                };
                self.carry_out(workflows, stage)?;
                stage.answer(Later::new(reply, changed.map_err(refused).and_then(|_| self.kept(&id))));
            }
            Command::Trigger { id, reply } => {
                let fire = self.book.trigger(now, &id, None, &mut self.effects).map_err(refused);
                let ledger = self.carry_out(workflows, stage)?;
                let is_it = |entry: &FireEntry, fire: &Fire| {
                    entry.fire.kind == FireKind::Trigger && !entry.fire.range && entry.fire.time == fire.time
                };
                let answer = fire.map(|fire| {
                    let own =
                        |(of, entry): (ScheduleId, FireEntry)| (of == id && is_it(&entry, &fire)).then_some(entry);
                    ledger.into_iter().find_map(own).map_or(Triggered::Waits(fire), Triggered::Decided)
                });
                stage.answer(Later::new(reply, answer));
            }
            Command::Backfill { id, from, to, mut known, reply } => {
                if is_planted(Fault::BackfillBlind) {
                    known.ran.clear();
                }
                let answer = match self.book.backfill(now, &id, from, to, &known, &mut self.effects) {
                    Err(mcp_cron::Error::LedgerStale { .. }) => Ok(None),
                    done => done.map(Some).map_err(refused),
                };
                self.carry_out(workflows, stage)?;
                stage.answer(Later::new(reply, answer));
            }
        }
        Ok(())
    }

    fn kept(&self, id: &ScheduleId) -> Result<Kept, Error> {
        let found = self.book.get(id).zip(self.targets.get(id));
        let (view, target) = found.ok_or_else(|| not_found(id))?;
        Ok(Kept { record: Box::new(view.record.clone()), target: target.clone() })
    }

    /// Carries out effects, and those that follow from them; gives the entries of ledgers among them.
    fn carry_out(
        &mut self,
        workflows: &mut Workflows,
        stage: &mut Stage<'_>,
    ) -> Result<Vec<(ScheduleId, FireEntry)>, store::Error> {
        let mut ledger = Vec::new();
        while !self.effects.is_empty() {
            for effect in mem::take(&mut self.effects) {
                match effect {
                    Effect::Save { partition, record } => self.save(partition, &record, stage),
                    Effect::Remove { partition, id } => stage.delete(partition.0, Table::Schedule, id.key()),
                    Effect::Ledger { partition, id, entry } => {
                        let entry = self.enter(partition, &id, entry, stage);
                        ledger.push((id, entry));
                    }
                    Effect::Start { partition, id, fire } => self.start(partition, &id, &fire, workflows, stage)?,
                    Effect::CancelRun { partition, id: _, task } => {
                        let task = TaskId::from_u128(task.0);
                        match workflows.has(task) {
                            true => workflows.cancel(task, stage)?,
                            false => stage.cancel(partition.0, task, REPLACED)?,
                        }
                    }
                }
            }
        }
        debug_assert_eq!(self.book.unanswered(), 0, "every start is answered at once");
        Ok(ledger)
    }

    /// The effects of a run that ended: nothing but records.
    fn carry_out_plain(&mut self, stage: &mut Stage<'_>) {
        for effect in mem::take(&mut self.effects) {
            match effect {
                Effect::Save { partition, record } => self.save(partition, &record, stage),
                other => debug_assert!(false, "not of an end: {other:?}"),
            }
        }
    }

    fn save(&self, partition: Partition, record: &ScheduleRecord, stage: &mut Stage<'_>) {
        let Some(target) = self.targets.get(&record.id) else {
            debug_assert!(false, "a schedule has a target");
            return;
        };
        stage.put(partition.0, Table::Schedule, record.id.key(), Kept::encode(record, target), 0);
    }

    fn enter(&mut self, partition: Partition, id: &ScheduleId, fire: FireRecord, stage: &mut Stage<'_>) -> FireEntry {
        let of_outcome = match fire.outcome {
            Outcome::Ran { .. } => &mut self.counts.ran,
            Outcome::Skipped { .. } => &mut self.counts.skipped,
            Outcome::Missed { .. } => &mut self.counts.missed,
        };
        *of_outcome = of_outcome.saturating_add(fire.count);
        let has_run = matches!(fire.outcome, Outcome::Ran { .. });
        let is_workflow = has_run && matches!(self.targets.get(id), Some(Target::Workflow(_)));
        let expires = fire.decided_at.saturating_add(self.ledger_retention_ms);
        let (key, entry) = (fire.key(id), FireEntry { fire, is_workflow });
        stage.put(partition.0, Table::Fire, key, entry.encode(), expires);
        entry
    }

    fn start(
        &mut self,
        partition: Partition,
        id: &ScheduleId,
        fire: &Fire,
        workflows: &mut Workflows,
        stage: &mut Stage<'_>,
    ) -> Result<(), store::Error> {
        let item = Item::Fire { schedule: id.clone(), fire_ms: fire.time };
        let started = match self.targets.get(id) {
            Some(Target::Task(spec)) => stage.start(partition.0, spec.as_ref().clone(), &item, "")?,
            Some(Target::Workflow(spec)) => {
                let run = stage.new_id(home_of_schedule(id.namespace(), id.name()));
                workflows.start(partition.0, run, spec, &item, stage)?.map(|()| run)
            }
            None => Err(NotStarted::Busy("schedules without a target")),
        };
        let now = stage.now();
        let is_open = match started {
            Ok(task) => self.book.started(now, id, fire, mcp_cron::TaskId(task.as_u128()), &mut self.effects),
            Err(reason) => self.book.refused(now, id, fire, refusal(reason), &mut self.effects),
        };
        debug_assert!(is_open, "a start is answered once");
        Ok(())
    }

    /// Corrects the entry of a fire that counts as run and never started.
    fn correct(&mut self, task: mcp_cron::TaskId, error: Option<&CommonError>, stage: &mut Stage<'_>) {
        let Some(view) = self.book.schedule_of(task).and_then(|id| self.book.get(id)) else { return };
        let Some(run) = view.record.running.iter().find(|run| run.task == task) else { return };
        let code = error.map(|error| error.code);
        let refusal = match error {
            _ if code == Some(Code::QueueClosed.number()) => Refusal::QueueClosed,
            Some(error) => Refusal::Other(error.message.clone()),
            None => Refusal::Other("no reason was given".to_owned()),
        };
        let (id, partition) = (view.record.id.clone(), view.partition);
        let scheduled_for = match run.kind {
            FireKind::Trigger => run.time,
            _ => view.rules.start_of(&id, run.time),
        };
        let fire = FireRecord {
            version: 1,
            time: run.time,
            last: run.time,
            count: 1,
            at_least: false,
            range: false,
            kind: run.kind,
            scheduled_for: Some(scheduled_for),
            outcome: Outcome::Skipped { reason: SkipReason::Refused { refusal } },
            decided_at: stage.now(),
        };
        self.enter(partition, &id, fire, stage);
    }
}

fn refusal(reason: NotStarted) -> Refusal {
    match reason {
        NotStarted::QueueFull { .. } => Refusal::QueueFull,
        NotStarted::QueueClosed => Refusal::QueueClosed,
        NotStarted::Busy(what) => Refusal::Other(format!("too many {what}")),
        NotStarted::Invalid(error) => Refusal::Other(error.to_string()),
    }
}

/// There is no such schedule.
pub(crate) fn not_found(id: &ScheduleId) -> Error {
    let message = format!("there is no schedule `{}` in the namespace `{}`", id.name(), id.namespace());
    Error::Refused(
        WireError::new(Code::ScheduleNotFound, message)
            .with_metadata("namespace", id.namespace())
            .with_metadata("schedule", id.name()),
    )
}

/// What a refusal of the book means to the caller.
fn refused(error: mcp_cron::Error) -> Error {
    match &error {
        mcp_cron::Error::NotFound { id } => not_found(id),
        mcp_cron::Error::Full { .. } => Error::Overloaded { what: "schedules" },
        mcp_cron::Error::Elsewhere { .. } | mcp_cron::Error::LedgerStale { .. } => {
            Error::Refused(WireError::internal(error))
        }
        mcp_cron::Error::BackfillRange => Error::Refused(WireError::invalid("end_time", error.to_string())),
        mcp_cron::Error::BackfillTooLarge { .. } | mcp_cron::Error::BackfillScattered { .. } => {
            Error::Refused(WireError::invalid("start_time", error.to_string()))
        }
    }
}
