//! Time, replicas that own partitions, and what happens to them.

use std::{collections::BTreeMap, sync::Arc};

use dice::Dice;
use mcp_client::value::to_value;
use mcp_proto::{
    Code, Error as WireError, TaskId,
    partition::of_home,
    scheduler::v1::{TaskState, WorkflowSpec},
};
use prost::Message as _;
use serde_json::{Value, json};

use super::{
    PARTITIONS,
    disk::Disk,
    node::{Fate, Node},
    plan::{self, Plan},
};
use crate::{
    conductor::{Conduct, End, Errand},
    config::Settings,
    store::Table,
};

/// Replicas.
const NODES: usize = 3;
/// Schedules, the third of which start workflows.
const SCHEDULES: usize = 6;
/// Different workflows.
const WORKFLOWS: usize = 3;
/// When it begins, milliseconds since 1970.
const BEGIN: u64 = 1_700_000_000_000;
/// Rounds of a second in which all must come to rest.
const ROUNDS_MAX: usize = 1_000;

/// Everything there is.
pub(super) struct World {
    pub(super) dice: Dice,
    pub(super) now: u64,
    pub(super) settings: Arc<Settings>,
    pub(super) nodes: Vec<Node>,
    /// Who owns each partition; nobody for a while.
    pub(super) owners: BTreeMap<u16, usize>,
    pub(super) disk: Disk,
    pub(super) plans: Vec<Plan>,
    pub(super) workflows: Vec<WorkflowSpec>,
    /// Errands under way.
    pub(super) under_way: Vec<Errand>,
    /// What somebody read of a ledger some time ago.
    pub(super) ledger_read: Option<super::callers::LedgerRead>,
    pub(super) handed_over: usize,
    pub(super) crashes: usize,
    pub(super) is_quiet: bool,
}

impl World {
    /// An empty world with some schedules, each in a partition of its own or not.
    pub(super) fn new(seed: u64) -> Self {
        let settings = Arc::new(Settings { partitions: PARTITIONS, ..Settings::default() });
        let mut dice = Dice::new(seed);
        let plans: Vec<Plan> = (0..SCHEDULES).map(|number| Plan::new(&mut dice, number)).collect();
        let workflows = (0..WORKFLOWS).map(|number| plan::workflow(&mut dice, &format!("f{number}"))).collect();
        let mut disk = Disk::default();
        plans.iter().for_each(|plan| disk.checker.expect(plan));
        let (owners, under_way) = Default::default();
        let mut world = Self {
            nodes: (0..NODES).map(|_| Node::new(&settings)).collect(),
            dice,
            now: BEGIN,
            settings,
            owners,
            disk,
            plans,
            workflows,
            under_way,
            ledger_read: None,
            handed_over: 0,
            crashes: 0,
            is_quiet: false,
        };
        (0..PARTITIONS).for_each(|partition| world.claim(partition));
        (0..SCHEDULES).for_each(|number| world.put(number));
        world
    }

    /// Something happens.
    pub(super) fn step(&mut self) {
        self.now += self.dice.range(1, 400);
        match self.dice.range(0, 99) {
            0..=26 => self.turn(),
            27..=51 => self.carry(),
            52..=73 => self.finish_some(),
            74..=77 => self.crash(),
            78..=82 => self.hand_over(),
            83..=87 => {
                let partition = self.partition();
                self.claim(partition);
            }
            _ => self.call(),
        }
    }

    /// Nothing fails any more, until everything has been told to everyone.
    pub(super) fn come_to_rest(&mut self) {
        self.is_quiet = true;
        (0..PARTITIONS).for_each(|partition| self.claim(partition));
        self.calm_down();
        for _ in 0..ROUNDS_MAX {
            self.now += 1_000;
            self.turn();
            self.carry();
            self.finish_some();
            let (unfinished, _) = self.disk.checker.runs();
            let is_left = |partition, table| self.disk.table(partition, table).next().is_some();
            let tells = (0..PARTITIONS).any(|n| is_left(n, Table::Notice) || is_left(n, Table::Step));
            if self.disk.unfinished.is_empty() && unfinished.is_empty() && !tells && !self.has_backlog() {
                return;
            }
        }
        panic!("it does not come to rest: {:?}, {:?}", self.disk.checker.runs().0, self.disk.unfinished);
    }

