//! Workers: they run attempts, repeat results until they are acknowledged, lose sessions, crash and come back.

use std::collections::BTreeMap;

use super::{
    checker::{Verdict, promise},
    world::{Event, Said, World},
};
use crate::types::{Effect, Failure, Millis, Outcome, RunningAttempt, TaskId, Token, WorkerId, WorkerSpec};

/// How long a worker waits for a welcome.
const WELCOME_MAX: Millis = 400;

/// How often a worker repeats what was not acknowledged.
const REPEAT_INTERVAL: Millis = 500;

/// A worker's process, and those that take its place after a crash.
#[derive(Debug)]
pub(super) struct Worker {
    /// Its id in this life; another life has another id.
    pub(super) id: WorkerId,
    capacity: u32,
    life: u64,
    alive: bool,
    /// Until when it reaches nobody.
    pub(super) parted_until: Millis,
    session: Option<Session>,
    /// Slots it granted that were not used.
    granted: u32,
    running: BTreeMap<TaskId, Token>,
    /// Attempts that ended and were not acknowledged.
    results: BTreeMap<TaskId, (Token, Outcome)>,
    /// Newest token it saw of each task.
    seen: BTreeMap<TaskId, Token>,
    ids: BTreeMap<u64, WorkerId>,
}

#[derive(Debug)]
struct Session {
    number: u64,
    owner: usize,
    welcomed: bool,
    /// Slots to grant with the welcome: on a stream nothing overtakes the greeting.
    owed: u32,
}

impl Worker {
    pub(super) fn new(_: WorkerSpec, capacity: u32) -> Self {
        Self {
            id: WorkerId(0),
            capacity,
            life: 0,
            alive: false,
            parted_until: 0,
            session: None,
            granted: 0,
            running: BTreeMap::new(),
            results: BTreeMap::new(),
            seen: BTreeMap::new(),
            ids: BTreeMap::new(),
        }
    }

    /// Whose session it was.
    pub(super) fn id_of(&self, session: u64) -> WorkerId {
        self.ids[&session]
    }

    /// Its session, and with which owner.
    pub(super) fn session(&self) -> Option<(usize, u64)> {
        self.session.as_ref().map(|session| (session.owner, session.number))
    }

    fn runs(&self, attempt: RunningAttempt) -> bool {
        self.running.get(&attempt.task) == Some(&attempt.token)
    }

    /// Starts no more than it has room for: what runs and what it promised room for.
    fn check(&self) -> Verdict {
        let used = self.running.len() + self.granted as usize;
        promise!(used <= self.capacity as usize, "S8: {:?} has {} slots and {used} are in use", self.id, self.capacity);
        Ok(())
    }
}

impl World {
    pub(super) fn worker_restarts(&mut self, worker: usize) {
        self.names_made += 1;
        let (id, model) = (WorkerId(self.names_made), &mut self.workers[worker]);
        (model.id, model.alive, model.life) = (id, true, model.life + 1);
        let life = model.life;
        self.after(1, Event::Connect { worker, life });
        self.after(REPEAT_INTERVAL, Event::WorkerTick { worker, life });
    }

    pub(super) fn connect(&mut self, worker: usize, life: u64) {
        let owner = self.owner();
        self.names_made += 1;
        let number = self.names_made;
        let model = &mut self.workers[worker];
        if model.life != life || !model.alive || model.session.is_some() {
            return;
        }
        let Some(owner) = owner.filter(|_| model.parted_until <= self.now) else {
            let wait = self.dice.range(20, 200);
            return self.after(wait, Event::Connect { worker, life });
        };
        model.session = Some(Session { number, owner, welcomed: false, owed: 0 });
        model.ids.insert(number, model.id);
        model.granted = model.capacity - u32::try_from(model.running.len()).unwrap();
        let running = model.running.iter().map(|(task, token)| (*task, *token));
        let ended = model.results.iter().map(|(task, (token, _))| (*task, *token));
        let attempts = running.chain(ended).map(|(task, token)| RunningAttempt { task, token });
        let said = Said::Hello { slots: model.granted, running: attempts.collect() };
        self.send(Event::FromWorker { owner, worker, session: number, said });
        self.after(WELCOME_MAX, Event::HelloTimeout { worker, session: number });
    }

    pub(super) fn hello_timeout(&mut self, worker: usize, session: u64) {
        let model = &self.workers[worker];
        if model.session.as_ref().is_some_and(|open| open.number == session && !open.welcomed) {
            self.break_session(worker);
        }
    }

    /// Ends a worker's session, if it has one; both sides notice at their own time.
    pub(super) fn break_session(&mut self, worker: usize) {
        let Some((owner, session)) = self.workers[worker].session() else { return };
        let (here, there) = (self.dice.range(0, 300), self.dice.range(0, 300));
        self.note("break", &(worker, session));
        self.after(here, Event::SessionBroken { worker, session });
        self.after(there, Event::SessionEnded { owner, worker, session });
    }

    pub(super) fn session_broken(&mut self, worker: usize, session: u64) {
        let model = &mut self.workers[worker];
        if model.session().is_none_or(|(_, open)| open != session) {
            return;
        }
        let (owner, _) = model.session().expect("it is this one");
        (model.session, model.granted) = (None, 0);
        let life = model.life;
        let (wait, notices) = (self.dice.range(1, 300), self.dice.range(0, 300));
        self.after(notices, Event::SessionEnded { owner, worker, session });
        self.after(wait, Event::Connect { worker, life });
    }

