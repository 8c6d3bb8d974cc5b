//! What one owner's engine must hold, step by step.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    super::{coverage, plan::partition_of},
    Broken, Durable, Verdict,
    durable::is_final,
    limits::Limits,
    order::Turns,
    promise,
};
use crate::{
    Engine,
    types::{
        Applied, Command, Config, Effect, Intake, Millis, Outcome, Partition, QueueKey, QueueRules, Record, State,
        Submission, TaskId, Token, WorkerId, WorkerSpec,
    },
};

/// A task that is not final, as this owner knows it.
#[derive(Debug)]
struct Live {
    state: State,
    token: Token,
    worker: Option<WorkerId>,
    /// When it came into its state.
    since: Millis,
    /// It came from the store; whether it is due is the engine's to say until it moves.
    restored: bool,
    /// A cancel was accepted.
    cancelled: bool,
    /// A record of this step says that it is final.
    ending: Option<State>,
}

/// What one owner's engine must hold.
#[derive(Debug, Default)]
pub(in crate::sim) struct Shadow {
    live: BTreeMap<TaskId, Live>,
    ended: BTreeSet<TaskId>,
    /// Of every partition that is open or being loaded.
    limits: BTreeMap<Partition, Limits>,
    open: BTreeSet<Partition>,
    turns: Turns,
    config: Config,
    now: Millis,
    /// Free slots of the workers with a session.
    slots: BTreeMap<WorkerId, u32>,
    /// What they serve.
    specs: BTreeMap<WorkerId, Arc<WorkerSpec>>,
    /// Those that may keep a slot for a task: in this session they were told to stop another.
    making_room: BTreeSet<WorkerId>,
    /// When the others lost theirs.
    lost: BTreeMap<WorkerId, Millis>,
}

impl Shadow {
    /// The view of an owner that owns nothing yet.
    pub(in crate::sim) fn new(config: Config) -> Self {
        Self { config, ..Self::default() }
    }

    /// A partition is loaded with what is on record.
    pub(in crate::sim) fn load(
        &mut self,
        durable: &Durable,
        partition: Partition,
        rules: BTreeMap<QueueKey, QueueRules>,
        now: Millis,
    ) {
        let unfinished = durable.tasks.iter().filter(|(_, entry)| !is_final(entry.state));
        for (id, entry) in unfinished.filter(|(id, _)| partition_of(**id) == partition) {
            let (state, token, cancelled) = (entry.state, entry.void, entry.cancel_requested);
            let live = Live { state, token, worker: None, since: now, restored: true, cancelled, ending: None };
            self.live.insert(*id, live);
            self.ended.remove(id);
        }
        self.limits.insert(partition, Limits::load(rules, now));
    }

    /// A partition is open.
    pub(in crate::sim) fn opened(&mut self, durable: &Durable, partition: Partition, now: Millis) {
        let limits = self.limits.get_mut(&partition).expect("it was loaded");
        limits.opened(durable.perhaps_running(partition), now, self.config.worker_lease);
        self.open.insert(partition);
    }

    /// A partition is another's. Gives the tasks of it that were known.
    pub(in crate::sim) fn close(&mut self, partition: Partition) -> Vec<TaskId> {
        let its = self.live.keys().copied().filter(|id| partition_of(*id) == partition).collect();
        self.live.retain(|id, _| partition_of(*id) != partition);
        // Its next owner may still submit, restore or end them.
        self.ended.retain(|id| partition_of(*id) != partition);
        self.limits.remove(&partition);
        self.open.remove(&partition);
        its
    }

    /// What a task was submitted as, before it is submitted or when it is restored.
    pub(in crate::sim) fn know(&mut self, submission: &Submission) {
        if let Some(limits) = self.limits.get_mut(&submission.partition) {
            limits.know(submission);
        }
    }

    /// The limits of a task's partition, which is known here.
    fn limits(&self, id: TaskId) -> &Limits {
        &self.limits[&partition_of(id)]
    }

    /// What a task was submitted as.
    pub(in crate::sim) fn task(&self, id: TaskId) -> &Submission {
        self.limits(id).task(id)
    }

    /// The rules of a task's queue.
    pub(in crate::sim) fn rules(&self, id: TaskId) -> Option<&QueueRules> {
        self.limits(id).rules.get(&self.task(id).queue)
    }

