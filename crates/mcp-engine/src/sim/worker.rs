//! Workers: a session with every site, attempts that are at home at the session that hears how they end, results that
//! are repeated until they are acknowledged; sessions that break, processes that crash and come back.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    checker::{Verdict, promise},
    world::{Event, Said, Told, World},
};
use crate::types::{Effect, Failure, Millis, Outcome, RunningAttempt, TaskId, Token, WorkerId};

/// How long a worker waits for a welcome.
const WELCOME_MAX: Millis = 400;

/// How often a worker repeats what was not acknowledged.
const REPEAT_INTERVAL: Millis = 500;

/// A worker's process, and those that take its place after a crash.
#[derive(Debug)]
pub(super) struct Worker {
    /// Its id in this life; another life has another id.
    pub(super) id: WorkerId,
    /// Slots for each site.
    capacity: u32,
    life: u64,
    alive: bool,
    /// Until when it reaches nobody.
    pub(super) parted_until: Millis,
    /// By site.
    sessions: BTreeMap<usize, Session>,
    running: BTreeMap<TaskId, Attempt>,
    /// Attempts that ended and were not acknowledged.
    results: BTreeMap<TaskId, (Attempt, Outcome)>,
    /// Attempts that it was ever told to start.
    seen: BTreeSet<(TaskId, Token)>,
    ids: BTreeMap<u64, WorkerId>,
}

/// An attempt that runs, or ended here.
#[derive(Debug, Clone, Copy)]
struct Attempt {
    token: Token,
    /// The session that is to hear how it ends, while one is.
    home: Option<u64>,
    /// The site whose slot it takes.
    site: usize,
}

#[derive(Debug)]
struct Session {
    number: u64,
    owner: usize,
    welcomed: bool,
    /// Slots it granted that were not used.
    granted: u32,
    /// Slots to grant with the welcome: on a stream nothing overtakes the greeting.
    owed: u32,
}

impl Worker {
    pub(super) const fn new(capacity: u32) -> Self {
        Self {
            id: WorkerId(0),
            capacity,
            life: 0,
            alive: false,
            parted_until: 0,
            sessions: BTreeMap::new(),
            running: BTreeMap::new(),
            results: BTreeMap::new(),
            seen: BTreeSet::new(),
            ids: BTreeMap::new(),
        }
    }

    /// Whose session it was.
    pub(super) fn id_of(&self, session: u64) -> WorkerId {
        self.ids[&session]
    }

    /// Its session with a process.
    pub(super) fn session_with(&self, owner: usize) -> Option<u64> {
        self.sessions.values().find(|session| session.owner == owner).map(|session| session.number)
    }

    fn site_of(&self, session: u64) -> Option<usize> {
        self.sessions.iter().find(|(_, open)| open.number == session).map(|(site, _)| *site)
    }

    fn runs(&self, attempt: RunningAttempt) -> bool {
        self.running.get(&attempt.task).is_some_and(|running| running.token == attempt.token)
    }

    /// Where an attempt is at home; `None` when it is not known here.
    fn home(&mut self, attempt: RunningAttempt) -> Option<&mut Option<u64>> {
        let running = self.running.get_mut(&attempt.task);
        let ended = self.results.get_mut(&attempt.task).map(|(ended, _)| ended);
        let mut known = running.into_iter().chain(ended).filter(|known| known.token == attempt.token);
        known.next().map(|known| &mut known.home)
    }

    /// True when a session may decide about an attempt: it is at home there or nowhere.
    fn obeys(&mut self, session: u64, attempt: RunningAttempt) -> bool {
        self.home(attempt).is_some_and(|home| home.is_none_or(|home| home == session))
    }

    /// All that it has, as far as its home is meant.
    fn attempts(&self, is_meant: impl Fn(Option<u64>) -> bool) -> Vec<RunningAttempt> {
        let ended = self.results.iter().map(|(task, (attempt, _))| (task, attempt));
        let all = self.running.iter().chain(ended).filter(|(_, attempt)| is_meant(attempt.home));
        all.map(|(task, attempt)| RunningAttempt { task: *task, token: attempt.token }).collect()
    }

