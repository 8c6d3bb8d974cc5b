//! Virtual time, the events in it, and the network between the parts.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use super::{
    checker::{Checker, Verdict},
    client::Client,
    dice::Dice,
    owner::Owner,
    plan::{DEADLINE, FAULTS_END, Plan},
    store::Store,
    worker::Worker,
};
use crate::types::{Applied, Effect, Millis, Outcome, Refused, RunningAttempt, TaskId};

/// What a worker says.
#[derive(Debug, Clone)]
pub(super) enum Said {
    Hello { slots: u32, running: Vec<RunningAttempt> },
    Slots(u32),
    Result(RunningAttempt, Outcome),
    HandBack(RunningAttempt),
}

/// What happens at some moment. Parts are named by their index; `session` and `life` tell outdated events apart.
#[derive(Debug, Clone)]
pub(super) enum Event {
    /// A worker's message reaches an owner.
    FromWorker {
        owner: usize,
        worker: usize,
        session: u64,
        said: Said,
    },
    /// An owner notices that a session is over.
    SessionEnded {
        owner: usize,
        worker: usize,
        session: u64,
    },
    /// A client's call reaches an owner.
    Call {
        owner: usize,
        call: usize,
    },
    /// A client's cancel reaches an owner.
    CancelCall {
        owner: usize,
        task: TaskId,
    },
    Commit {
        owner: usize,
    },
    Tick {
        owner: usize,
    },
    /// An owner notices that another one took over: its lease is gone.
    Replaced {
        owner: usize,
    },
    /// An owner's message reaches a worker; `None` is the welcome.
    FromOwner {
        worker: usize,
        session: u64,
        effect: Option<Effect>,
    },
    /// A worker notices that its session is over.
    SessionBroken {
        worker: usize,
        session: u64,
    },
    Connect {
        worker: usize,
        life: u64,
    },
    /// No welcome came in time.
    HelloTimeout {
        worker: usize,
        session: u64,
    },
    AttemptEnds {
        worker: usize,
        life: u64,
        attempt: RunningAttempt,
        outcome: Outcome,
    },
    /// A worker repeats results that were not acknowledged, or hands something back.
    WorkerTick {
        worker: usize,
        life: u64,
    },
    WorkerRestarts {
        worker: usize,
    },
    Reply {
        call: usize,
        answer: Result<Applied, Refused>,
    },
    CallTimeout {
        call: usize,
        turn: u32,
    },
    /// A client thinks of something to do.
    Think,
    /// Something breaks.
    Break,
    /// A new owner takes over.
    TakeOver,
    FaultsEnd,
}

/// Everything there is.
#[derive(Debug)]
pub(super) struct World {
    pub(super) now: Millis,
    pub(super) dice: Dice,
    pub(super) plan: Plan,
    events: BTreeMap<(Millis, u64), Event>,
    events_made: u64,
    pub(super) store: Store,
    /// Every owner there was; the last one is the rightful one.
    pub(super) owners: Vec<Owner>,
    pub(super) workers: Vec<Worker>,
    pub(super) client: Client,
    pub(super) checker: Checker,
    pub(super) names_made: u64,
    /// Hash of everything that happened.
    pub(super) digest: u64,
    pub(super) steps: u64,
    /// What the run came across.
    pub(super) seen: BTreeSet<&'static str>,
    trace: Option<String>,
}

impl World {
    pub(super) fn new(seed: u64, fault: Option<crate::faults::Fault>, trace: bool) -> Self {
        let mut dice = Dice::new(seed);
        let plan = Plan::new(&mut dice, fault);
        let workers = plan.workers.iter().map(|(spec, slots)| Worker::new(spec.clone(), *slots)).collect();
        let mut world = Self {
            now: 1_000,
            dice,
            plan,
            events: BTreeMap::new(),
            events_made: 0,
            store: Store::default(),
            owners: Vec::new(),
            workers,
            client: Client::default(),
            checker: Checker::default(),
            names_made: 0,
            digest: 0,
            steps: 0,
            seen: BTreeSet::new(),
            trace: trace.then(String::new),
        };
        world.after(0, Event::TakeOver);
        for worker in 0..world.workers.len() {
            world.after(1, Event::WorkerRestarts { worker });
        }
        world.after(2, Event::Think);
        let first = world.plan.fault_interval;
        world.after(first, Event::Break);
        world.after(FAULTS_END - world.now, Event::FaultsEnd);
        world
    }

