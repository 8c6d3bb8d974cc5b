//! Clients: they submit, repeat what was not answered, and cancel.

use std::{collections::BTreeMap, sync::Arc};

use dice::Dice;

use super::{
    checker::{Verdict, promise},
    plan::{FAULTS_END, START, partition_of},
    world::{Event, World},
};
use crate::types::{
    Applied, Idempotency, LabelRule, Millis, Operator, Partition, Placement, QueueKey, Refused, Resources, RetryPolicy,
    Submission, TaskId, Toleration, WorkKind,
};

/// How often a call without an idempotency key is made; it makes another task each time.
const TURNS_MAX: u32 = 3;

/// Tasks that come at a time.
const CROWD: usize = 10;

/// All clients.
#[derive(Debug, Default)]
pub(super) struct Client {
    calls: Vec<Call>,
    /// Tasks that were acknowledged.
    tasks: Vec<TaskId>,
    /// What each key stands for.
    keys: BTreeMap<(QueueKey, String), (TaskId, u64)>,
    thinking_over: bool,
}

#[derive(Debug)]
struct Call {
    submission: Submission,
    delay: Millis,
    /// How long ago it was submitted, for all that its owner is told.
    age: Millis,
    turn: u32,
    open: bool,
}

impl Client {
    /// What a call submits, under the id that its owner gives it.
    pub(super) fn submission(&self, call: usize, id: TaskId, now: Millis) -> Submission {
        let Call { submission, delay, age, .. } = &self.calls[call];
        let not_before = if *delay == 0 { 0 } else { now + delay };
        Submission { id, submitted_at: now - age, not_before, ..submission.clone() }
    }

    /// The partition that a call is about.
    pub(super) fn partition(&self, call: usize) -> Partition {
        self.calls[call].submission.partition
    }

    /// True when nothing is asked any more.
    pub(super) fn is_done(&self) -> bool {
        self.thinking_over && self.calls.iter().all(|call| !call.open)
    }
}

impl World {
    pub(super) fn think(&mut self) {
        if self.client.calls.len() as u64 >= self.plan.submits {
            self.client.thinking_over = true;
            return;
        }
        let pause = (FAULTS_END - START - 1_000) / self.plan.submits;
        let in_a_crowd = self.plan.crowded && !self.client.calls.len().is_multiple_of(CROWD);
        let next = match self.plan.crowded {
            true if in_a_crowd => 0,
            true => pause * CROWD as u64,
            false => self.dice.range(0, 2 * pause),
        };
        self.after(next, Event::Think);
        if self.dice.percent(15) && !self.client.tasks.is_empty() {
            let task = self.dice.pick(&self.client.tasks);
            if let Some(owner) = self.owner_of(partition_of(task)) {
                self.send(Event::CancelCall { owner, task });
            }
        }
        let (submission, delay) = match self.invent() {
            (submission, _) if self.plan.crowded => (self.make_alike(submission), 0),
            invented => invented,
        };
        let age = self.dice.pick(&[0, 0, 0, 9_000, 25_000, 70_000]);
        self.client.calls.push(Call { submission, delay, age, turn: 0, open: true });
        self.call(self.client.calls.len() - 1);
    }

    fn invent(&mut self) -> (Submission, Millis) {
        let (dice, window, preempting) = (&mut self.dice, self.plan.window, self.plan.preempting);
        let queue = QueueKey { namespace: dice.pick(&["n1", "n2"]).into(), queue: dice.pick(&["q1", "q2"]).into() };
        let kind = match dice.range(0, 2) {
            0 => WorkKind::Process,
            1 => WorkKind::Handler("a".into()),
            _ => WorkKind::Handler("b".into()),
        };
        let key = dice.percent(60).then(|| format!("k{}", dice.range(0, 30)));
        let named = if key.is_none() { 40 } else { 20 };
        let unique = dice.percent(named).then(|| format!("u{}", dice.range(0, 3)).into());
        let body_hash = if dice.percent(10) { 2 } else { 1 };
        let retry = RetryPolicy {
            max_attempts: u32::try_from(dice.range(1, 5)).unwrap(),
            initial_backoff: dice.range(0, 300),
            max_backoff: 1_000,
            multiplier: dice.pick(&[1.0, 1.5, 2.0]),
            jitter: dice.pick(&[0.0, 0.2, 1.0]),
        };
        let submission = Submission {
            id: TaskId(0),
            partition: self.plan.partition(&queue),
            queue,
            kind,
            priority: dice.pick(&[0, 0, 0, 1, 2, 5, -1, -5]),
            key: dice.percent(60).then(|| dice.pick(&["a", "b", "c"]).into()),
            unique,
            at_most_once: dice.percent(12),
            placement: placement(dice, preempting),
            retry,
            never_retry: if dice.percent(20) { ["NEVER".into()].into() } else { [].into() },
            run_timeout: dice.range(100, 2_000),
            queue_timeout: dice.percent(15).then(|| dice.range(10, 3_000)),
            submitted_at: 0,
            not_before: 0,
            idempotency: key.map(|key| Idempotency { key: key.into(), body_hash, window }),
        };
        let delay = if dice.percent(25) { dice.range(1, 2_000) } else { 0 };
        (submission, delay)
    }

