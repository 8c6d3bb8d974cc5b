//! A replica: a conductor, and a loop around it that is as small as can be.

use std::{collections::BTreeSet, sync::Arc};

use dice::Dice;
use mcp_engine::Refused;
use mcp_proto::{TaskId, partition::of_home, scheduler::v1::TaskState};
use tokio::sync::mpsc;

use super::disk::{Disk, Made};
use crate::{
    conductor::{Batch, Conductor, End, Ended, Errand, Item, Later, Standing},
    config::Settings,
    error::Error,
    store::{self, Entry, Table, Write},
    validate::NewTask,
};

/// Errands that the courier of a replica takes; few, so that it is busy at times.
const ERRANDS_MAX: usize = 3;
/// Rounds of a batch, as in the loop.
const ROUNDS_MAX: usize = 4;

/// A replica.
pub(super) struct Node {
    pub(super) conductor: Conductor,
    pub(super) errands: mpsc::Receiver<Errand>,
    pub(super) open: BTreeSet<u16>,
}

/// The batch that a replica makes.
struct Making<'a> {
    now: u64,
    count: u16,
    open: &'a BTreeSet<u16>,
    disk: &'a Disk,
    dice: &'a mut Dice,
    made: Made,
    /// Ends that the conductor has not heard of.
    untold: Vec<Ended>,
    answers: Vec<Later>,
}

/// Whether a commit succeeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is durable.
    Done,
    /// Nothing is.
    Failed,
    /// It is durable, and nobody is told.
    Unknown,
}

impl Node {
    /// A replica that owns nothing.
    pub(super) fn new(settings: &Arc<Settings>) -> Self {
        let (sender, errands) = mpsc::channel(ERRANDS_MAX);
        let conductor = Conductor::new(Arc::clone(settings), sender, Arc::default());
        Self { conductor, errands, open: BTreeSet::new() }
    }

    /// Loads a partition and opens it.
    pub(super) fn open(&mut self, partition: u16, now: u64, disk: &mut Disk, dice: &mut Dice) {
        for table in [Table::Schedule, Table::Notice, Table::Workflow, Table::Step] {
            let entries: Vec<Entry> = disk
                .table(partition, table)
                .map(|(key, value)| Entry { table, key: key.clone(), value: value.clone(), expires_ms: 0 })
                .collect();
            for entry in entries {
                match table {
                    Table::Workflow | Table::Step => {
                        let found = disk.reader.read(&entry).unwrap();
                        self.conductor.restore_run(partition, found);
                    }
                    _ => self.conductor.restore(partition, entry),
                }
            }
        }
        self.open.insert(partition);
        let opened =
            self.batch(now, disk, dice, Fate::Done, Vec::new(), |conductor, batch| conductor.opened(partition, batch));
        assert_eq!(opened, Fate::Done);
    }

    /// Gives a partition up.
    pub(super) fn close(&mut self, partition: u16) {
        self.open.remove(&partition);
        self.conductor.close(partition);
    }

    /// Makes a batch: something happens, tasks end, the conductor hears of it and does what is due; then all of it is
    /// committed, or none.
    pub(super) fn batch(
        &mut self,
        now: u64,
        disk: &mut Disk,
        dice: &mut Dice,
        fate: Fate,
        ends: Vec<(TaskId, End)>,
        act: impl FnOnce(&mut Conductor, &mut dyn Batch) -> Result<(), store::Error>,
    ) -> Fate {
        let (made, untold, answers) = Default::default();
        let mut making = Making { now, count: super::PARTITIONS, open: &self.open, disk, dice, made, untold, answers };
        ends.into_iter().for_each(|(id, end)| making.end(id, end));
        act(&mut self.conductor, &mut making).unwrap();
        let mut rounds = ROUNDS_MAX;
        loop {
            if rounds > 0 && self.conductor.next_tick().is_some_and(|at| at <= now) {
                rounds -= 1;
                self.conductor.tick(&mut making).unwrap();
            } else if making.untold.is_empty() {
                break;
            }
            let untold = std::mem::take(&mut making.untold);
            self.conductor.ended(untold, &mut making).unwrap();
        }
        let Making { made, answers, .. } = making;
        if fate == Fate::Failed {
            answers.into_iter().for_each(|answer| answer.fail(Error::NotOwner));
            return fate;
        }
        disk.commit(now, made);
        if fate == Fate::Unknown {
            answers.into_iter().for_each(|answer| answer.fail(Error::NotOwner));
            return fate;
        }
        self.conductor.committed();
        answers.into_iter().for_each(Later::give);
        self.conductor.send_errands(now);
        fate
    }
}

impl Making<'_> {
    fn end(&mut self, id: TaskId, end: End) {
        let submitted = self.made.submitted.iter().find(|(other, _)| *other == id).map(|(_, fixed)| fixed);
        let fixed = submitted.unwrap_or_else(|| &self.disk.tasks[&id].fixed);
        let item = Item::of(fixed).unwrap().unwrap();
        self.made.ended.push((id, end.clone()));
        self.untold.push(Ended { item, task: id, end, was_started: true });
    }

    fn end_of(&self, id: TaskId) -> Option<&End> {
        let now = self.made.ended.iter().find(|(other, _)| *other == id).map(|(_, end)| end);
        now.or_else(|| self.disk.tasks.get(&id)?.end.as_ref())
    }
}

impl Batch for Making<'_> {
    fn now(&self) -> u64 {
        self.now
    }

    fn partition_of(&self, home: u16) -> u16 {
        of_home(home, self.count)
    }

    fn is_open(&self, partition: u16) -> bool {
        self.open.contains(&partition)
    }

    fn new_id(&mut self, home: u16) -> TaskId {
        TaskId::new(self.now, 0, home, self.dice.number())
    }

    fn submit(&mut self, id: TaskId, task: NewTask) -> Result<Result<(), Refused>, store::Error> {
        assert!(self.is_open(task.partition()) && of_home(id.home(), self.count) == task.partition());
        match self.dice.range(0, 19) {
            0 => return Ok(Err(Refused::QueueFull { retry_after: 10 })),
            1 => return Ok(Err(Refused::QueueClosed)),
            _ => {}
        }
        self.made.submitted.push((id, task.fixed));
        Ok(Ok(()))
    }

    fn cancel(&mut self, id: TaskId, _: &str) -> Result<(), store::Error> {
        let is_new = self.made.submitted.iter().any(|(other, _)| *other == id);
        assert!(
            is_new || self.disk.tasks.contains_key(&id),
            "{id} is cancelled before it is started, which comes to nothing"
        );
        if self.end_of(id).is_some() {
            return Ok(());
        }
        // One that waits is over at once; one that runs is told to stop.
        if self.dice.percent(50) {
            self.end(id, End { state: TaskState::Cancelled, output: None, error: None });
        } else {
            self.made.cancelled.push(id);
        }
        Ok(())
    }

    fn standing(&self, id: TaskId, thorough: bool) -> Result<Standing, store::Error> {
        Ok(match self.end_of(id) {
            Some(end) if thorough => Standing::Ended(end.clone()),
            Some(_) => Standing::Unknown,
            None if self.disk.tasks.contains_key(&id) => Standing::Unfinished,
            None if self.made.submitted.iter().any(|(other, _)| *other == id) => Standing::Unfinished,
            None => Standing::Unknown,
        })
    }

    fn write(&mut self, partition: u16, write: Write) {
        assert!(self.is_open(partition), "only the owner of {partition} writes");
        self.made.writes.push((partition, write));
    }

    fn answer(&mut self, answer: Later) {
        self.answers.push(answer);
    }
}