    /// Starts no more than it has room for: for each site what runs and what it promised room for.
    fn check(&self) -> Verdict {
        for (site, session) in &self.sessions {
            let running = self.running.values().filter(|attempt| attempt.site == *site).count();
            let used = running + session.granted as usize;
            let (id, capacity) = (self.id, self.capacity);
            promise!(used <= capacity as usize, "S8: {id:?} has {capacity} slots and {used} are in use");
        }
        Ok(())
    }
}

impl World {
    pub(super) fn worker_restarts(&mut self, worker: usize) {
        self.names_made += 1;
        let (id, model) = (WorkerId(self.names_made), &mut self.workers[worker]);
        (model.id, model.alive, model.life) = (id, true, model.life + 1);
        let life = model.life;
        for site in 0..self.plan.sites {
            self.after(1, Event::Connect { worker, site, life });
        }
        self.after(REPEAT_INTERVAL, Event::WorkerTick { worker, life });
    }

    pub(super) fn connect(&mut self, worker: usize, site: usize, life: u64) {
        let owner = self.process_at(site);
        let model = &mut self.workers[worker];
        if model.life != life || !model.alive || model.sessions.contains_key(&site) {
            return;
        }
        let Some(owner) = owner.filter(|_| model.parted_until <= self.now) else {
            let wait = self.dice.range(20, 200);
            return self.after(wait, Event::Connect { worker, site, life });
        };
        self.names_made += 1;
        let number = self.names_made;
        let busy = model.running.values().filter(|attempt| attempt.site == site).count();
        let granted = model.capacity - u32::try_from(busy).unwrap();
        model.sessions.insert(site, Session { number, owner, welcomed: false, granted, owed: 0 });
        model.ids.insert(number, model.id);
        let said = Said::Hello { slots: granted, running: model.attempts(|_| true) };
        self.send(Event::FromWorker { owner, worker, session: number, said });
        self.after(WELCOME_MAX, Event::HelloTimeout { worker, session: number });
    }

    pub(super) fn hello_timeout(&mut self, worker: usize, session: u64) {
        let waits = |open: &Session| open.number == session && !open.welcomed;
        if self.workers[worker].sessions.values().any(waits) {
            self.break_session(worker, session);
        }
    }

    /// Ends a worker's session; both sides notice at their own time.
    fn break_session(&mut self, worker: usize, session: u64) {
        let Some(site) = self.workers[worker].site_of(session) else { return };
        let owner = self.workers[worker].sessions[&site].owner;
        let (here, there) = (self.dice.range(0, 300), self.dice.range(0, 300));
        self.note("break", &(worker, session));
        self.after(here, Event::SessionBroken { worker, session });
        self.after(there, Event::SessionEnded { owner, worker, session });
    }

    /// Ends one of a worker's sessions.
    pub(super) fn break_one_session(&mut self, worker: usize) {
        let numbers: Vec<u64> = self.workers[worker].sessions.values().map(|session| session.number).collect();
        if !numbers.is_empty() {
            let session = self.dice.pick(&numbers);
            self.break_session(worker, session);
        }
    }

    /// Ends all sessions of a worker.
    pub(super) fn break_sessions(&mut self, worker: usize) {
        let numbers: Vec<u64> = self.workers[worker].sessions.values().map(|session| session.number).collect();
        for session in numbers {
            self.break_session(worker, session);
        }
    }

    pub(super) fn session_broken(&mut self, worker: usize, session: u64) {
        let model = &mut self.workers[worker];
        let Some(site) = model.site_of(session) else { return };
        let Some(Session { owner, .. }) = model.sessions.remove(&site) else { return };
        let life = model.life;
        let (wait, notices) = (self.dice.range(1, 300), self.dice.range(0, 300));
        self.after(notices, Event::SessionEnded { owner, worker, session });
        self.after(wait, Event::Connect { worker, site, life });
        let evicted = self.workers[worker].attempts(|home| home == Some(session));
        self.evict(worker, session, &evicted);
    }

    pub(super) fn crash_worker(&mut self, worker: usize) {
        if !self.workers[worker].alive {
            return;
        }
        self.note("crash", &("worker", worker));
        self.break_sessions(worker);
        let model = &mut self.workers[worker];
        model.alive = false;
        model.sessions.clear();
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
        self.break_sessions(worker);
    }

    /// Says something in a session, if it lasts.
    fn say(&mut self, worker: usize, session: u64, said: Said) {
        if let Some(site) = self.workers[worker].site_of(session) {
            let owner = self.workers[worker].sessions[&site].owner;
            self.send(Event::FromWorker { owner, worker, session, said });
        }
    }