    pub(super) fn crash_worker(&mut self, worker: usize) {
        if !self.workers[worker].alive {
            return;
        }
        self.note("crash", &("worker", worker));
        self.break_session(worker);
        let model = &mut self.workers[worker];
        (model.alive, model.session, model.granted) = (false, None, 0);
        model.running.clear();
        model.results.clear();
        model.seen.clear();
        let wait = self.dice.range(1, 1_500);
        self.after(wait, Event::WorkerRestarts { worker });
    }

    /// Cuts a worker off for a while; it goes on working.
    pub(super) fn part_worker(&mut self, worker: usize) {
        let pause = self.dice.range(100, 5_000);
        self.note("part", &(worker, pause));
        self.workers[worker].parted_until = self.now + pause;
        self.break_session(worker);
    }

    fn say(&mut self, worker: usize, said: Said) {
        if let Some((owner, session)) = self.workers[worker].session() {
            self.send(Event::FromWorker { owner, worker, session, said });
        }
    }

    /// Gives back the slot of an attempt that ended.
    fn free_slot(&mut self, worker: usize) {
        let model = &mut self.workers[worker];
        match &mut model.session {
            Some(open) if open.welcomed => {
                model.granted += 1;
                self.say(worker, Said::Slots(1));
            }
            Some(open) => open.owed += 1,
            None => {}
        }
    }

    pub(super) fn obey(&mut self, worker: usize, session: u64, effect: Option<Effect>) -> Verdict {
        let model = &mut self.workers[worker];
        let Some(open) = model.session.as_mut().filter(|open| open.number == session) else { return Ok(()) };
        match effect {
            None => {
                open.welcomed = true;
                let owed = std::mem::take(&mut open.owed);
                model.granted += owed;
                self.say(worker, Said::Slots(owed));
                self.repeat(worker);
            }
            Some(Effect::Assign { attempt, number, run_timeout, .. }) => {
                promise!(number > 0, "S9: attempts are numbered from 1: {attempt:?}");
                return self.start(worker, attempt, run_timeout);
            }
            Some(Effect::CancelAttempt { attempt, .. }) => {
                if model.runs(attempt) {
                    let (life, wait) = (model.life, self.dice.range(0, 50));
                    self.after(wait, Event::AttemptEnds { worker, life, attempt, outcome: Outcome::Cancelled });
                }
            }
            Some(Effect::Revoke { attempt, .. } | Effect::Acknowledge { attempt, .. }) => {
                model.results.retain(|task, (token, _)| (*task, *token) != (attempt.task, attempt.token));
                if model.runs(attempt) {
                    model.running.remove(&attempt.task);
                    self.free_slot(worker);
                }
            }
            Some(other) => return Err(format!("{other:?} is not for workers")),
        }
        self.workers[worker].check()
    }

    fn start(&mut self, worker: usize, attempt: RunningAttempt, run_timeout: Millis) -> Verdict {
        let model = &mut self.workers[worker];
        if model.seen.get(&attempt.task).is_some_and(|seen| *seen >= attempt.token) {
            return Ok(()); // doubled, or overtaken by a later one
        }
        model.seen.insert(attempt.task, attempt.token);
        promise!(model.granted > 0, "S8: {:?} gets {attempt:?} but has no free slot", model.id);
        model.granted -= 1;
        model.results.remove(&attempt.task);
        let replaced = model.running.insert(attempt.task, attempt.token).is_some();
        let life = model.life;
        let work_time = self.plan.work_time;
        let took = self.dice.range(1, work_time);
        let error = |code, retryable, retry_after| {
            Outcome::Failed(Failure { code, name: "F".to_owned(), message: String::new(), retryable, retry_after })
        };
        let outcome = match self.dice.range(0, 99) {
            0..=69 => Outcome::Succeeded,
            70..=84 => error(3001, true, None),
            85..=89 => error(3001, true, Some(self.dice.range(0, 500))),
            90..=93 => error(3001, false, None),
            94..=95 => Outcome::Cancelled,
            // Hangs until the scheduler asks for it.
            _ => {
                if replaced {
                    self.free_slot(worker);
                }
                return self.workers[worker].check();
            }
        };
        let outcome = if took > run_timeout { error(3002, true, None) } else { outcome };
        self.after(took.min(run_timeout), Event::AttemptEnds { worker, life, attempt, outcome });
        if replaced {
            self.free_slot(worker);
        }
        self.workers[worker].check()
    }

    pub(super) fn attempt_ends(&mut self, worker: usize, life: u64, attempt: RunningAttempt, outcome: Outcome) {
        let model = &mut self.workers[worker];
        if model.life != life || !model.runs(attempt) {
            return;
        }
        model.running.remove(&attempt.task);
        model.results.insert(attempt.task, (attempt.token, outcome.clone()));
        self.say(worker, Said::Result(attempt, outcome));
        self.free_slot(worker);
    }

    fn repeat(&mut self, worker: usize) {
        for (task, (token, outcome)) in self.workers[worker].results.clone() {
            self.say(worker, Said::Result(RunningAttempt { task, token }, outcome));
        }
    }

    pub(super) fn worker_tick(&mut self, worker: usize, life: u64) {
        if self.workers[worker].life != life || !self.workers[worker].alive {
            return;
        }
        self.after(REPEAT_INTERVAL, Event::WorkerTick { worker, life });
        self.repeat(worker);
        let first = self.workers[worker].running.first_key_value().map(|(task, token)| (*task, *token));
        if let Some((task, token)) = first
            && self.is_faulty()
            && self.workers[worker].session.is_some()
            && self.dice.percent(5)
        {
            self.workers[worker].running.remove(&task);
            self.say(worker, Said::HandBack(RunningAttempt { task, token }));
            self.free_slot(worker);
        }
    }
}
