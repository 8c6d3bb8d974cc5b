//! A process that owns partitions, as the shell around the engine runs it: batches, one commit for all partitions, then
//! the effects.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    checker::{Shadow, Verdict},
    coverage,
    plan::{partition_of, task_id},
    world::{Event, Told, World},
};
use crate::{
    Engine,
    types::{
        Applied, Command, Effect, Millis, Outcome, Partition, QueueKey, QueueRules, Record, Refused, RunningAttempt,
        Submission, TaskId,
    },
};

/// A process, alive or not.
#[derive(Debug)]
pub(super) struct Owner {
    /// Where it runs.
    pub(super) site: usize,
    pub(super) alive: bool,
    /// Until when it is frozen.
    pub(super) paused_until: Millis,
    pub(super) engine: Engine,
    pub(super) shadow: Shadow,
    /// What it owns, or thinks it does.
    pub(super) parts: BTreeMap<Partition, Part>,
    pub(super) batch: Batch,
    committing: bool,
    tick_at: Option<Millis>,
    /// The latest session of each worker, and whether it lasts.
    pub(super) sessions: BTreeMap<usize, (u64, bool)>,
}

/// A partition of a process.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    pub(super) epoch: u64,
    /// False while it is being loaded.
    pub(super) open: bool,
}

/// What waits for the next commit.
#[derive(Debug, Default)]
pub(super) struct Batch {
    records: Vec<Record>,
    /// What workers are told, each with its session as it was then.
    told: Vec<(Told, usize, u64)>,
    replies: Vec<(usize, Result<Applied, Refused>)>,
    taken: Vec<(RunningAttempt, Outcome)>,
    submissions: BTreeMap<TaskId, (Submission, Millis)>,
    rules: BTreeMap<QueueKey, QueueRules>,
    /// Partitions that were opened with what their last owners named, which counts no longer.
    pub(super) believed: BTreeSet<Partition>,
}

impl Owner {
    /// A process that owns nothing yet.
    pub(super) fn new(site: usize, engine: Engine, shadow: Shadow) -> Self {
        Self {
            site,
            alive: true,
            paused_until: 0,
            engine,
            shadow,
            parts: BTreeMap::new(),
            batch: Batch::default(),
            committing: false,
            tick_at: None,
            sessions: BTreeMap::new(),
        }
    }

    /// True when the engine may hear of an attempt.
    pub(super) fn judges(&self, attempt: RunningAttempt) -> bool {
        self.engine.judges(partition_of(attempt.task), attempt.token)
    }
}

impl World {
    /// True when an owner can act now; when it is paused, the event comes again later.
    pub(super) fn awake(&mut self, owner: usize, event: impl FnOnce() -> Event) -> bool {
        let until = self.owners[owner].paused_until;
        if self.owners[owner].alive && until > self.now {
            self.after(until - self.now, event());
            return false;
        }
        self.owners[owner].alive
    }

    /// True when nobody took over since.
    pub(super) fn is_rightful(&self, owner: usize, partition: Partition) -> bool {
        self.owners[owner].parts.get(&partition).is_some_and(|part| part.epoch == self.store.epoch(partition))
    }

    pub(super) fn apply(&mut self, owner: usize, command: Command) -> Result<Result<Applied, Refused>, String> {
        self.apply_and_see(owner, command).map(|(answer, _)| answer)
    }

    /// Applies a command and has everything checked; gives what is revoked by it, too.
    pub(super) fn apply_and_see(
        &mut self,
        owner: usize,
        command: Command,
    ) -> Result<(Result<Applied, Refused>, Vec<RunningAttempt>), String> {
        let mut effects = Vec::new();
        let now = self.now;
        let at = &mut self.owners[owner];
        if let Command::Submit(submission) = &command {
            at.shadow.know(submission);
            let forget_at = now + self.plan.window;
            at.batch.submissions.insert(submission.id, (submission.clone(), forget_at));
            self.checker.durable.know(submission);
        }
        let answer = at.engine.apply(now, command.clone(), &mut effects);
        at.shadow.applied(now, &command, answer.as_ref().ok(), &effects)?;
        self.seen.extend(at.shadow.compare(&at.engine)?);
        let settled = at.engine.next_timer().is_none_or(|next| next > now);
        if command == Command::Tick && settled {
            at.shadow.check_times()?;
        }
        if settled {
            at.shadow.check_permits()?;
        }
        if let (Command::SetQueue { queue, rules, .. }, Ok(_)) = (&command, &answer) {
            at.batch.rules.insert(queue.clone(), rules.clone());
        }
        if let (Command::Finish { attempt, outcome, .. }, Ok(Applied::Finished(true))) = (&command, &answer) {
            at.batch.taken.push((*attempt, outcome.clone()));
        }
        if self.plan.fault.is_none() {
            at.engine.check();
        }
        self.note("apply", &(owner, &command, &answer));
        self.seen.extend(coverage::of_answer(&answer));
        let revoked = self.keep(owner, effects)?;
        self.arm(owner);
        Ok((answer, revoked))
    }