    /// Takes the home from attempts, and reports them to all other sessions.
    fn evict(&mut self, worker: usize, session: u64, attempts: &[RunningAttempt]) {
        let model = &mut self.workers[worker];
        let is_home = |attempt: &RunningAttempt| model.home(*attempt).is_some_and(|home| *home == Some(session));
        let evicted: Vec<_> = attempts.iter().copied().filter(is_home).collect();
        for attempt in &evicted {
            if let Some(home) = self.workers[worker].home(*attempt) {
                *home = None;
            }
        }
        let others = self.workers[worker].sessions.values().filter(|open| open.welcomed && open.number != session);
        for other in others.map(|open| open.number).collect::<Vec<_>>() {
            self.report(worker, other, evicted.clone());
        }
    }

    fn report(&mut self, worker: usize, session: u64, attempts: Vec<RunningAttempt>) {
        if !attempts.is_empty() {
            self.say(worker, session, Said::Running(attempts));
        }
    }

    /// Makes a session the home of an attempt. One that is not known here is handed back.
    fn adopt(&mut self, worker: usize, session: u64, attempt: RunningAttempt) {
        let Some(home) = self.workers[worker].home(attempt) else {
            return self.say(worker, session, Said::HandBack(attempt));
        };
        let before = home.replace(session);
        if before != Some(session) {
            self.seen.insert("adopted");
            self.say_result(worker, attempt.task);
        }
    }

    /// Tells how an attempt ended, if it did, to the session where it is at home.
    fn say_result(&mut self, worker: usize, task: TaskId) {
        if let Some((Attempt { token, home: Some(home), .. }, outcome)) = self.workers[worker].results.get(&task) {
            let said = Said::Result(RunningAttempt { task, token: *token }, outcome.clone());
            self.say(worker, *home, said);
        }
    }

    /// Gives back the slot of an attempt that ended.
    fn free_slot(&mut self, worker: usize, site: usize) {
        match self.workers[worker].sessions.get_mut(&site) {
            Some(open) if open.welcomed => {
                open.granted += 1;
                let session = open.number;
                self.say(worker, session, Said::Slots(1));
            }
            Some(open) => open.owed += 1,
            None => {}
        }
    }

    pub(super) fn obey(&mut self, worker: usize, session: u64, told: Told) -> Verdict {
        let model = &mut self.workers[worker];
        let Some(site) = model.site_of(session) else { return Ok(()) };
        match told {
            Told::Welcome => {
                let open = model.sessions.get_mut(&site).expect("it lasts");
                open.welcomed = true;
                let owed = std::mem::take(&mut open.owed);
                open.granted += owed;
                self.say(worker, session, Said::Slots(owed));
                self.repeat(worker);
            }
            Told::Report => {
                let elsewhere = model.attempts(|home| home != Some(session));
                self.report(worker, session, elsewhere);
            }
            Told::NotMine(attempts) => self.evict(worker, session, &attempts),
            Told::Adopted(attempts) => attempts.into_iter().for_each(|attempt| self.adopt(worker, session, attempt)),
            Told::Order(effect) => return self.obey_order(worker, session, effect),
        }
        self.workers[worker].check()
    }

    fn obey_order(&mut self, worker: usize, session: u64, order: Effect) -> Verdict {
        let model = &mut self.workers[worker];
        match order {
            Effect::Assign { attempt, number, run_timeout, .. } => {
                promise!(number > 0, "S9: attempts are numbered from 1: {attempt:?}");
                return self.start_attempt(worker, session, attempt, run_timeout);
            }
            Effect::CancelAttempt { attempt, .. } => {
                if model.runs(attempt) && model.obeys(session, attempt) {
                    let (life, wait) = (model.life, self.dice.range(0, 50));
                    self.after(wait, Event::AttemptEnds { worker, life, attempt, outcome: Outcome::Cancelled });
                }
            }
            Effect::Revoke { attempt, .. } | Effect::Acknowledge { attempt, .. } => {
                if model.obeys(session, attempt) {
                    model.results.remove(&attempt.task);
                    if let Some(stopped) = model.running.remove(&attempt.task) {
                        self.free_slot(worker, stopped.site);
                    }
                }
            }
            other => return Err(format!("{other:?} is not for workers")),
        }
        self.workers[worker].check()
    }