    /// A command was applied and gave these effects.
    pub(in crate::sim) fn applied(
        &mut self,
        now: Millis,
        command: &Command,
        applied: Option<&Applied>,
        effects: &[Effect],
    ) -> Verdict {
        self.now = now;
        match command {
            Command::SetQueue { queue, partition, rules } if applied.is_some() => {
                let limits = self.limits.get_mut(partition);
                let Some(limits) = limits.filter(|_| self.open.contains(partition)) else {
                    return Err(format!("P3: rules are taken for {partition:?}, which is not open here"));
                };
                limits.rules.insert(queue.clone(), rules.clone());
            }
            Command::Submit(submission) => {
                let owned = applied.is_none() || self.open.contains(&submission.partition);
                promise!(owned, "P3: {submission:?} is taken, but its partition is not open here");
                self.check_found(submission, applied)?;
            }
            Command::WorkerJoined { worker, slots, spec, .. } => {
                self.lost.remove(worker);
                self.making_room.remove(worker);
                self.specs.insert(*worker, spec.clone().into());
                self.slots.insert(*worker, *slots);
            }
            Command::WorkerLost(worker) if self.slots.remove(worker).is_some() => {
                self.lost.insert(*worker, now);
            }
            Command::SlotsFreed { worker, slots } => {
                if let Some(free) = self.slots.get_mut(worker) {
                    *free += slots;
                }
            }
            _ => {}
        }
        effects.iter().try_for_each(|effect| self.effect(effect))?;
        if let (Command::Finish { attempt, outcome: Outcome::Succeeded, .. }, Some(Applied::Finished(true))) =
            (command, applied)
        {
            promise!(self.ended.contains(&attempt.task), "P2: {attempt:?} succeeded but its task goes on");
        }
        Ok(())
    }