    /// Keeps effects for after the commit; gives what is revoked.
    fn keep(&mut self, owner: usize, effects: Vec<Effect>) -> Result<Vec<RunningAttempt>, String> {
        for (position, effect) in effects.iter().enumerate() {
            let before = position.checked_sub(1).map(|before| &effects[before]);
            self.seen.extend(coverage::of_effect(effect, before));
            if let Effect::Assign { attempt, .. } = effect
                && self.is_rightful(owner, partition_of(attempt.task))
            {
                let shadow = &self.owners[owner].shadow;
                self.checker.started(shadow.task(attempt.task), shadow.rules(attempt.task), self.now)?;
            }
        }
        let mut revoked = Vec::new();
        for effect in effects {
            self.note("effect", &effect);
            if let Effect::Revoke { attempt, .. } = effect {
                revoked.push(attempt);
            }
            let session = self.session_for(owner, &effect);
            let batch = &mut self.owners[owner].batch;
            match effect {
                Effect::Persist(record) => batch.records.push(record),
                effect => batch.told.extend(session.map(|(worker, session)| (Told::Order(effect), worker, session))),
            }
        }
        Ok(revoked)
    }

    /// Tells a worker something after the next commit.
    pub(super) fn tell(&mut self, owner: usize, worker: usize, session: u64, told: Told) {
        self.owners[owner].batch.told.push((told, worker, session));
        self.arm(owner);
    }

    /// Sees to it that the batch is committed and the next timer fires.
    pub(super) fn arm(&mut self, owner: usize) {
        let commit_time = self.plan.commit_time;
        let wait = self.dice.range(1, commit_time);
        let at = &mut self.owners[owner];
        let Batch { records, told, replies, rules, believed, .. } = &at.batch;
        let is_empty = records.is_empty() && told.is_empty() && replies.is_empty() && rules.is_empty();
        let full = !is_empty || !believed.is_empty();
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

    pub(super) fn called(&mut self, owner: usize, call: usize) -> Verdict {
        if self.awake(owner, || Event::Call { owner, call }) {
            self.names_made += 1;
            let id = task_id(self.now, self.client.partition(call), self.names_made);
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

    pub(super) fn commit_due(&mut self, owner: usize) -> Verdict {
        if !self.awake(owner, || Event::Commit { owner }) {
            return Ok(());
        }
        self.owners[owner].committing = false;
        self.commit(owner)
    }

    /// Makes the batch durable, then lets its effects out. Whoever is fenced in one partition starts anew in all.
    pub(super) fn commit(&mut self, owner: usize) -> Verdict {
        if self.is_faulty() && self.dice.permille(self.plan.crashing) {
            self.note("crash", &"before the commit");
            self.kill(owner);
            return Ok(());
        }
        let batch = std::mem::take(&mut self.owners[owner].batch);
        let of_records = batch.records.iter().map(|record| partition_of(coverage::task_of(record)));
        let touched = of_records.chain(batch.rules.keys().map(|queue| self.plan.partition(queue)));
        let touched = touched.chain(batch.believed.iter().copied());
        let parts = &self.owners[owner].parts;
        let epochs: BTreeMap<_, _> = touched.map(|partition| (partition, parts[&partition].epoch)).collect();
        // Nothing to make durable: the store is not asked, so an owner that was replaced does not notice.
        if !epochs.is_empty() {
            if epochs.len() > 1 {
                self.seen.insert("several partitions in one commit");
            }
            if self.store.accepts(&epochs) {
                self.checker.committed(&batch.records, &batch.taken)?;
            }
            if self.store.commit(&epochs, &batch.records, &batch.submissions, batch.rules.clone()).is_err() {
                self.note("fenced", &epochs);
                self.seen.insert("fenced");
                self.kill(owner);
                return Ok(());
            }
            self.store.closed.retain(|partition, _| !batch.believed.contains(partition));
        }
        if self.is_faulty() && self.dice.permille(self.plan.crashing) {
            self.note("crash", &"after the commit");
            self.kill(owner);
            return Ok(());
        }
        self.release(owner, batch)
    }

    fn release(&mut self, owner: usize, batch: Batch) -> Verdict {
        for (told, worker, session) in batch.told {
            // What was meant for an earlier session is dropped: the next one began with a clean slate.
            if self.owners[owner].sessions.get(&worker) != Some(&(session, true)) {
                continue;
            }
            if let Told::Order(effect) = &told {
                let attempt = coverage::attempt_of(effect).expect("what a worker is told is about an attempt");
                let rightful = self.is_rightful(owner, partition_of(attempt.task));
                self.checker.released(effect, rightful)?;
            }
            self.send(Event::FromOwner { worker, session, told });
        }
        for (call, answer) in batch.replies {
            if let Ok(Applied::Submitted { id, .. }) = &answer
                && self.is_rightful(owner, partition_of(*id))
            {
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
}
