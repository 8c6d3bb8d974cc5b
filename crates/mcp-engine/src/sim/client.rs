//! Clients: they submit, repeat what was not answered, and cancel.

use std::collections::BTreeMap;

use super::{
    checker::{Verdict, promise},
    plan::{FAULTS_END, PARTITION},
    world::{Event, World},
};
use crate::types::{Applied, Idempotency, Millis, QueueKey, Refused, RetryPolicy, Submission, TaskId, WorkKind};

/// How often a call without an idempotency key is made; it makes another task each time.
const TURNS_MAX: u32 = 3;

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
    turn: u32,
    open: bool,
}

impl Client {
    /// What a call submits, under the id that its owner gives it.
    pub(super) fn submission(&self, call: usize, id: TaskId, now: Millis) -> Submission {
        let Call { submission, delay, .. } = &self.calls[call];
        Submission { id, not_before: if *delay == 0 { 0 } else { now + delay }, ..submission.clone() }
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
        let pause = (FAULTS_END - 2_000) / self.plan.submits;
        let next = self.dice.range(0, 2 * pause);
        self.after(next, Event::Think);
        if self.dice.percent(15) && !self.client.tasks.is_empty() {
            let task = self.dice.pick(&self.client.tasks);
            if let Some(owner) = self.owner() {
                self.send(Event::CancelCall { owner, task });
            }
        }
        let (submission, delay) = self.invent();
        self.client.calls.push(Call { submission, delay, turn: 0, open: true });
        self.call(self.client.calls.len() - 1);
    }

    fn invent(&mut self) -> (Submission, Millis) {
        let (dice, window) = (&mut self.dice, self.plan.window);
        let queue = QueueKey { namespace: dice.pick(&["n1", "n2"]).into(), queue: dice.pick(&["q1", "q2"]).into() };
        let kind = match dice.range(0, 2) {
            0 => WorkKind::Process,
            1 => WorkKind::Handler("a".into()),
            _ => WorkKind::Handler("b".into()),
        };
        let key = dice.percent(60).then(|| format!("k{}", dice.range(0, 30)));
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
            partition: PARTITION,
            queue,
            kind,
            priority: dice.pick(&[0, 0, 0, 5, -5]),
            key: None,
            unique: None,
            at_most_once: false,
            placement: None,
            retry,
            never_retry: [].into(),
            run_timeout: dice.range(100, 2_000),
            queue_timeout: dice.percent(15).then(|| dice.range(10, 3_000)),
            submitted_at: 0,
            not_before: 0,
            idempotency: key.map(|key| Idempotency { key: key.into(), body_hash, window }),
        };
        let delay = if dice.percent(25) { dice.range(1, 2_000) } else { 0 };
        (submission, delay)
    }

    fn call(&mut self, call: usize) {
        self.client.calls[call].turn += 1;
        let turn = self.client.calls[call].turn;
        if let Some(owner) = self.owner() {
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
                promise!(!deduplicated || named.is_some(), "S4: {id:?} is a repeat without a key");
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
            // Busy: again after the patience is over.
            Err(Refused::QueueFull { .. } | Refused::Full) => {}
            Err(other) => return Err(format!("a submit is answered {other:?}")),
        }
        Ok(())
    }
}
