//! The shell around the engine, as an owner of the partition runs it: batches, commits, then the effects.

use std::collections::BTreeMap;

use super::{
    checker::{Shadow, Verdict},
    coverage,
    plan::PARTITION,
    world::{Event, Said, World},
};
use crate::{
    Engine,
    types::{Applied, Command, Effect, Millis, Outcome, Refused, RunningAttempt, Submission, TaskId},
};

/// A process that owns the partition, or thinks so.
#[derive(Debug)]
pub(super) struct Owner {
    pub(super) epoch: u64,
    pub(super) alive: bool,
    /// Until when it is frozen.
    paused_until: Millis,
    engine: Engine,
    shadow: Shadow,
    batch: Batch,
    committing: bool,
    tick_at: Option<Millis>,
    /// The latest session of each worker, and whether it lasts.
    sessions: BTreeMap<usize, (u64, bool)>,
}

/// What waits for the next commit.
#[derive(Debug, Default)]
struct Batch {
    /// Effects, each with the session of the worker it is for, as it was when the effect was made.
    effects: Vec<(Effect, Option<(usize, u64)>)>,
    replies: Vec<(usize, Result<Applied, Refused>)>,
    taken: Vec<(RunningAttempt, Outcome)>,
    submissions: BTreeMap<TaskId, (Submission, Millis)>,
}

impl World {
    /// A new owner starts from what is on record; the earlier ones notice some time.
    pub(super) fn take_over(&mut self) -> Verdict {
        let epoch = self.store.open();
        let mut engine = Engine::new(self.plan.config.clone());
        engine.plant(self.plan.fault);
        for ((queue, _), (idempotency, task, forget_at)) in &self.store.keys {
            engine.remember(queue, PARTITION, idempotency.clone(), *task, *forget_at);
        }
        let mut shadow = Shadow::open(&self.checker.durable, self.plan.config.clone(), self.now);
        for task in self.store.unfinished.values() {
            shadow.know(&task.submission);
            engine.restore(task.clone());
        }
        engine.opened(PARTITION, epoch, self.now);
        shadow.compare(&engine)?;
        for owner in 0..self.owners.len() {
            let notices = self.dice.range(500, 6_000);
            self.after(notices, Event::Replaced { owner });
        }
        self.owners.push(Owner {
            epoch,
            alive: true,
            paused_until: 0,
            engine,
            shadow,
            batch: Batch::default(),
            committing: false,
            tick_at: None,
            sessions: BTreeMap::new(),
        });
        let retrying = self.store.count(crate::types::State::Retrying);
        self.note("opened", &(epoch, self.store.unfinished.len(), retrying));
        self.arm(self.owners.len() - 1);
        Ok(())
    }

    /// True when an owner can act now; when it is paused, the event comes again later.
    fn awake(&mut self, owner: usize, event: impl FnOnce() -> Event) -> bool {
        let until = self.owners[owner].paused_until;
        if self.owners[owner].alive && until > self.now {
            self.after(until - self.now, event());
            return false;
        }
        self.owners[owner].alive
    }

    fn apply(&mut self, owner: usize, command: Command) -> Result<Result<Applied, Refused>, String> {
        let mut effects = Vec::new();
        let now = self.now;
        let at = &mut self.owners[owner];
        if let Command::Submit(submission) = &command {
            at.shadow.know(submission);
            let forget_at = now + self.plan.window;
            at.batch.submissions.insert(submission.id, (submission.clone(), forget_at));
        }
        let answer = at.engine.apply(now, command.clone(), &mut effects);
        at.shadow.applied(now, &command, answer.clone().ok(), &effects)?;
        at.shadow.compare(&at.engine)?;
        if command == Command::Tick && at.engine.next_timer().is_none_or(|next| next > now) {
            at.shadow.check_times()?;
        }
        if self.plan.fault.is_none() {
            at.engine.check();
        }
        if let (Command::Finish { attempt, outcome, .. }, Ok(Applied::Finished(true))) = (&command, &answer) {
            at.batch.taken.push((*attempt, outcome.clone()));
        }
        self.note("apply", &(self.owners[owner].epoch, &command, &answer));
        self.seen.extend(coverage::of_answer(&answer));
        for (position, effect) in effects.iter().enumerate() {
            let before = position.checked_sub(1).map(|before| &effects[before]);
            self.seen.extend(coverage::of_effect(effect, before));
        }
        for effect in effects {
            self.note("effect", &effect);
            let session = self.session_for(owner, &effect);
            self.owners[owner].batch.effects.push((effect, session));
        }
        self.arm(owner);
        Ok(answer)
    }