    /// Leaves nothing but the key to tell tasks of a queue apart.
    fn make_alike(&mut self, submission: Submission) -> Submission {
        let queue = QueueKey { namespace: submission.queue.namespace, queue: "q1".into() };
        let key = self.dice.pick(&[None, Some("a"), Some("b"), Some("c"), Some("c")]);
        Submission {
            partition: self.plan.partition(&queue),
            queue,
            kind: WorkKind::Handler("a".into()),
            placement: None,
            unique: None,
            key: key.map(Into::into),
            ..submission
        }
    }

    fn call(&mut self, call: usize) {
        self.client.calls[call].turn += 1;
        let turn = self.client.calls[call].turn;
        // Now and then a caller asks somebody who is not the owner, or not any more.
        let astray = self.dice.percent(10).then(|| self.dice.range(0, self.owners.len() as u64));
        let astray = astray.and_then(|owner| usize::try_from(owner).ok()).filter(|owner| *owner < self.owners.len());
        if let Some(owner) = astray.or_else(|| self.owner_of(self.client.partition(call))) {
            self.send(Event::Call { owner, call });
        }
        let patience = self.dice.range(200, 1_500);
        self.after(patience, Event::CallTimeout { call, turn });
    }

    pub(super) fn call_timeout(&mut self, call: usize, turn: u32) {
        let asked = &mut self.client.calls[call];
        if !asked.open || asked.turn != turn {
            return;
        }
        if asked.submission.idempotency.is_none() && asked.turn >= TURNS_MAX {
            asked.open = false;
            return;
        }
        self.call(call);
    }

    pub(super) fn replied(&mut self, call: usize, answer: Result<Applied, Refused>) -> Verdict {
        let asked = &mut self.client.calls[call];
        let named =
            asked.submission.idempotency.clone().map(|idempotency| {
                ((asked.submission.queue.clone(), idempotency.key.to_string()), idempotency.body_hash)
            });
        match answer {
            Ok(Applied::Submitted { id, deduplicated }) => {
                asked.open = false;
                self.client.tasks.push(id);
                let may_be_earlier = named.is_some() || asked.submission.unique.is_some();
                promise!(!deduplicated || may_be_earlier, "S4: {id:?} is a repeat without a key");
                if let Some((name, hash)) = named
                    && self.plan.keys_last()
                {
                    let (first, body) = *self.client.keys.entry(name).or_insert((id, hash));
                    promise!(first == id, "S4: one key leads to {first:?} and {id:?}");
                    promise!(body == hash, "S4: {id:?} was found under its key for a different body");
                }
            }
            Ok(other) => return Err(format!("a submit is answered {other:?}")),
            Err(Refused::IdempotencyConflict(first)) => {
                asked.open = false;
                let Some((name, hash)) = named else { return Err(format!("S4: {first:?} conflicts without a key")) };
                if let Some((id, body)) = self.client.keys.get(&name) {
                    promise!(*id == first && *body != hash, "S4: {id:?} is taken for {first:?}, a different body");
                }
            }
            // Busy, or not the owner: again after the patience is over.
            Err(Refused::QueueFull { .. } | Refused::QueueClosed | Refused::Full | Refused::NotOwned(_)) => {}
            Err(other) => return Err(format!("a submit is answered {other:?}")),
        }
        Ok(())
    }
}

/// What a task asks of its worker, if anything.
fn placement(dice: &mut Dice, preempting: bool) -> Option<Arc<Placement>> {
    let zone = |operator| LabelRule { key: "zone".into(), operator, values: vec!["eu".into()] };
    let mut placement = Placement::default();
    match dice.range(0, 9) {
        0 => placement.rules.push(zone(Operator::In)),
        // The one worker that takes everything is in this zone.
        1 => placement.rules.push(LabelRule { values: vec!["us".into()], ..zone(Operator::NotIn) }),
        2 => placement.tolerations.push(Toleration { key: "old".into(), value: None }),
        3 | 4 => placement.request = Resources { cpu_millis: dice.range(1, 10) * 100, memory_bytes: 0 },
        _ if !preempting => return None,
        _ => {}
    }
    placement.preempt = preempting && dice.percent(50);
    Some(placement.into())
}
