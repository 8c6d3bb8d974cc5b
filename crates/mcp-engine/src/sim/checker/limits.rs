//! Limits, counted a second time: what may run, what may start, and what must start.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{Verdict, promise};
use crate::types::{
    Dispatch, Millis, Operator, QueueKey, QueueRules, Rate, Resources, Submission, TaskId, WorkKind, WorkerSpec,
};

/// Rounding of the checker's own arithmetic.
const EPSILON: f64 = 1e-6;

/// A queue, or a key of it.
type Name = (QueueKey, Option<Arc<str>>);

/// Tokens of a rate.
#[derive(Debug, Clone, Copy)]
struct Allowance {
    tokens: f64,
    at: Millis,
}

impl Allowance {
    #[expect(clippy::cast_precision_loss, reason = "times of a run are small")]
    fn at(self, rate: Rate, now: Millis) -> f64 {
        (self.tokens + (now - self.at) as f64 * rate.per_second / 1_000.0).min(f64::from(rate.burst))
    }

    fn spend(&mut self, rate: Rate, now: Millis) -> bool {
        (self.tokens, self.at) = (self.at(rate, now) - 1.0, now);
        self.tokens >= -EPSILON
    }
}

/// The rates of all queues, over all rightful owners: no change of owners may exceed them.
#[derive(Debug, Default)]
pub(in crate::sim) struct Rates(BTreeMap<Name, Allowance>);

impl Rates {
    /// A rightful owner starts an attempt.
    pub(in crate::sim) fn started(&mut self, task: &Submission, rules: Option<&QueueRules>, now: Millis) -> Verdict {
        for (name, rate) in rates_of(task, rules) {
            let full = Allowance { tokens: f64::from(rate.burst), at: now };
            let spent = self.0.entry(name).or_insert(full).spend(rate, now);
            promise!(spent, "S8: {:?} exceeds {rate:?} across owners", task.id);
        }
        Ok(())
    }
}

/// What an owner of a partition must see to.
#[derive(Debug, Default)]
pub(in crate::sim) struct Limits {
    pub(in crate::sim) rules: BTreeMap<QueueKey, QueueRules>,
    allowances: BTreeMap<Name, Allowance>,
    opened: Millis,
    /// Until when attempts of earlier owners count that nobody reported.
    grace_end: Millis,
    /// Those attempts.
    perhaps: BTreeSet<TaskId>,
    /// What runs.
    running: BTreeSet<TaskId>,
    tasks: BTreeMap<TaskId, Submission>,
}

impl Limits {
    /// The limits of a partition that is being loaded.
    pub(in crate::sim) fn load(rules: BTreeMap<QueueKey, QueueRules>, now: Millis) -> Self {
        Self { rules, opened: now, ..Self::default() }
    }

    /// The partition is open. Of what its owner did not load nothing counts: that is of an owner after it.
    pub(in crate::sim) fn opened(&mut self, mut perhaps: BTreeSet<TaskId>, now: Millis, grace: Millis) {
        perhaps.retain(|id| self.tasks.contains_key(id));
        (self.perhaps, self.opened, self.grace_end) = (perhaps, now, now + grace);
    }

    /// What a task is.
    pub(in crate::sim) fn know(&mut self, submission: &Submission) {
        self.tasks.insert(submission.id, submission.clone());
    }

    /// What a task was submitted as.
    pub(in crate::sim) fn task(&self, id: TaskId) -> &Submission {
        &self.tasks[&id]
    }

    /// A task runs, or does not any more, whoever sent the attempt out.
    pub(in crate::sim) fn runs(&mut self, id: TaskId, runs: bool) {
        self.perhaps.remove(&id);
        if runs {
            self.running.insert(id);
        } else {
            self.running.remove(&id);
        }
    }

    /// How many attempts of a queue, or of a key of it, run or may run.
    fn occupied(&self, name: &Name, now: Millis) -> usize {
        let perhaps = self.perhaps.iter().filter(|_| now < self.grace_end);
        let ids: BTreeSet<_> = self.running.iter().chain(perhaps).collect();
        let meant = |id: &TaskId| {
            let task = &self.tasks[id];
            task.queue == name.0 && (name.1.is_none() || task.key == name.1)
        };
        ids.into_iter().filter(|id| meant(id)).count()
    }

    /// S8: an attempt starts. Its permits are there, and its tokens.
    pub(in crate::sim) fn started(&mut self, id: TaskId, now: Millis) -> Verdict {
        let task = self.tasks[&id].clone();
        let rules = self.rules.get(&task.queue).cloned();
        if let Some(rules) = &rules {
            promise!(rules.dispatch == Dispatch::Running, "S8: {id:?} is started though its queue is paused");
        }
        self.perhaps.remove(&id);
        for (name, limit) in limits_of(&task, rules.as_ref()) {
            let others = self.occupied(&name, now);
            promise!(others < limit as usize, "S8: {id:?} is started beside {others} others of {name:?}, not {limit}");
        }
        for (name, rate) in rates_of(&task, rules.as_ref()) {
            let empty = Allowance { tokens: 0.0, at: self.opened };
            let spent = self.allowances.entry(name).or_insert(empty).spend(rate, now);
            promise!(spent, "S8: {id:?} is started before there is a token of {rate:?}");
        }
        Ok(())
    }

