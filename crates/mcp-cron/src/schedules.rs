//! The book of schedules.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
};

use crate::{
    backfill::{Backfilled, Known},
    effect::Effect,
    error::{Error, RestoreError},
    faults::Fault,
    id::{Millis, Partition, ScheduleId, TaskId},
    ledger::Refusal,
    limits::Limits,
    record::{Fire, Run, ScheduleRecord},
    rules::{Overlap, Rules},
    schedule::{Context, Schedule},
};

/// What a put did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PutDone {
    /// There was no such schedule.
    Created,
    /// The rules of an existing one were replaced; its pause, its runs and its ledger were kept.
    Replaced,
}

/// A schedule, to look at.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// Where it is kept.
    pub partition: Partition,
    /// All that is known of it; the revision is that of the latest [`Effect::Save`].
    pub record: &'a ScheduleRecord,
    /// Its rules.
    pub rules: &'a Rules,
    /// Its next fire time, without jitter. `None` when there is none, and while it is paused.
    pub next_time: Option<Millis>,
}

/// All schedules of the partitions that a program owns.
///
/// Every method that takes `now` wants a clock that does not go back while the book lives; against one that differs
/// from the clock of an earlier owner it is safe. Effects are appended.
#[derive(Debug)]
pub struct Schedules {
    limits: Limits,
    schedules: BTreeMap<ScheduleId, Schedule>,
    timers: BTreeSet<(Millis, ScheduleId)>,
    runs: BTreeMap<TaskId, ScheduleId>,
    unanswered: usize,
    fault: Option<Fault>,
}

impl Schedules {
    /// An empty book.
    pub const fn new(limits: Limits) -> Self {
        Self {
            limits,
            schedules: BTreeMap::new(),
            timers: BTreeSet::new(),
            runs: BTreeMap::new(),
            unanswered: 0,
            fault: None,
        }
    }

    /// An empty book with a bug.
    #[cfg(test)]
    pub(crate) fn with_fault(limits: Limits, fault: Option<Fault>) -> Self {
        Self { fault, ..Self::new(limits) }
    }

    /// Takes a schedule up as it was saved last. Fire times since then are decided on by the next ticks. The limit on
    /// schedules does not hold here.
    ///
    /// # Errors
    /// [`RestoreError`]: the record cannot be used here, and should be left alone. The book has not changed.
    pub fn restore(&mut self, partition: Partition, record: ScheduleRecord) -> Result<(), RestoreError> {
        let id = record.id.clone();
        if self.schedules.contains_key(&id) {
            return Err(RestoreError::Twice { id });
        }
        let mut schedule = Schedule::restored(self.fault, partition, record)?;
        self.spoil(&mut schedule.rules);
        self.runs.extend(schedule.record.running.iter().map(|run| (run.task, id.clone())));
        self.schedules.insert(id.clone(), schedule);
        self.rearm(&id, 0);
        Ok(())
    }

    /// Forgets all schedules of a partition, without an effect; gives how many.
    pub fn close(&mut self, partition: Partition) -> usize {
        let (timers, runs, unanswered) = (&mut self.timers, &mut self.runs, &mut self.unanswered);
        let before = self.schedules.len();
        self.schedules.retain(|id, schedule| {
            let stays = schedule.partition != partition;
            if !stays {
                forget(timers, runs, id, schedule);
                *unanswered -= schedule.unanswered();
            }
            stays
        });
        before - self.schedules.len()
    }

    /// Creates a schedule, or replaces the rules of one, from now on. A fire time after now is decided by the new rules;
    /// one up to now that the old rules have not been served yet is skipped, unless the times stay the same.
    ///
    /// # Errors
    /// [`Error::Full`], or [`Error::Elsewhere`] when it is in another partition.
    pub fn put(
        &mut self,
        now: Millis,
        id: &ScheduleId,
        partition: Partition,
        mut rules: Rules,
        effects: &mut Vec<Effect>,
    ) -> Result<PutDone, Error> {
        self.spoil(&mut rules);
        if let Some(schedule) = self.schedules.get(id) {
            if schedule.partition != partition {
                return Err(Error::Elsewhere { id: id.clone(), found: schedule.partition, asked: partition });
            }
            self.with(now, id, effects, |schedule, context| schedule.change(context, rules))?;
            return Ok(PutDone::Replaced);
        }
        if self.schedules.len() >= self.limits.schedules_max {
            return Err(Error::Full { max: self.limits.schedules_max });
        }
        let context = Context { now, limits: &self.limits, fault: self.fault, effects };
        self.schedules.insert(id.clone(), Schedule::new(&context, id.clone(), partition, rules));
        self.with(now, id, effects, |_, _| ())?;
        Ok(PutDone::Created)
    }

