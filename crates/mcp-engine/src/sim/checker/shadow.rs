//! What one owner's engine must hold, step by step.

use std::collections::{BTreeMap, BTreeSet};

use super::{Durable, Verdict, durable::is_final, promise};
use crate::{
    Engine,
    types::{
        Applied, Command, Config, Effect, Millis, Outcome, QueueKey, Record, State, Submission, TaskId, Token, WorkerId,
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
    /// Queue and run timeout of every task.
    terms: BTreeMap<TaskId, (QueueKey, Millis)>,
    config: Config,
    now: Millis,
    /// Free slots of the workers with a session.
    slots: BTreeMap<WorkerId, u32>,
    /// When the others lost theirs.
    lost: BTreeMap<WorkerId, Millis>,
}

impl Shadow {
    /// The view of an owner that starts with what is on record.
    pub(in crate::sim) fn open(durable: &Durable, config: Config, now: Millis) -> Self {
        let unfinished = durable.tasks.iter().filter(|(_, entry)| !is_final(entry.state));
        let live = unfinished.map(|(id, entry)| {
            let (state, token, cancelled) = (entry.state, entry.void, entry.cancel_requested);
            let live = Live { state, token, worker: None, since: now, restored: true, cancelled, ending: None };
            (*id, live)
        });
        Self { live: live.collect(), config, now, ..Self::default() }
    }

    /// What a task was submitted as, before it is submitted or when it is restored.
    pub(in crate::sim) fn know(&mut self, submission: &Submission) {
        self.terms.insert(submission.id, (submission.queue.clone(), submission.run_timeout));
    }

    /// A command was applied and gave these effects.
    pub(in crate::sim) fn applied(
        &mut self,
        now: Millis,
        command: &Command,
        applied: Option<Applied>,
        effects: &[Effect],
    ) -> Verdict {
        self.now = now;
        match command {
            Command::WorkerJoined { worker, slots, .. } => {
                self.lost.remove(worker);
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
                let free = self.slots.get_mut(worker).filter(|free| **free > 0);
                let Some(free) = free else { return Err(format!("S8: {worker:?} has no free slot for {attempt:?}")) };
                *free -= 1;
                Ok(())
            }
            _ => Ok(()),
        }
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
        let queue = &self.terms[&task].0;
        let len = self.live.keys().filter(|id| self.terms[id].0 == *queue).count();
        promise!(len <= self.config.queue_len_max, "S8: {queue:?} holds {len} tasks");
        Ok(())
    }

    /// S9: when every timer that is due has fired, no attempt outlives its worker's lease or its own net.
    pub(in crate::sim) fn check_times(&self) -> Verdict {
        for (id, live) in &self.live {
            let Some(worker) = live.worker else { continue };
            let lease_end = self.lost.get(&worker).map(|lost| lost + self.config.worker_lease);
            let net = live.since + self.terms[id].1 + self.config.run_timeout_grace;
            promise!(lease_end.is_none_or(|end| end > self.now), "S9: {id:?} outlives the lease of {worker:?}");
            promise!(net > self.now, "S9: {id:?} runs on {worker:?} since {}", live.since);
        }
        Ok(())
    }

    /// S-1, P1: the engine holds exactly the unfinished tasks, each in one state.
    pub(in crate::sim) fn compare(&self, engine: &Engine) -> Verdict {
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
        }
        Ok(())
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
