//! What happens, and what must hold.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use mcp_cron::{Outcome as Became, Overlap, RawRules, Rules, ScheduleId};
use mcp_proto::{
    Code, Error as WireError, TaskId,
    partition::of_home,
    scheduler::v1::{HandlerWork, TaskSpec, TaskState, task_spec::Work},
};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use tokio::sync::oneshot;

use super::{
    disk::Disk,
    node::{Commit, Node},
};
use crate::{
    conductor::{
        Conduct, Delivered, End, Ended, Errand, FireEntry, HandedOver, Kept, Message, Outcome, ScheduleCommand, Target,
        home_of_schedule, item_of_report, item_of_submit,
    },
    config::Settings,
    error::Error,
    store::Table,
    validate::Intake,
};

const PARTITIONS: u16 = 4;
const NODES: usize = 3;
const SCHEDULES: usize = 6;
const BEGIN: u64 = 1_700_000_000_000;

/// Everything there is.
pub(super) struct World {
    dice: StdRng,
    now: u64,
    settings: Arc<Settings>,
    nodes: Vec<Node>,
    /// Who owns each partition; nobody for a while.
    owners: BTreeMap<u16, usize>,
    pub(super) disk: Disk,
    /// Errands under way.
    under_way: Vec<Errand>,
    pub(super) handed_over: usize,
    pub(super) crashes: usize,
    is_quiet: bool,
}

fn schedule_id(n: usize) -> ScheduleId {
    ScheduleId::new("default", &format!("s{n}")).unwrap()
}

impl World {
    /// An empty world with some schedules, each in a partition of its own or not.
    pub(super) fn new(seed: u64) -> Self {
        let settings = Arc::new(Settings { partitions: PARTITIONS, ..Settings::default() });
        let nodes = (0..NODES).map(|_| Node::new(&settings)).collect();
        let dice = StdRng::seed_from_u64(seed);
        let (owners, disk, under_way) = Default::default();
        let (handed_over, crashes, is_quiet) = (0, 0, false);
        let mut world =
            Self { dice, now: BEGIN, settings, nodes, owners, disk, under_way, handed_over, crashes, is_quiet };
        (0..PARTITIONS).for_each(|partition| world.claim(partition));
        (0..SCHEDULES).for_each(|n| world.put(n));
        world
    }

    /// Something happens.
    pub(super) fn step(&mut self) {
        self.now += self.dice.random_range(1..400);
        match self.dice.random_range(0..100) {
            0..=29 => self.turn(),
            30..=54 => self.carry(),
            55..=79 => self.finish_some(),
            80..=84 => self.crash(),
            85..=91 => self.hand_over(),
            92..=95 => {
                // Not at a regular fire time, so that a fire time is known by its schedule and moment.
                self.now += u64::from(self.now.is_multiple_of(1_000));
                self.trigger();
            }
            _ => {
                let partition = self.dice.random_range(0..PARTITIONS);
                self.claim(partition);
            }
        }
    }

    /// Nothing fails any more, until everything has been told to everyone.
    pub(super) fn come_to_rest(&mut self) {
        self.is_quiet = true;
        (0..PARTITIONS).for_each(|partition| self.claim(partition));
        for n in 0..SCHEDULES {
            self.command(n, |id, reply| ScheduleCommand::SetPaused { id, is_paused: true, reply });
        }
        for _ in 0..10_000 {
            self.now += 1_000;
            self.turn();
            self.carry();
            self.finish_some();
            let is_over = self.disk.tasks.values().all(|task| task.end.is_some());
            if is_over && (0..PARTITIONS).all(|n| self.disk.table(n, Table::Notice).next().is_none()) {
                return;
            }
        }
        panic!("it does not come to rest: {:?}", self.disk.entries.keys());
    }