    /// Deletes a schedule. What it started goes on; the ledger stays, and says what became of every fire time up to now.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn delete(&mut self, now: Millis, id: &ScheduleId, effects: &mut Vec<Effect>) -> Result<(), Error> {
        let not_found = || Error::NotFound { id: id.clone() };
        let mut schedule = self.schedules.remove(id).ok_or_else(not_found)?;
        forget(&mut self.timers, &mut self.runs, id, &schedule);
        self.unanswered -= schedule.unanswered();
        let mut context = Context { now, limits: &self.limits, fault: self.fault, effects };
        schedule.close_ledger(&mut context);
        effects.push(Effect::Remove { partition: schedule.partition, id: id.clone() });
        Ok(())
    }

    /// Skips fire times from now on; costs nothing until it is resumed. What somebody asks for (a trigger, a backfill)
    /// starts all the same. False: it was paused already.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn pause(
        &mut self,
        now: Millis,
        id: &ScheduleId,
        note: String,
        effects: &mut Vec<Effect>,
    ) -> Result<bool, Error> {
        self.with(now, id, effects, |schedule, context| schedule.pause(context, note))
    }

    /// Ends a pause; one entry of the ledger tells what was skipped. False: it was not paused.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn resume(&mut self, now: Millis, id: &ScheduleId, effects: &mut Vec<Effect>) -> Result<bool, Error> {
        self.with(now, id, effects, |schedule, context| schedule.resume(context))
    }

    /// Starts a schedule once, now, by its overlap policy or by another. The effects say what became of it: a start, a
    /// skip in the ledger; with neither, it waits for an earlier run.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn trigger(
        &mut self,
        now: Millis,
        id: &ScheduleId,
        overlap: Option<Overlap>,
        effects: &mut Vec<Effect>,
    ) -> Result<Fire, Error> {
        self.with(now, id, effects, |schedule, context| schedule.trigger(context, overlap))
    }

    /// Starts a schedule for the fire times of its rules from `from` on and before `to` that did not run: all at once
    /// under [`Overlap::AllowAll`], else one after the other, each when nothing of the schedule runs. Regular fire
    /// times come first. Fire times that are not decided yet are left to their turn.
    ///
    /// So that none runs twice, the caller tells what the ledger says, and as of when: it reads the record, then the
    /// ledger, then calls this. What ran since is known here.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::BackfillRange`]; [`Error::BackfillTooLarge`]; [`Error::BackfillScattered`];
    /// [`Error::LedgerStale`]: read again.
    pub fn backfill(
        &mut self,
        now: Millis,
        id: &ScheduleId,
        from: Millis,
        to: Millis,
        known: &Known,
        effects: &mut Vec<Effect>,
    ) -> Result<Backfilled, Error> {
        self.with(now, id, effects, |schedule, context| schedule.backfill(context, from, to, known))?
    }

    /// Decides on what is due, as much as the limits allow; the rest is due again a moment later.
    pub fn tick(&mut self, now: Millis, effects: &mut Vec<Effect>) {
        let mut left = self.limits.tick_steps_max;
        while left > 0 {
            let Some(id) = self.timers.first().filter(|(at, _)| *at <= now).map(|(_, id)| id.clone()) else { break };
            let steps_max = left.min(self.limits.schedule_steps_max);
            let Ok(steps) = self.with(now, &id, effects, |schedule, context| schedule.work(context, steps_max)) else {
                break;
            };
            if steps == steps_max {
                // Others have their turn first.
                self.rearm(&id, now + 1);
            }
            left -= steps.max(1);
        }
    }

    /// When to call [`tick`](Self::tick) next. `None`: only something else can change anything.
    pub fn next_timer(&self) -> Option<Millis> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// Answers [`Effect::Start`]: the fire became `task`, which is to be committed together with these effects. False:
    /// no such start is open, so nothing must have been started.
    #[must_use]
    pub fn started(
        &mut self,
        now: Millis,
        id: &ScheduleId,
        fire: &Fire,
        task: TaskId,
        effects: &mut Vec<Effect>,
    ) -> bool {
        let is_open = self.with(now, id, effects, |schedule, context| schedule.started(context, fire, task));
        let is_open = is_open.unwrap_or(false);
        if is_open {
            self.runs.insert(task, id.clone());
        }
        is_open
    }

    /// Answers [`Effect::Start`]: nothing was started; the fire ends as skipped. False: no such start is open.
    pub fn refused(
        &mut self,
        now: Millis,
        id: &ScheduleId,
        fire: &Fire,
        refusal: Refusal,
        effects: &mut Vec<Effect>,
    ) -> bool {
        self.with(now, id, effects, |schedule, context| schedule.refused(context, fire, refusal)).unwrap_or(false)
    }

    /// Tells that a task is over, in the batch that makes its end durable. False: no schedule here started it.
    pub fn run_ended(&mut self, now: Millis, task: TaskId, effects: &mut Vec<Effect>) -> bool {
        let Some(id) = self.runs.remove(&task) else { return false };
        self.with(now, &id, effects, |schedule, _| schedule.ended(task)).unwrap_or(false)
    }

    /// The schedule that started a task which is not over.
    pub fn schedule_of(&self, task: TaskId) -> Option<&ScheduleId> {
        self.runs.get(&task)
    }

    /// What the schedules of a partition started that is not over, as far as this book was told.
    pub fn runs(&self, partition: Partition) -> impl Iterator<Item = (&ScheduleId, &Run)> {
        let here = self.schedules.iter().filter(move |(_, schedule)| schedule.partition == partition);
        here.flat_map(|(id, schedule)| schedule.record.running.iter().map(move |run| (id, run)))
    }

    /// Starts that are not answered. Before a commit it must be 0.
    pub const fn unanswered(&self) -> usize {
        self.unanswered
    }

    /// How many schedules there are.
    pub fn len(&self) -> usize {
        self.schedules.len()
    }

    /// True when there is no schedule.
    pub fn is_empty(&self) -> bool {
        self.schedules.is_empty()
    }

    /// One schedule.
    pub fn get(&self, id: &ScheduleId) -> Option<View<'_>> {
        self.schedules.get(id).map(view)
    }

    /// Schedules by namespace and name, those after `after`.
    pub fn iter_after<'a>(&'a self, after: Option<&ScheduleId>) -> impl Iterator<Item = View<'a>> {
        let from = after.map_or(Bound::Unbounded, |after| Bound::Excluded(after.clone()));
        self.schedules.range((from, Bound::Unbounded)).map(|(_, schedule)| view(schedule))
    }

    /// Lets a schedule do something, then saves it and sets its timer.
    fn with<R>(
        &mut self,
        now: Millis,
        id: &ScheduleId,
        effects: &mut Vec<Effect>,
        act: impl FnOnce(&mut Schedule, &mut Context<'_>) -> R,
    ) -> Result<R, Error> {
        let Some(schedule) = self.schedules.get_mut(id) else { return Err(Error::NotFound { id: id.clone() }) };
        let mut context = Context { now, limits: &self.limits, fault: self.fault, effects };
        self.unanswered -= schedule.unanswered();
        let result = act(schedule, &mut context);
        self.unanswered += schedule.unanswered();
        schedule.flush(&mut context);
        self.rearm(id, now);
        Ok(result)
    }

    /// Sets the timer of a schedule, not before `earliest`.
    fn rearm(&mut self, id: &ScheduleId, earliest: Millis) {
        let Some(schedule) = self.schedules.get_mut(id) else { return };
        let timer = schedule.due(earliest, &self.limits).map(|due| due.max(earliest));
        if timer == schedule.timer {
            return;
        }
        if let Some(old) = schedule.timer.take() {
            self.timers.remove(&(old, id.clone()));
        }
        schedule.timer = timer;
        self.timers.extend(timer.map(|at| (at, id.clone())));
    }

    #[cfg(test)]
    fn spoil(&self, rules: &mut Rules) {
        if self.fault == Some(Fault::DoubledHourTwice) {
            rules.forget_fixed_times();
        }
    }

    #[cfg(not(test))]
    #[expect(clippy::unused_self, reason = "only tests plant bugs")]
    const fn spoil(&self, _: &mut Rules) {}
}

fn view(schedule: &Schedule) -> View<'_> {
    let Schedule { partition, record, rules, .. } = schedule;
    View { partition: *partition, record, rules, next_time: schedule.next_time() }
}

fn forget(
    timers: &mut BTreeSet<(Millis, ScheduleId)>,
    runs: &mut BTreeMap<TaskId, ScheduleId>,
    id: &ScheduleId,
    schedule: &Schedule,
) {
    if let Some(timer) = schedule.timer {
        timers.remove(&(timer, id.clone()));
    }
    for run in &schedule.record.running {
        runs.remove(&run.task);
    }
}

#[cfg(test)]
mod tests;