    fn effect(&mut self, effect: &Effect) -> Verdict {
        match effect {
            Effect::Persist(Record::Submitted { task, state }) => {
                let (token, worker, restored, cancelled, ending) = (NONE, None, false, false, None);
                let live = Live { state: *state, token, worker, since: self.now, restored, cancelled, ending };
                let known = self.live.insert(*task, live).is_some() || self.ended.contains(task);
                promise!(!known, "P2: {task:?} is submitted twice");
                self.check_queue(*task)
            }
            Effect::Persist(Record::Finished { task, state, .. }) => {
                let live = self.live(*task, effect)?;
                promise!(live.ending.replace(*state).is_none(), "P2: {task:?} ends twice");
                Ok(())
            }
            Effect::Persist(Record::Retry { task, void, .. }) => {
                let live = self.live(*task, effect)?;
                live.token = live.token.max(*void);
                Ok(())
            }
            Effect::Persist(Record::CancelRequested { task }) => {
                self.live(*task, effect)?.cancelled = true;
                Ok(())
            }
            Effect::Changed { task, state, worker, .. } => self.changed(*task, *state, *worker),
            Effect::Assign { worker, attempt, .. } => {
                let live = self.live(attempt.task, effect)?;
                let waits = live.state == State::Pending || (live.restored && !is_final(live.state));
                promise!(waits, "P2: {attempt:?} is assigned in {:?}", live.state);
                promise!(!live.cancelled, "P2: {attempt:?} is assigned though the task was cancelled");
                promise!(attempt.token > live.token, "P2: {attempt:?} is assigned after {:?}", live.token);
                live.token = attempt.token;
                let partition = partition_of(attempt.task);
                promise!(self.open.contains(&partition), "P3: {attempt:?} is assigned, but its partition is not open");
                let limits = self.limits.get_mut(&partition).expect("it is open");
                limits.started(attempt.task, self.now)?;
                let its = self.live.iter().filter(|(id, _)| partition_of(**id) == partition);
                let (restored, known): (Vec<_>, Vec<_>) = its.partition(|(_, live)| live.restored);
                let restored: Vec<TaskId> = restored.into_iter().map(|(id, _)| *id).collect();
                let waiting = known.into_iter().filter(|(_, live)| live.state == State::Pending).map(|(id, _)| *id);
                self.turns.started(attempt.task, waiting, &restored, limits, self.now)?;
                let free = self.slots.get_mut(worker).filter(|free| **free > 0);
                let Some(free) = free else { return Err(format!("S8: {worker:?} has no free slot for {attempt:?}")) };
                *free -= 1;
                Ok(())
            }
            Effect::CancelAttempt { worker, .. } => {
                self.making_room.insert(*worker);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// S4: a task that is found by its name is unfinished.
    fn check_found(&self, submission: &Submission, applied: Option<&Applied>) -> Verdict {
        if let (Some(name), None, Some(Applied::Submitted { id, deduplicated: true })) =
            (&submission.unique, &submission.idempotency, applied)
        {
            promise!(self.live.contains_key(id), "S4: {id:?} is over but still has the name {name}");
            promise!(self.task(*id).unique.as_ref() == Some(name), "S4: {id:?} does not have the name {name}");
        }
        Ok(())
    }

    fn live(&mut self, task: TaskId, effect: &Effect) -> Result<&mut Live, String> {
        self.live.get_mut(&task).ok_or_else(|| format!("P2: {effect:?}, but the task is final or unknown"))
    }

    fn changed(&mut self, task: TaskId, state: State, worker: Option<WorkerId>) -> Verdict {
        let Some(live) = self.live.get_mut(&task) else {
            return Err(format!("P2: {task:?} moves to {state:?} after its end"));
        };
        promise!(worker.is_some() == (state == State::Running), "S-1: {task:?} is {state:?} with {worker:?}");
        let fresh = live.state == state && live.token == NONE && !live.restored;
        promise!(fresh || legal(live.state, state, live.restored), "S2: {task:?} {:?} to {state:?}", live.state);
        let limits = self.limits.get_mut(&partition_of(task)).expect("it is of a partition that is known here");
        limits.runs(task, state == State::Running);
        if is_final(state) {
            promise!(live.ending == Some(state), "P2: {task:?} is {state:?} without a record of it");
            self.live.remove(&task);
            self.ended.insert(task);
            return Ok(());
        }
        promise!(live.ending.is_none(), "P2: {task:?} goes on as {state:?} after its end");
        (live.state, live.worker, live.since, live.restored) = (state, worker, self.now, false);
        Ok(())
    }

    fn check_queue(&self, task: TaskId) -> Verdict {
        let queue = &self.task(task).queue;
        let len = self.live.keys().filter(|id| self.task(**id).queue == *queue).count();
        let rules = self.rules(task);
        let len_max = rules.and_then(|rules| rules.len_max).unwrap_or(usize::MAX).min(self.config.queue_len_max);
        promise!(len <= len_max, "S8: {queue:?} holds {len} tasks");
        let closed = rules.is_some_and(|rules| rules.intake == Intake::Closed);
        promise!(!closed, "S8: {queue:?} takes {task:?} though it is drained");
        Ok(())
    }

    /// S9: when every timer that is due has fired, no attempt outlives its worker's lease or its own net.
    pub(in crate::sim) fn check_times(&self) -> Verdict {
        for (id, live) in &self.live {
            let Some(worker) = live.worker else { continue };
            let lease_end = self.lost.get(&worker).map(|lost| lost + self.config.worker_lease);
            let net = live.since + self.task(*id).run_timeout + self.config.run_timeout_grace;
            promise!(lease_end.is_none_or(|end| end > self.now), "S9: {id:?} outlives the lease of {worker:?}");
            promise!(net > self.now, "S9: {id:?} runs on {worker:?} since {}", live.since);
        }
        Ok(())
    }

    /// S8: when every timer that is due has fired, nothing waits that nothing keeps back.
    pub(in crate::sim) fn check_permits(&self) -> Verdict {
        for (id, live) in self.live.iter().filter(|(_, live)| live.state == State::Pending && !live.restored) {
            let free = self.slots.iter().filter(|(worker, free)| **free > 0 && !self.making_room.contains(worker));
            let specs = free.map(|(worker, _)| Arc::clone(&self.specs[worker]));
            promise!(live.worker.is_none(), "S-1: {id:?} waits on a worker");
            self.limits(*id).must_start(*id, specs, self.now)?;
        }
        Ok(())
    }

    /// S-1, P1: the engine holds exactly the unfinished tasks, each in one state, and says why they are not
    /// done. Gives what it says.
    pub(in crate::sim) fn compare(&self, engine: &Engine) -> Result<BTreeSet<&'static str>, Broken> {
        let mut said = BTreeSet::new();
        let stats = engine.stats();
        let states = stats.pending + stats.scheduled + stats.running + stats.retrying;
        promise!(stats.tasks == self.live.len(), "P1: the engine holds {} tasks of {}", stats.tasks, self.live.len());
        promise!(states == stats.tasks, "S-1: {states} states for {} tasks", stats.tasks);
        let free: u64 = self.slots.values().map(|slots| u64::from(*slots)).sum();
        promise!(stats.free_slots == free, "S8: {} slots are free, not {free}", stats.free_slots);
        for (id, live) in &self.live {
            let Some(view) = engine.view(*id) else { return Err(format!("P1: the engine lost {id:?}, {live:?}")) };
            let came_due = live.restored && view.state == State::Pending;
            promise!(view.state == live.state || came_due, "S-1: {id:?} is {:?}, not {live:?}", view.state);
            promise!(view.worker == live.worker, "S-1: {id:?} is with {:?}, not {live:?}", view.worker);
            if !self.open.contains(&partition_of(*id)) {
                continue; // nobody can be asked
            }
            let explanation = engine.explain(*id).map(|explanation| explanation.reasons).unwrap_or_default();
            promise!(!explanation.is_empty(), "nobody knows why {id:?} is not done: {live:?}");
            said.extend(explanation.iter().map(coverage::of_reason));
        }
        Ok(said)
    }
}

const NONE: Token = Token { epoch: 0, sequence: 0 };

/// The moves of S2, written down a second time. A restored task may turn out to be running, whatever its record says.
fn legal(from: State, to: State, restored: bool) -> bool {
    use State::{Cancelled, Failed, Pending, Retrying, Running, Scheduled, Succeeded};
    match (from, to) {
        (Scheduled | Retrying, Pending | Cancelled) | (Pending, Running | Cancelled | Failed) => true,
        (Running, Succeeded | Failed | Cancelled | Retrying | Pending) => true,
        (Scheduled | Retrying, Running | Failed) => restored,
        _ => false,
    }
}
