//! A replica: a conductor, and a loop around it that is as small as can be.

use std::{collections::BTreeSet, sync::Arc};

use mcp_engine::Refused;
use mcp_proto::{TaskId, partition::of_home};
use rand::{Rng as _, rngs::StdRng};
use tokio::sync::mpsc;

use super::disk::Disk;
use crate::{
    conductor::{Batch, Conductor, End, Ended, Errand, Later, Standing},
    config::Settings,
    error::Error,
    store::{self, Entry, Fixed, Table, Write},
    validate::NewTask,
};

/// Errands that the courier of a replica takes; few, so that it is busy at times.
const ERRANDS_MAX: usize = 3;

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
    dice: &'a mut StdRng,
    writes: Vec<(u16, Write)>,
    submitted: Vec<(TaskId, Fixed)>,
    cancelled: Vec<TaskId>,
    answers: Vec<Later>,
}

/// Whether a commit succeeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Commit {
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
    pub(super) fn open(&mut self, partition: u16, now: u64, disk: &mut Disk, dice: &mut StdRng) {
        for table in [Table::Schedule, Table::Notice] {
            for (key, value) in disk.table(partition, table) {
                let (key, value) = (key.clone(), value.clone());
                self.conductor.restore(partition, Entry { table, key, value, expires_ms: 0 });
            }
        }
        self.open.insert(partition);
        let opened = self
            .batch(now, disk, dice, Commit::Done, Vec::new(), |conductor, batch| conductor.opened(partition, batch));
        assert_eq!(opened, Commit::Done);
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
        dice: &mut StdRng,
        commit: Commit,
        ends: Vec<(TaskId, End)>,
        act: impl FnOnce(&mut Conductor, &mut dyn Batch) -> Result<(), store::Error>,
    ) -> Commit {
        let told: Vec<Ended> = ends
            .iter()
            .map(|(id, end)| {
                let item = crate::conductor::Item::of(&disk.tasks[id].fixed).unwrap().unwrap();
                Ended { item, task: *id, end: end.clone(), was_started: true }
            })
            .collect();
        let mut making = Making {
            now,
            count: 4,
            open: &self.open,
            disk,
            dice,
            writes: Vec::new(),
            submitted: Vec::new(),
            cancelled: Vec::new(),
            answers: Vec::new(),
        };
        act(&mut self.conductor, &mut making).unwrap();
        while self.conductor.next_tick().is_some_and(|at| at <= now) {
            self.conductor.tick(&mut making).unwrap();
        }
        self.conductor.ended(told, &mut making).unwrap();
        let Making { writes, submitted, cancelled, answers, .. } = making;
        if commit == Commit::Failed {
            answers.into_iter().for_each(|answer| answer.fail(Error::NotOwner));
            return commit;
        }
        disk.apply(writes);
        submitted.into_iter().for_each(|(id, fixed)| disk.insert(id, fixed));
        for id in cancelled {
            disk.tasks.entry(id).and_modify(|task| task.is_cancelled = true);
        }
        for (id, end) in ends {
            disk.tasks.entry(id).and_modify(|task| task.end = Some(end));
        }
        if commit == Commit::Unknown {
            answers.into_iter().for_each(|answer| answer.fail(Error::NotOwner));
            return commit;
        }
        answers.into_iter().for_each(Later::give);
        self.conductor.send_errands(now);
        commit
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
        TaskId::new(self.now, 0, home, self.dice.random())
    }

    fn submit(&mut self, id: TaskId, task: NewTask) -> Result<Result<(), Refused>, store::Error> {
        assert!(self.is_open(task.partition()) && of_home(id.home(), self.count) == task.partition());
        match self.dice.random_range(0..20) {
            0 => return Ok(Err(Refused::QueueFull { retry_after: 10 })),
            1 => return Ok(Err(Refused::QueueClosed)),
            _ => {}
        }
        self.submitted.push((id, task.fixed));
        Ok(Ok(()))
    }

    fn cancel(&mut self, id: TaskId, _: &str) -> Result<(), store::Error> {
        let is_known = self.disk.tasks.contains_key(&id) || self.submitted.iter().any(|(other, _)| *other == id);
        assert!(is_known, "{id} is cancelled before it is started, which comes to nothing");
        self.cancelled.push(id);
        Ok(())
    }

    fn standing(&self, id: TaskId, thorough: bool) -> Result<Standing, store::Error> {
        if self.submitted.iter().any(|(other, _)| *other == id) {
            return Ok(Standing::Unfinished);
        }
        Ok(match self.disk.tasks.get(&id).map(|task| &task.end) {
            Some(None) => Standing::Unfinished,
            Some(Some(end)) if thorough => Standing::Ended(end.clone()),
            _ => Standing::Unknown,
        })
    }

    fn write(&mut self, partition: u16, write: Write) {
        assert!(self.is_open(partition), "only the owner of {partition} writes");
        self.writes.push((partition, write));
    }

    fn answer(&mut self, answer: Later) {
        self.answers.push(answer);
    }
}