    /// Sees to it that the batch is committed and the next timer fires.
    fn arm(&mut self, owner: usize) {
        let commit_time = self.plan.commit_time;
        let wait = self.dice.range(1, commit_time);
        let at = &mut self.owners[owner];
        let full = !at.batch.effects.is_empty() || !at.batch.replies.is_empty();
        if full && !at.committing {
            at.committing = true;
            self.after(wait, Event::Commit { owner });
        }
        let at = &mut self.owners[owner];
        if let Some(next) = at.engine.next_timer()
            && at.tick_at.is_none_or(|tick_at| tick_at > next)
        {
            at.tick_at = Some(next);
            let late = self.dice.range(0, 5);
            self.after(next.saturating_sub(self.now) + late, Event::Tick { owner });
        }
    }

    pub(super) fn tick(&mut self, owner: usize) -> Verdict {
        if self.awake(owner, || Event::Tick { owner }) {
            self.owners[owner].tick_at = None;
            self.apply(owner, Command::Tick)?.map_err(|refused| format!("a tick is refused: {refused}"))?;
        }
        Ok(())
    }

    pub(super) fn replaced(&mut self, owner: usize) {
        if self.awake(owner, || Event::Replaced { owner }) {
            self.kill(owner);
        }
    }

    pub(super) fn called(&mut self, owner: usize, call: usize) -> Verdict {
        if self.awake(owner, || Event::Call { owner, call }) {
            self.names_made += 1;
            let id = TaskId((u128::from(self.now) << 64) | u128::from(self.names_made));
            let submission = self.client.submission(call, id, self.now);
            let answer = self.apply(owner, Command::Submit(submission))?;
            self.owners[owner].batch.replies.push((call, answer));
            self.arm(owner);
        }
        Ok(())
    }

    pub(super) fn cancel_called(&mut self, owner: usize, task: TaskId) -> Verdict {
        if self.awake(owner, || Event::CancelCall { owner, task }) {
            let answer = self.apply(owner, Command::Cancel(task))?;
            let known = answer.is_ok() || answer == Err(Refused::NotLive);
            return if known { Ok(()) } else { Err(format!("a cancel is answered {answer:?}")) };
        }
        Ok(())
    }

    /// A worker's message arrives.
    pub(super) fn hear(&mut self, owner: usize, worker: usize, session: u64, said: Said) -> Verdict {
        let again = said.clone();
        if !self.awake(owner, || Event::FromWorker { owner, worker, session, said: again }) {
            return Ok(());
        }
        // A worker's id is that of its life, which the session's number leads to.
        let id = self.workers[worker].id_of(session);
        let known = self.owners[owner].sessions.get(&worker).copied();
        let command = match said {
            Said::Hello { slots, running } => {
                if known.is_some_and(|(latest, _)| latest >= session) {
                    return Ok(());
                }
                self.owners[owner].sessions.insert(worker, (session, true));
                if let Some((before, true)) = known
                    && self.workers[worker].id_of(before) != id
                {
                    let lost = self.workers[worker].id_of(before);
                    self.apply(owner, Command::WorkerLost(lost))?.map_err(|refused| refused.to_string())?;
                }
                let welcome = Event::FromOwner { worker, session, effect: None };
                self.send(welcome);
                Command::WorkerJoined { worker: id, spec: self.plan.workers[worker].0.clone(), slots, running }
            }
            Said::Slots(slots) if known == Some((session, true)) => Command::SlotsFreed { worker: id, slots },
            Said::Slots(_) => return Ok(()),
            // These name their attempt, so they may come late, twice, and in any session.
            Said::Result(attempt, outcome) => Command::Finish { worker: id, attempt, outcome },
            Said::HandBack(attempt) => Command::HandBack { worker: id, attempt },
        };
        self.apply(owner, command)?.map(drop).map_err(|refused| format!("a worker is refused: {refused}"))
    }

    pub(super) fn session_ended(&mut self, owner: usize, worker: usize, session: u64) -> Verdict {
        if !self.awake(owner, || Event::SessionEnded { owner, worker, session }) {
            return Ok(());
        }
        match self.owners[owner].sessions.get_mut(&worker) {
            Some((latest, lasts)) if *latest == session && *lasts => *lasts = false,
            // It ended before its greeting came; the greeting must not open it any more.
            Some((latest, _)) if *latest >= session => return Ok(()),
            known => {
                if let Some((latest, true)) = known.copied() {
                    let lost = self.workers[worker].id_of(latest);
                    self.apply(owner, Command::WorkerLost(lost))?.map_err(|refused| refused.to_string())?;
                }
                self.owners[owner].sessions.insert(worker, (session, false));
                return Ok(());
            }
        }
        let id = self.workers[worker].id_of(session);
        self.apply(owner, Command::WorkerLost(id))?.map(drop).map_err(|refused| refused.to_string())
    }