    pub(super) fn partition(&mut self) -> u16 {
        u16::try_from(self.dice.range(0, u64::from(PARTITIONS) - 1)).unwrap()
    }

    /// A replica, or all of them once it is quiet.
    fn some_nodes(&mut self) -> std::ops::Range<usize> {
        let node = self.dice.place(NODES);
        if self.is_quiet { 0..NODES } else { node..node + 1 }
    }

    /// A replica does what is due.
    fn turn(&mut self) {
        for node in self.some_nodes() {
            self.make(node, Vec::new(), None);
        }
    }

    /// Tasks end, each at its owner, and several in one commit.
    fn finish_some(&mut self) {
        for node in self.some_nodes() {
            let unfinished: Vec<TaskId> = self.disk.unfinished.iter().copied().collect();
            let mut ends = Vec::new();
            for id in unfinished {
                let is_here = self.nodes[node].open.contains(&of_home(id.home(), PARTITIONS));
                if is_here && (self.is_quiet || self.dice.percent(40)) {
                    ends.push((id, self.some_end(id)));
                }
            }
            self.make(node, ends, None);
        }
    }

    fn some_end(&mut self, id: TaskId) -> End {
        if self.disk.tasks[&id].is_cancelled && self.dice.percent(80) {
            return End { state: TaskState::Cancelled, output: None, error: None };
        }
        if self.dice.percent(8) {
            return End::failed(WireError::new(Code::HandlerFailed, "it broke"));
        }
        let len = self.dice.range(0, 3);
        let output: Option<Value> = match self.dice.range(0, 2) {
            0 => None,
            1 => Some(json!(len)),
            _ => Some(json!((0..len).collect::<Vec<_>>())),
        };
        let output = output.map(|output| to_value(output).encode_to_vec().into());
        End { state: TaskState::Succeeded, output, error: None }
    }

    /// One batch of a replica, which may crash over the commit.
    pub(super) fn make(&mut self, node: usize, ends: Vec<(TaskId, End)>, conduct: Option<Conduct>) -> Fate {
        let fate = match self.dice.range(0, 99) {
            _ if self.is_quiet => Fate::Done,
            0..=1 => Fate::Failed,
            2..=3 => Fate::Unknown,
            _ => Fate::Done,
        };
        let act = |book: &mut crate::conductor::Conductor, batch: &mut dyn crate::conductor::Batch| {
            conduct.map_or(Ok(()), |conduct| book.request(conduct, batch))
        };
        let fate = self.nodes[node].batch(self.now, &mut self.disk, &mut self.dice, fate, ends, act);
        if fate != Fate::Done {
            self.lose(node);
        }
        self.collect(node);
        fate
    }

    /// Has the owner of a partition do something; `None` when there is none, or it crashed over it.
    pub(super) fn request(&mut self, partition: u16, conduct: Conduct) -> Option<()> {
        let owner = *self.owners.get(&partition)?;
        (self.make(owner, Vec::new(), Some(conduct)) == Fate::Done).then_some(())
    }

    fn collect(&mut self, node: usize) {
        while let Ok(errand) = self.nodes[node].errands.try_recv() {
            self.under_way.push(errand);
        }
    }

    fn crash(&mut self) {
        let node = self.dice.place(NODES);
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
        let partition = self.partition();
        if let Some(owner) = self.owners.remove(&partition) {
            self.nodes[owner].close(partition);
        }
        if self.dice.percent(70) {
            self.claim(partition);
        }
    }

    fn claim(&mut self, partition: u16) {
        if self.owners.contains_key(&partition) {
            return;
        }
        let node = self.dice.place(NODES);
        self.owners.insert(partition, node);
        self.nodes[node].open(partition, self.now, &mut self.disk, &mut self.dice);
        self.collect(node);
    }
}
