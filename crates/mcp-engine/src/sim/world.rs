//! Virtual time, the events in it, and the network between the parts.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use dice::Dice;

use super::{
    checker::{Checker, Verdict},
    client::Client,
    owner::Owner,
    plan::{DEADLINE, FAULTS_END, Plan, START},
    store::Store,
    worker::Worker,
};
use crate::types::{
    Applied, Effect, Millis, Outcome, Partition, QueueKey, QueueRules, Refused, RunningAttempt, TaskId,
};

/// What a worker says.
#[derive(Debug, Clone)]
pub(super) enum Said {
    Hello {
        slots: u32,
        running: Vec<RunningAttempt>,
    },
    /// Attempts that are not at home with the owner who hears this.
    Running(Vec<RunningAttempt>),
    Slots(u32),
    Result(RunningAttempt, Outcome),
    HandBack(RunningAttempt),
}

/// What a worker is told.
#[derive(Debug, Clone)]
pub(super) enum Told {
    Welcome,
    Order(Effect),
    /// These are at home here.
    Adopted(Vec<RunningAttempt>),
    /// These are not for this owner.
    NotMine(Vec<RunningAttempt>),
    /// It is to say what it has that is not at home here.
    Report,
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
    /// Somebody's rules for a queue reach an owner.
    SetQueueCall {
        owner: usize,
        queue: QueueKey,
        rules: QueueRules,
    },
    Commit {
        owner: usize,
    },
    Tick {
        owner: usize,
    },
    /// An owner notices that another one took a partition over: its hold on it is gone.
    Replaced {
        owner: usize,
        partition: Partition,
        epoch: u64,
    },
    /// A process starts.
    Start {
        site: usize,
    },
    /// Somebody takes a partition over from the owner of this epoch.
    TakeOver {
        partition: Partition,
        epoch: u64,
    },
    /// A partition is loaded.
    Open {
        owner: usize,
        partition: Partition,
        epoch: u64,
    },
    /// A partition changes hands in peace.
    HandOver,
    /// An owner's message reaches a worker.
    FromOwner {
        worker: usize,
        session: u64,
        told: Told,
    },
    /// A worker notices that its session is over.
    SessionBroken {
        worker: usize,
        session: u64,
    },
    Connect {
        worker: usize,
        site: usize,
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
    /// Somebody thinks of other rules.
    Administer,
    /// Somebody lets everything go on.
    Resume,
    /// Something breaks.
    Break,
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
    /// Every process there was.
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
        let workers = plan.workers.iter().map(|(_, slots)| Worker::new(*slots)).collect();
        let mut world = Self {
            now: START,
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
        for site in 0..world.plan.sites {
            world.after(0, Event::Start { site });
        }
        for partition in world.plan.partitions() {
            world.after(0, Event::TakeOver { partition, epoch: 0 });
        }
        for worker in 0..world.workers.len() {
            world.after(1, Event::WorkerRestarts { worker });
        }
        world.after(2, Event::Think);
        world.after(50, Event::Administer);
        world.store.rules = world.plan.rules.clone();
        let first = world.plan.fault_interval;
        world.after(first, Event::Break);
        let first = world.plan.move_interval;
        world.after(first, Event::HandOver);
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
        self.checker.ended().map_err(|broken| format!("{broken}; {}", self.explained()))
    }

    /// Why the tasks that are left wait, as their owners explain it.
    fn explained(&self) -> String {
        let owners = self.owners.iter().filter(|owner| owner.alive).map(|owner| &owner.engine);
        let left = self.checker.durable.left();
        let explanations = owners.flat_map(|engine| left.iter().filter_map(|task| engine.explain(*task)));
        format!("{:?}", explanations.collect::<Vec<_>>())
    }

    fn step(&mut self, event: Event) -> Verdict {
        match event {
            Event::FromWorker { owner, worker, session, said } => self.hear(owner, worker, session, said)?,
            Event::SessionEnded { owner, worker, session } => self.session_ended(owner, worker, session)?,
            Event::Call { owner, call } => self.called(owner, call)?,
            Event::CancelCall { owner, task } => self.cancel_called(owner, task)?,
            Event::SetQueueCall { owner, queue, rules } => self.set_queue_called(owner, queue, rules)?,
            Event::Commit { owner } => self.commit_due(owner)?,
            Event::Tick { owner } => self.tick(owner)?,
            Event::Replaced { owner, partition, epoch } => self.replaced(owner, partition, epoch)?,
            Event::Start { site } => self.start(site),
            Event::TakeOver { partition, epoch } => self.take_over(partition, epoch)?,
            Event::Open { owner, partition, epoch } => self.open(owner, partition, epoch)?,
            Event::HandOver => self.hand_over()?,
            Event::FromOwner { worker, session, told } => return self.obey(worker, session, told),
            Event::SessionBroken { worker, session } => self.session_broken(worker, session),
            Event::Connect { worker, site, life } => self.connect(worker, site, life),
            Event::HelloTimeout { worker, session } => self.hello_timeout(worker, session),
            Event::AttemptEnds { worker, life, attempt, outcome } => self.attempt_ends(worker, life, attempt, outcome),
            Event::WorkerTick { worker, life } => self.worker_tick(worker, life),
            Event::WorkerRestarts { worker } => self.worker_restarts(worker),
            Event::Reply { call, answer } => return self.replied(call, answer),
            Event::CallTimeout { call, turn } => self.call_timeout(call, turn),
            Event::Think => self.think(),
            Event::Administer => self.administer(),
            Event::Resume => self.resume(),
            Event::Break => self.break_something()?,
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

    /// How long a message takes. Once faults have stopped nothing overtakes anything.
    fn way(&mut self) -> Millis {
        if !self.is_faulty() {
            return self.plan.latency;
        }
        let longest = if self.dice.permille(self.plan.delaying) { 3_000 } else { self.plan.latency };
        self.dice.range(1, longest)
    }

    fn break_something(&mut self) -> Verdict {
        if !self.is_faulty() {
            return Ok(());
        }
        let interval = self.plan.fault_interval;
        let next = self.dice.range(1, 2 * interval);
        self.after(next, Event::Break);
        let worker = usize::try_from(self.dice.range(0, self.workers.len() as u64 - 1)).unwrap();
        match self.dice.range(0, 10) {
            0 | 1 => self.crash_owner(),
            2 => self.pause_owner(),
            3 => self.steal()?,
            4 | 5 => self.crash_worker(worker),
            6 => self.part_worker(worker),
            _ => self.break_one_session(worker),
        }
        Ok(())
    }

    fn faults_end(&mut self) {
        self.resume();
        // Within a session messages are lost only when it breaks in the end.
        for worker in 0..self.workers.len() {
            self.workers[worker].parted_until = 0;
            self.break_sessions(worker);
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
