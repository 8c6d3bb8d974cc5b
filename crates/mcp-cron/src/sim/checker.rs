//! The promises, checked from outside, on what becomes durable.

mod life;

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use self::life::Life;
use super::{
    store::{Store, Write},
    truth::Truth,
};
use crate::{
    backfill::Backfilled,
    effect::Effect,
    id::{Millis, ScheduleId, TaskId},
    ledger::Outcome,
    rules::{Overlap, RawRules},
};

/// What a step of a check comes to: a promise that was broken, and how.
pub(super) type Verdict = Result<(), String>;

/// Breaks off with a message when a promise does not hold.
macro_rules! promise {
    ($holds:expr, $($text:tt)+) => {
        if !$holds {
            return Err(format!($($text)+));
        }
    };
}
use promise;

/// What somebody wanted and got.
#[derive(Debug)]
pub(super) enum Command {
    Put { id: ScheduleId, rules: RawRules },
    Pause { id: ScheduleId },
    Resume { id: ScheduleId },
    Trigger { id: ScheduleId, time: Millis, overlap: Option<Overlap> },
    Delete,
    Backfill { id: ScheduleId, from: Millis, to: Millis, done: Backfilled },
}

/// All that is known from what became durable.
#[derive(Debug)]
pub(super) struct Checker {
    truth: Truth,
    running_max: usize,
    lives: BTreeMap<ScheduleId, Life>,
    /// Tasks that began and are not over, and those whose end came.
    tasks: BTreeMap<TaskId, ScheduleId>,
    pub(super) fires_checked: u64,
    pub(super) seen: BTreeMap<String, u64>,
}

impl Checker {
    pub(super) fn new(start: Millis, running_max: usize) -> Self {
        Self {
            truth: Truth::new(start - 12 * 3_600_000),
            running_max,
            lives: BTreeMap::new(),
            tasks: BTreeMap::new(),
            fires_checked: 0,
            seen: BTreeMap::new(),
        }
    }

    /// A batch became durable. The writes in the range belong to the command.
    pub(super) fn committed(
        &mut self,
        now: Millis,
        writes: &[Write],
        command: Option<(Range<usize>, Command)>,
        is_drained: bool,
    ) -> Verdict {
        let (own, command) = command.map_or((0..0, None), |(own, command)| (own, Some(command)));
        let mut begun = BTreeSet::new();
        for (at, write) in writes.iter().enumerate() {
            if at == own.end && at > 0 {
                self.apply(now, command.as_ref())?;
            }
            let override_of = command.as_ref().filter(|_| own.contains(&at)).and_then(|command| match command {
                Command::Trigger { overlap, .. } => *overlap,
                _ => None,
            });
            // A new schedule is known before its first save.
            if let (true, Some(Command::Put { id, rules })) = (own.contains(&at), &command) {
                self.lives.entry(id.clone()).or_insert_with(|| Life::new(now, rules.clone()));
            }
            self.write(now, write, override_of, &mut begun)?;
        }
        if own.end == 0 || own.end >= writes.len() {
            self.apply(now, command.as_ref())?;
        }
        promise!(begun.is_empty(), "L-1: tasks {begun:?} began without an entry in the ledger");
        if is_drained {
            self.lives.values_mut().for_each(|life| life.drained_at = now);
        }
        Ok(())
    }

    fn write(&mut self, now: Millis, write: &Write, overlap: Option<Overlap>, begun: &mut BTreeSet<TaskId>) -> Verdict {
        match write {
            Write::TaskStarted { id, task, .. } => {
                begun.insert(*task);
                self.tasks.insert(*task, id.clone());
            }
            Write::TaskEnded(task) => {
                let id = self.tasks.remove(task).ok_or("a task ended twice")?;
                self.life(&id)?.running.remove(task);
            }
            Write::Effect(Effect::Ledger { id, entry, .. }) => {
                if let Outcome::Ran { task } = entry.outcome {
                    promise!(begun.remove(&task), "{id}: {task} is in the ledger, and did not begin");
                }
                *self.seen.entry(life::label(entry)).or_default() += 1;
                let running_max = self.running_max;
                let (truth, life) = self.parts(id)?;
                life.entered(truth, id, entry, overlap, running_max).map_err(|broken| format!("{id}: {broken}"))?;
            }
            Write::Effect(Effect::Save { record, .. }) => {
                self.life(&record.id)?.saved(record).map_err(|broken| format!("{}: {broken}", record.id))?;
            }
            Write::Effect(Effect::CancelRun { id, task, .. }) => {
                self.life(id)?.cancelled.insert(*task);
                *self.seen.entry("cancel".to_owned()).or_default() += 1;
            }
            Write::Effect(Effect::Start { .. }) => {}
            Write::Effect(Effect::Remove { id, .. }) => self.life(id)?.delete(now),
        }
        Ok(())
    }

    fn apply(&mut self, now: Millis, command: Option<&Command>) -> Verdict {
        match command {
            None => {}
            Some(Command::Put { id, rules }) => self.life(id)?.put(now, rules),
            Some(Command::Pause { id }) => self.life(id)?.paused_at = Some(now),
            Some(Command::Resume { id }) => self.life(id)?.resume(now),
            Some(Command::Trigger { id, time, .. }) => {
                promise!(self.life(id)?.triggers.insert(*time), "{id}: two triggers at {time}");
            }
            Some(Command::Delete) => {}
            Some(Command::Backfill { id, from, to, done }) => {
                let (truth, life) = self.parts(id)?;
                let all = truth.fires(life.rules(), from - 1, to - 1).len();
                let told = usize::try_from(done.accepted + done.ran_before).unwrap();
                promise!(told <= all, "{id}: {told} of {all} fire times are backfilled");
                life.backfill(now, done.accepted.into());
                let what = if done.accepted > 0 { "backfill" } else { "empty backfill" };
                *self.seen.entry(what.to_owned()).or_default() += 1;
            }
        }
        Ok(())
    }

    fn life(&mut self, id: &ScheduleId) -> Result<&mut Life, String> {
        self.lives.get_mut(id).ok_or_else(|| format!("{id} was never put"))
    }

    fn parts(&mut self, id: &ScheduleId) -> Result<(&mut Truth, &mut Life), String> {
        let life = self.lives.get_mut(id).ok_or_else(|| format!("{id} was never put"))?;
        Ok((&mut self.truth, life))
    }

    /// All is over: every ledger is complete.
    pub(super) fn ended(&mut self, store: &Store) -> Verdict {
        for (id, life) in &mut self.lives {
            let ledger = store.ledger_of(id);
            let checked = life.ended(&mut self.truth, id, &ledger).map_err(|broken| format!("{id}: {broken}"))?;
            self.fires_checked += checked;
        }
        Ok(())
    }
}