    /// True when the key of a task keeps it back, for all that is known here: the `restored` ones may run.
    pub(in crate::sim) fn key_is_shut(&self, id: TaskId, restored: &[TaskId], now: Millis) -> bool {
        let task = &self.tasks[&id];
        let may_run = restored.iter().map(|id| &self.tasks[id]).any(|other| same_key(other, task));
        let rules = self.rules.get(&task.queue);
        let mut limits = limits_of(task, rules).into_iter().filter(|((_, key), _)| key.is_some());
        // Of a token the owner hears a little later.
        let is_rated = rates_of(task, rules).iter().any(|((_, key), _)| key.is_some());
        is_rated || limits.any(|(name, limit)| may_run || self.occupied(&name, now) >= limit as usize)
    }

    fn has_token(&self, name: &Name, rate: Rate, now: Millis) -> bool {
        let allowance = self.allowances.get(name).copied();
        let allowance = allowance.unwrap_or(Allowance { tokens: 0.0, at: self.opened });
        allowance.at(rate, now) >= 1.0 + EPSILON
    }

    /// The share of a task's key among the keys of its queue.
    pub(in crate::sim) fn weight(&self, id: TaskId) -> u32 {
        let task = &self.tasks[&id];
        let weights = self.rules.get(&task.queue).map(|rules| &rules.weights);
        weights.and_then(|weights| weights.get(task.key.as_deref().unwrap_or(""))).copied().unwrap_or(1)
    }

    /// S8: nothing that could start waits: its queue hands out, permits and tokens are there, and so is a worker.
    /// To be asked when every timer that is due has fired.
    pub(in crate::sim) fn must_start(
        &self,
        id: TaskId,
        workers: impl Iterator<Item = impl AsRef<WorkerSpec>>,
        now: Millis,
    ) -> Verdict {
        let task = &self.tasks[&id];
        let rules = self.rules.get(&task.queue);
        if rules.is_some_and(|rules| rules.dispatch != Dispatch::Running) {
            return Ok(());
        }
        for (name, limit) in limits_of(task, rules) {
            // In the grace everything that waited may run, for all that the owner knows.
            if now < self.grace_end || self.occupied(&name, now) >= limit as usize {
                return Ok(());
            }
        }
        for (name, rate) in rates_of(task, rules) {
            if !self.has_token(&name, rate, now) {
                return Ok(());
            }
        }
        for worker in workers {
            promise!(!can_run(worker.as_ref(), task), "S8: {id:?} waits though nothing keeps it back");
        }
        Ok(())
    }
}

fn same_key(one: &Submission, other: &Submission) -> bool {
    one.queue == other.queue && one.key == other.key
}

fn limits_of(task: &Submission, rules: Option<&QueueRules>) -> Vec<(Name, u32)> {
    let Some(rules) = rules else { return Vec::new() };
    let queue = rules.concurrency_max.map(|limit| ((task.queue.clone(), None), limit));
    let key = task.key.clone().zip(rules.key_concurrency_max);
    let key = key.map(|(key, limit)| ((task.queue.clone(), Some(key)), limit));
    queue.into_iter().chain(key).collect()
}

fn rates_of(task: &Submission, rules: Option<&QueueRules>) -> Vec<(Name, Rate)> {
    let Some(rules) = rules else { return Vec::new() };
    let queue = rules.rate.map(|rate| ((task.queue.clone(), None), rate));
    let key = task.key.clone().zip(rules.key_rate);
    let key = key.map(|(key, rate)| ((task.queue.clone(), Some(key)), rate));
    queue.into_iter().chain(key).collect()
}

/// Whether a worker can run a task, as far as runs have such tasks. One that asks for cpu is said to be unable: what
/// is free at the moment is not looked at here.
fn can_run(worker: &WorkerSpec, task: &Submission) -> bool {
    let able = match &task.kind {
        WorkKind::Process => worker.processes,
        WorkKind::Handler(name) => worker.handlers.contains(name),
    };
    let serves = worker.queues.is_empty() || worker.queues.contains(&task.queue.queue);
    let Some(placement) = &task.placement else { return able && serves && worker.taints.is_empty() };
    let fits = placement.request == Resources::default();
    let tolerated = worker.taints.is_empty() || !placement.tolerations.is_empty();
    let labelled = placement.rules.iter().all(|rule| {
        let has = worker.labels.get(&rule.key).is_some_and(|label| rule.values.contains(label));
        has == (rule.operator == Operator::In)
    });
    able && serves && fits && tolerated && labelled
}