    fn start_attempt(&mut self, worker: usize, session: u64, attempt: RunningAttempt, run_timeout: Millis) -> Verdict {
        let model = &mut self.workers[worker];
        if !model.seen.insert((attempt.task, attempt.token)) {
            return Ok(()); // doubled
        }
        let site = model.site_of(session).expect("it lasts");
        let (id, open) = (model.id, model.sessions.get_mut(&site).expect("it lasts"));
        promise!(open.granted > 0, "S8: {id:?} gets {attempt:?} but has no free slot");
        open.granted -= 1;
        let newest = model.running.get(&attempt.task).or(model.results.get(&attempt.task).map(|(ended, _)| ended));
        if newest.is_some_and(|newest| newest.token > attempt.token) {
            self.free_slot(worker, site); // overtaken by a later one
            return self.workers[worker].check();
        }
        model.results.remove(&attempt.task);
        let started = Attempt { token: attempt.token, home: Some(session), site };
        let replaced = model.running.insert(attempt.task, started);
        let life = model.life;
        if let Some((took, outcome)) = self.invent_work(run_timeout) {
            self.after(took, Event::AttemptEnds { worker, life, attempt, outcome });
        }
        if let Some(replaced) = replaced {
            // It is stopped, and whoever counts it as running hears so.
            let stopped = RunningAttempt { task: attempt.task, token: replaced.token };
            self.say(worker, replaced.home.unwrap_or(session), Said::HandBack(stopped));
            self.free_slot(worker, replaced.site);
        }
        self.workers[worker].check()
    }

    /// How long an attempt takes and how it ends; `None` when it hangs until the scheduler asks for it.
    fn invent_work(&mut self, run_timeout: Millis) -> Option<(Millis, Outcome)> {
        let work_time = self.plan.work_time;
        let took = self.dice.range(1, work_time);
        let name = self.dice.pick(&["OFTEN", "OFTEN", "NEVER"]);
        let error = |code, retryable, retry_after| {
            Outcome::Failed(Failure { code, name: name.to_owned(), message: String::new(), retryable, retry_after })
        };
        let outcome = match self.dice.range(0, 99) {
            0..=69 => Outcome::Succeeded,
            70..=84 => error(3001, true, None),
            85..=89 => error(3001, true, Some(self.dice.range(0, 500))),
            90..=93 => error(3001, false, None),
            94..=95 => Outcome::Cancelled,
            _ => return None,
        };
        let outcome = if took > run_timeout { error(3002, true, None) } else { outcome };
        Some((took.min(run_timeout), outcome))
    }

    pub(super) fn attempt_ends(&mut self, worker: usize, life: u64, attempt: RunningAttempt, outcome: Outcome) {
        let model = &mut self.workers[worker];
        if model.life != life || !model.runs(attempt) {
            return;
        }
        let Some(ended) = model.running.remove(&attempt.task) else { return };
        model.results.insert(attempt.task, (ended, outcome));
        self.say_result(worker, attempt.task);
        self.free_slot(worker, ended.site);
    }

    /// Says once more what was not acknowledged, and what has no home.
    fn repeat(&mut self, worker: usize) {
        for task in self.workers[worker].results.keys().copied().collect::<Vec<_>>() {
            self.say_result(worker, task);
        }
        let homeless = self.workers[worker].attempts(|home| home.is_none());
        let welcomed = self.workers[worker].sessions.values().filter(|open| open.welcomed);
        for session in welcomed.map(|open| open.number).collect::<Vec<_>>() {
            self.report(worker, session, homeless.clone());
        }
    }

    pub(super) fn worker_tick(&mut self, worker: usize, life: u64) {
        if self.workers[worker].life != life || !self.workers[worker].alive {
            return;
        }
        self.after(REPEAT_INTERVAL, Event::WorkerTick { worker, life });
        self.repeat(worker);
        let first = self.workers[worker].running.first_key_value().map(|(task, attempt)| (*task, *attempt));
        if let Some((task, Attempt { token, home: Some(home), site })) = first
            && self.is_faulty()
            && self.dice.percent(5)
        {
            self.workers[worker].running.remove(&task);
            self.say(worker, home, Said::HandBack(RunningAttempt { task, token }));
            self.free_slot(worker, site);
        }
    }
}