    /// Makes the batch durable, then lets its effects out.
    pub(super) fn commit(&mut self, owner: usize) -> Verdict {
        if !self.awake(owner, || Event::Commit { owner }) {
            return Ok(());
        }
        self.owners[owner].committing = false;
        if self.is_faulty() && self.dice.permille(self.plan.crashing) {
            self.note("crash", &"before the commit");
            self.kill(owner);
            return Ok(());
        }
        let batch = std::mem::take(&mut self.owners[owner].batch);
        let epoch = self.owners[owner].epoch;
        let records = batch.effects.iter().filter_map(|(effect, _)| match effect {
            Effect::Persist(record) => Some(record.clone()),
            _ => None,
        });
        let records: Vec<_> = records.collect();
        // Nothing to make durable: the store is not asked, so an owner that was replaced does not notice.
        if !records.is_empty() {
            if epoch == self.store.epoch() {
                self.checker.committed(&records, &batch.taken)?;
            }
            if self.store.commit(epoch, &records, &batch.submissions).is_err() {
                self.note("fenced", &epoch);
                self.seen.insert("fenced");
                self.kill(owner);
                return Ok(());
            }
        }
        if self.is_faulty() && self.dice.permille(self.plan.crashing) {
            self.note("crash", &"after the commit");
            self.kill(owner);
            return Ok(());
        }
        self.release(owner, batch)
    }

    fn release(&mut self, owner: usize, batch: Batch) -> Verdict {
        let rightful = self.owners[owner].epoch == self.store.epoch();
        for (effect, session) in batch.effects {
            // What was meant for an earlier session is dropped: the next one began with a clean slate.
            if let Some((worker, session)) = session
                && self.owners[owner].sessions.get(&worker) == Some(&(session, true))
            {
                self.checker.released(&effect, rightful)?;
                self.send(Event::FromOwner { worker, session, effect: Some(effect) });
            }
        }
        for (call, answer) in batch.replies {
            if let (Ok(Applied::Submitted { id, .. }), true) = (&answer, rightful) {
                self.checker.acknowledged(*id)?;
            }
            self.send(Event::Reply { call, answer });
        }
        Ok(())
    }

    /// The session of the worker that an effect is for, if it is for one.
    fn session_for(&self, owner: usize, effect: &Effect) -> Option<(usize, u64)> {
        let (Effect::Assign { worker, .. }
        | Effect::CancelAttempt { worker, .. }
        | Effect::Acknowledge { worker, .. }
        | Effect::Revoke { worker, .. }) = effect
        else {
            return None;
        };
        let sessions = self.owners[owner].sessions.iter().filter(|(_, (_, lasts))| *lasts);
        let mut of_worker = sessions.filter(|(to, (session, _))| self.workers[**to].id_of(*session) == *worker);
        of_worker.next().map(|(to, (session, _))| (*to, *session))
    }

    /// The latest owner, if it runs.
    pub(super) fn owner(&self) -> Option<usize> {
        let latest = self.owners.len().checked_sub(1)?;
        self.owners[latest].alive.then_some(latest)
    }

    /// Ends an owner; another one takes over.
    fn kill(&mut self, owner: usize) {
        self.owners[owner].alive = false;
        self.owners[owner].batch = Batch::default();
        for worker in 0..self.workers.len() {
            if let Some((by, session)) = self.workers[worker].session()
                && by == owner
            {
                let notices = self.dice.range(1, 200);
                self.after(notices, Event::SessionBroken { worker, session });
            }
        }
        if owner + 1 == self.owners.len() {
            let wait = self.dice.range(1, 800);
            self.after(wait, Event::TakeOver);
        }
    }

    pub(super) fn crash_owner(&mut self) {
        if let Some(owner) = self.owner() {
            self.note("crash", &owner);
            self.kill(owner);
        }
    }

    /// Freezes the owner for so long that another one takes over.
    pub(super) fn pause_owner(&mut self) {
        let Some(owner) = self.owner() else { return };
        let (pause, take_over) = (self.dice.range(200, 4_000), self.dice.range(100, 1_000));
        self.note("pause", &(owner, pause));
        self.owners[owner].paused_until = self.now + pause;
        self.after(take_over, Event::TakeOver);
        for worker in 0..self.workers.len() {
            if let Some((by, session)) = self.workers[worker].session()
                && by == owner
            {
                let notices = self.dice.range(50, 3_000);
                self.after(notices, Event::SessionBroken { worker, session });
            }
        }
    }
}