    /// Runs to the end, or to the first broken promise.
    pub(super) fn run(&mut self) -> Verdict {
        while let Some(((at, _), event)) = self.events.pop_first() {
            self.now = at;
            self.steps += 1;
            let all_done = self.client.is_done() && self.checker.durable.unfinished() == 0;
            if at > DEADLINE || (at > FAULTS_END && all_done) {
                break;
            }
            self.note("event", &event);
            self.step(event)?;
        }
        self.checker.ended()
    }

    fn step(&mut self, event: Event) -> Verdict {
        match event {
            Event::FromWorker { owner, worker, session, said } => self.hear(owner, worker, session, said)?,
            Event::SessionEnded { owner, worker, session } => self.session_ended(owner, worker, session)?,
            Event::Call { owner, call } => self.called(owner, call)?,
            Event::CancelCall { owner, task } => self.cancel_called(owner, task)?,
            Event::Commit { owner } => self.commit(owner)?,
            Event::Tick { owner } => self.tick(owner)?,
            Event::Replaced { owner } => self.replaced(owner),
            Event::FromOwner { worker, session, effect } => return self.obey(worker, session, effect),
            Event::SessionBroken { worker, session } => self.session_broken(worker, session),
            Event::Connect { worker, life } => self.connect(worker, life),
            Event::HelloTimeout { worker, session } => self.hello_timeout(worker, session),
            Event::AttemptEnds { worker, life, attempt, outcome } => self.attempt_ends(worker, life, attempt, outcome),
            Event::WorkerTick { worker, life } => self.worker_tick(worker, life),
            Event::WorkerRestarts { worker } => self.worker_restarts(worker),
            Event::Reply { call, answer } => return self.replied(call, answer),
            Event::CallTimeout { call, turn } => self.call_timeout(call, turn),
            Event::Think => self.think(),
            Event::Break => self.break_something(),
            Event::TakeOver => self.take_over()?,
            Event::FaultsEnd => self.faults_end(),
        }
        Ok(())
    }

    /// Lets something happen later.
    pub(super) fn after(&mut self, wait: Millis, event: Event) {
        self.events_made += 1;
        self.events.insert((self.now + wait, self.events_made), event);
    }

    /// True while things may break.
    pub(super) const fn is_faulty(&self) -> bool {
        self.now < FAULTS_END
    }

    /// Sends a message that may be lost, doubled, or overtaken by others. Credits and greetings are never doubled:
    /// their senders number them.
    pub(super) fn send(&mut self, event: Event) {
        let faulty = self.is_faulty();
        if faulty && self.dice.permille(self.plan.loss) {
            return self.note("lost", &event);
        }
        let once = matches!(event, Event::FromWorker { said: Said::Slots(_) | Said::Hello { .. }, .. });
        if faulty && !once && self.dice.permille(self.plan.doubling) {
            let way = self.way();
            self.after(way, event.clone());
        }
        let way = self.way();
        self.after(way, event);
    }

    fn way(&mut self) -> Millis {
        let longest = match self.is_faulty() && self.dice.permille(self.plan.delaying) {
            true => 3_000,
            false => self.plan.latency,
        };
        self.dice.range(1, longest)
    }

    fn break_something(&mut self) {
        if !self.is_faulty() {
            return;
        }
        let interval = self.plan.fault_interval;
        let next = self.dice.range(1, 2 * interval);
        self.after(next, Event::Break);
        let worker = usize::try_from(self.dice.range(0, self.workers.len() as u64 - 1)).unwrap();
        match self.dice.range(0, 9) {
            0 | 1 => self.crash_owner(),
            2 => self.pause_owner(),
            3 | 4 => self.crash_worker(worker),
            5 => self.part_worker(worker),
            _ => self.break_session(worker),
        }
    }

    fn faults_end(&mut self) {
        if self.owners.last().is_none_or(|owner| !owner.alive) {
            self.after(0, Event::TakeOver);
        }
        // Within a session messages are lost only when it breaks in the end.
        for worker in 0..self.workers.len() {
            self.workers[worker].parted_until = 0;
            self.break_session(worker);
        }
    }

    /// Adds to the digest, and to the trace when there is one.
    pub(super) fn note(&mut self, what: &str, detail: &dyn std::fmt::Debug) {
        let hash = self.digest ^ (self.now << 16) ^ self.steps ^ self.events_made;
        self.digest = hash.wrapping_mul(0x0000_0100_0000_01B3).rotate_left(23);
        if let Some(trace) = &mut self.trace {
            writeln!(trace, "{:>7} {what:<9} {detail:?}", self.now).unwrap();
        }
    }

    /// What happened, line by line.
    pub(super) fn take_trace(&mut self) -> String {
        self.trace.take().unwrap_or_default()
    }
}