    /// What must hold at rest: nothing counts as running, and what ran has its task.
    pub(super) fn check(&self) {
        let mut ran = BTreeSet::new();
        for partition in 0..PARTITIONS {
            for (_, value) in self.disk.table(partition, Table::Schedule) {
                let record = Kept::read(value).unwrap().record;
                assert_eq!(record.running, [], "{} waits for what is over", record.id);
            }
            for (key, value) in self.disk.table(partition, Table::Fire) {
                let entry = FireEntry::read(value).unwrap();
                if let Became::Ran { task } = entry.fire.outcome {
                    assert!(ran.insert(TaskId::from_u128(task.0)), "{key:?}: its task is that of another fire time");
                }
            }
        }
        let there: BTreeSet<_> = self.disk.tasks.keys().copied().collect();
        assert_eq!(ran, there, "what the ledgers say, and what there is");
    }

    fn put(&mut self, n: usize) {
        let overlap = [Overlap::AllowAll, Overlap::Skip, Overlap::BufferOne, Overlap::CancelOther][n % 4];
        let raw = RawRules { cron: vec!["* * * * * *".to_owned()], overlap, ..RawRules::default() };
        let work = HandlerWork { handler: "h".to_owned(), input: None };
        let spec = TaskSpec {
            namespace: "default".to_owned(),
            queue: format!("q{}", self.dice.random_range(0..12)),
            work: Some(Work::Handler(work)),
            ..TaskSpec::default()
        };
        let target = Target::Task(Arc::new(spec));
        self.command(n, |id, reply| {
            let rules = Box::new(Rules::checked(raw).unwrap());
            ScheduleCommand::Put { id, rules, target, reply }
        });
    }

    fn trigger(&mut self) {
        let n = self.dice.random_range(0..SCHEDULES);
        self.command(n, |id, reply| ScheduleCommand::Trigger { id, reply });
    }

    fn command<T>(
        &mut self,
        n: usize,
        command: impl FnOnce(ScheduleId, oneshot::Sender<Result<T, Error>>) -> ScheduleCommand,
    ) {
        let id = schedule_id(n);
        let partition = of_home(home_of_schedule(id.namespace(), id.name()), PARTITIONS);
        let conduct = Conduct::Schedule(partition, command(id, oneshot::channel().0));
        self.request(partition, conduct);
    }

    /// A replica does what is due.
    fn turn(&mut self) {
        let node = self.dice.random_range(0..NODES);
        let nodes = if self.is_quiet { 0..NODES } else { node..node + 1 };
        for node in nodes {
            self.make(node, Vec::new(), None);
        }
    }

    /// Tasks end, each at its owner, and several in one commit.
    fn finish_some(&mut self) {
        let node = self.dice.random_range(0..NODES);
        for node in if self.is_quiet { 0..NODES } else { node..node + 1 } {
            let mut ends = Vec::new();
            for (id, task) in &self.disk.tasks {
                let is_here = self.nodes[node].open.contains(&of_home(id.home(), PARTITIONS));
                if task.end.is_some() || !is_here || !(self.is_quiet || self.dice.random_bool(0.4)) {
                    continue;
                }
                let state = if task.is_cancelled { TaskState::Cancelled } else { TaskState::Succeeded };
                ends.push((*id, End { state, output: None, error: None }));
            }
            self.make(node, ends, None);
        }
    }

    /// One batch of a replica, which may crash over the commit.
    fn make(&mut self, node: usize, ends: Vec<(TaskId, End)>, conduct: Option<Conduct>) -> Commit {
        let commit = match self.dice.random_range(0..100) {
            _ if self.is_quiet => Commit::Done,
            0..=1 => Commit::Failed,
            2..=3 => Commit::Unknown,
            _ => Commit::Done,
        };
        let committed =
            self.nodes[node].batch(self.now, &mut self.disk, &mut self.dice, commit, ends, |book, batch| {
                conduct.map_or(Ok(()), |conduct| book.request(conduct, batch))
            });
        if committed != Commit::Done {
            self.lose(node);
        }
        self.collect(node);
        committed
    }

    fn collect(&mut self, node: usize) {
        while let Ok(errand) = self.nodes[node].errands.try_recv() {
            self.under_way.push(errand);
        }
    }

    fn crash(&mut self) {
        let node = self.dice.random_range(0..NODES);
        self.lose(node);
    }

    /// A replica is gone, with all that it had not committed; one like it begins.
    fn lose(&mut self, node: usize) {
        self.crashes += 1;
        self.owners.retain(|_, owner| *owner != node);
        self.nodes[node] = Node::new(&self.settings);
    }

    /// A partition goes to another replica, in order; or is left for a while.
    fn hand_over(&mut self) {
        let partition = self.dice.random_range(0..PARTITIONS);
        if let Some(owner) = self.owners.remove(&partition) {
            self.nodes[owner].close(partition);
        }
        if self.dice.random_bool(0.7) {
            self.claim(partition);
        }
    }

    fn claim(&mut self, partition: u16) {
        if self.owners.contains_key(&partition) {
            return;
        }
        let node = self.dice.random_range(0..NODES);
        self.owners.insert(partition, node);
        self.nodes[node].open(partition, self.now, &mut self.disk, &mut self.dice);
        self.collect(node);
    }

    /// Has the owner of a partition do something; `None` when there is none, or it crashed over it.
    fn request(&mut self, partition: u16, conduct: Conduct) -> Option<()> {
        let owner = *self.owners.get(&partition)?;
        (self.make(owner, Vec::new(), Some(conduct)) == Commit::Done).then_some(())
    }

    /// An errand arrives: perhaps again later, perhaps its answer is lost.
    fn carry(&mut self) {
        for _ in 0..if self.is_quiet { self.under_way.len() } else { 1 } {
            if self.under_way.is_empty() {
                return;
            }
            let at = self.dice.random_range(0..self.under_way.len());
            let errand = self.under_way.swap_remove(at);
            let (is_doubled, is_lost) = (self.dice.random_bool(0.2), self.dice.random_bool(0.2));
            let outcome = self.deliver(errand);
            if self.is_quiet {
                self.answer(errand, outcome);
                continue;
            }
            if is_doubled {
                // As a call that is repeated because its answer did not come.
                self.under_way.push(errand);
            }
            self.answer(errand, if is_lost { Outcome::Again } else { outcome });
        }
    }

    fn answer(&mut self, errand: Errand, outcome: Outcome) {
        self.request(errand.partition, Conduct::Delivered(Delivered { errand, outcome }));
    }

    /// What the courier does.
    fn deliver(&mut self, errand: Errand) -> Outcome {
        let Some(value) = self.disk.entries.get(&(errand.partition, Table::Notice, errand.key())) else {
            return Outcome::Done(None);
        };
        let message = Message::read(value).unwrap();
        let of_task = of_home(errand.task.home(), PARTITIONS);
        if let Some(request) = message.submit {
            let item = item_of_submit(&request).unwrap();
            let intake = Intake::new(&self.settings, self.now, "");
            let task = intake.part_of(request.task.unwrap(), &item.origin()).unwrap();
            let (reply, mut answer) = oneshot::channel();
            let id = errand.task;
            self.request(of_task, Conduct::Submit(HandedOver { id, task, reply }));
            self.handed_over += 1;
            return match answer.try_recv() {
                Ok(Ok(end)) => Outcome::Done(end.map(|end| (item, end))),
                Ok(Err(error)) => match WireError::from(error) {
                    error if error.code() == Code::QueueClosed => Outcome::Rejected(item, error),
                    _ => Outcome::Again,
                },
                Err(_) => Outcome::Again,
            };
        }
        if message.cancel.is_some() {
            if !self.owners.contains_key(&of_task) {
                return Outcome::Again;
            }
            let task = self.disk.tasks.get_mut(&errand.task);
            task.expect("a cancel waits for the start").is_cancelled = true;
            return Outcome::Done(None);
        }
        let item = item_of_report(&message.report.unwrap()).unwrap();
        let end = self.disk.tasks[&errand.task].end.clone().unwrap();
        let (reply, mut answer) = oneshot::channel();
        let home = of_home(item.home(), PARTITIONS);
        let ended = Ended { item, task: errand.task, end, was_started: true };
        self.request(home, Conduct::Report(ended, reply));
        if matches!(answer.try_recv(), Ok(Ok(()))) { Outcome::Done(None) } else { Outcome::Again }
    }
}
