//! Schedules and workflows beside the engine: what decides to start tasks by itself.
//!
//! The loop owns one conductor and drives it on its own thread, so that what is decided, the tasks that are started for
//! it and the ends that are counted go into one durable commit:
//!
//! - When a partition is opened, the conductor takes up what the partition's tables hold; when it is closed, it forgets.
//! - Before each commit it hears of the ends of tasks that schedules and workflows started, and does what is due.
//! - It acts through a [`Stage`]: entries of its tables, tasks that start, tasks that are cancelled. A task whose queue is
//!   in a partition that is open here starts within the same commit. For another one the commit holds a notice, and the
//!   courier brings it to the owner, as often as it takes; the task's id is part of the notice, so a repeat starts nothing.
//! - In the same way the end of a task whose schedule or workflow is in another partition becomes a notice to its owner.
//!
//! `schedules` and `workflows` are the two parts that decide; everything else here is common to both.

mod batch;
mod faults;
mod item;
mod kept;
mod notices;
mod schedules;
#[cfg(test)]
mod sim;
mod stage;
mod wire;
mod workflows;

use std::{collections::HashMap, mem, sync::Arc};

use mcp_proto::TaskId;
use tokio::sync::{mpsc, oneshot};

#[cfg(test)]
pub(crate) use self::wire::item_of_report;
pub(crate) use self::{
    batch::{Batch, End, Ended, Later, Standing},
    item::{Item, home_of_schedule},
    kept::{FireEntry, Kept, Target},
    notices::{Delivered, Errand, Outcome},
    schedules::{Command as ScheduleCommand, Triggered, not_found as schedule_not_found},
    stage::Stage,
    wire::{Message, end_of, end_to_wire, ended_of, item_of_submit},
    workflows::{Command as WorkflowCommand, Control, StartedRun},
};
use self::{
    faults::{Fault, is_planted},
    notices::Notices,
    schedules::Schedules,
    workflows::Workflows,
};
use crate::{
    config::Settings,
    error::Error,
    metrics::Conducted,
    store::{self, Entry, Table},
    validate::NewTask,
    workflow::{Showing, records::Found},
};

/// An answer to come, after the commit.
pub(crate) type Reply<T> = oneshot::Sender<Result<T, Error>>;

/// What the conductor is asked. Whoever is not answered hears that nothing was done.
#[derive(Debug)]
pub(crate) enum Conduct {
    /// Something about a schedule of this partition.
    Schedule(u16, ScheduleCommand),
    /// Something about a workflow of this partition.
    Workflow(u16, WorkflowCommand),
    /// Start a task for another partition's schedule or workflow.
    Submit(HandedOver),
    /// A task ended that another partition had been asked to start.
    Report(Ended, Reply<()>),
    /// What became of an errand.
    Delivered(Delivered),
}

/// A task that the owner of another partition wants to be started.
#[derive(Debug)]
pub(crate) struct HandedOver {
    /// Its id, chosen there.
    pub(crate) id: TaskId,
    /// The task.
    pub(crate) task: NewTask,
    /// Its end, when it has ended already.
    pub(crate) reply: Reply<Option<End>>,
}

/// All schedules and workflows of the partitions that are open here.
#[derive(Debug)]
pub(crate) struct Conductor {
    settings: Arc<Settings>,
    schedules: Schedules,
    workflows: Workflows,
    notices: Notices,
    /// What partitions hold that are being loaded.
    loading: HashMap<u16, Vec<Entry>>,
    /// Schedules and workflows, as they were counted last.
    sizes: (usize, usize),
}

impl Conductor {
    /// Nothing yet. Errands go to `errands`; unfinished workflows are shown in `showing`.
    pub(crate) fn new(settings: Arc<Settings>, errands: mpsc::Sender<Errand>, showing: Arc<Showing>) -> Self {
        Self {
            schedules: Schedules::new(&settings),
            workflows: Workflows::new(&settings, showing),
            notices: Notices::new(errands),
            loading: HashMap::new(),
            sizes: (0, 0),
            settings,
        }
    }

    /// Takes an entry of a partition that is being loaded; entries of other tables are left alone.
    pub(crate) fn restore(&mut self, partition: u16, entry: Entry) {
        if matches!(entry.table, Table::Schedule | Table::Notice) {
            self.loading.entry(partition).or_default().push(entry);
        }
    }

    /// Takes what an entry of a workflow says, of a partition that is being loaded.
    pub(crate) fn restore_run(&mut self, partition: u16, found: Found) {
        self.workflows.restore(partition, found);
    }

    /// Takes up what was loaded of a partition; its tasks are in the engine.
    ///
    /// # Errors
    /// The store failed.
    pub(crate) fn opened(&mut self, partition: u16, batch: &mut dyn Batch) -> Result<(), store::Error> {
        let mut schedules = Vec::new();
        for entry in self.loading.remove(&partition).unwrap_or_default() {
            match entry.table {
                Table::Notice => self.notices.restore(partition, &entry.key, batch.now()),
                _ => schedules.push(entry),
            }
        }
        let mut ends = Vec::new();
        let mut stage = Stage::new(batch, &mut self.notices, &self.settings, &mut ends);
        self.workflows.open(partition, &stage);
        self.schedules.open(partition, schedules, &self.workflows, &mut stage)?;
        self.ended(ends, batch)
    }

    /// Forgets a partition.
    pub(crate) fn close(&mut self, partition: u16) {
        self.loading.remove(&partition);
        self.schedules.close(partition);
        self.workflows.close(partition);
        self.notices.close(partition);
    }

    /// Does what somebody asks for; the partition is open here.
    ///
    /// # Errors
    /// The store failed.
    pub(crate) fn request(&mut self, conduct: Conduct, batch: &mut dyn Batch) -> Result<(), store::Error> {
        let mut ends = Vec::new();
        let mut stage = Stage::new(batch, &mut self.notices, &self.settings, &mut ends);
        match conduct {
            Conduct::Schedule(partition, command) => {
                self.schedules.command(partition, command, &mut self.workflows, &mut stage)?;
            }
            Conduct::Workflow(partition, command) => self.workflows.command(partition, command, &mut stage)?,
            Conduct::Submit(handed_over) => stage.take_over(handed_over)?,
            Conduct::Report(ended, reply) => {
                ends.push(ended);
                batch.answer(Later::new(reply, Ok(())));
            }
            Conduct::Delivered(delivered) => ends.extend(self.notices.delivered(delivered, batch)),
        }
        self.ended(ends, batch)
    }

    /// Hears of tasks that ended.
    ///
    /// # Errors
    /// The store failed.
    pub(crate) fn ended(&mut self, mut ends: Vec<Ended>, batch: &mut dyn Batch) -> Result<(), store::Error> {
        while !ends.is_empty() {
            let mut more = Vec::new();
            let mut stage = Stage::new(batch, &mut self.notices, &self.settings, &mut more);
            for ended in ends {
                let home = ended.item.home();
                if !stage.is_open(home) {
                    if !is_planted(Fault::EndNotReported) {
                        stage.report(&ended);
                    }
                    continue;
                }
                match ended.item {
                    Item::Fire { .. } => self.schedules.ended(&ended, &mut self.workflows, &mut stage)?,
                    Item::Step(_) => self.workflows.ended(&ended, &mut stage)?,
                }
            }
            ends = more;
        }
        Ok(())
    }

    /// Does what is due, a bounded amount of it.
    ///
    /// # Errors
    /// The store failed.
    pub(crate) fn tick(&mut self, batch: &mut dyn Batch) -> Result<(), store::Error> {
        let mut ends = Vec::new();
        let mut stage = Stage::new(batch, &mut self.notices, &self.settings, &mut ends);
        self.schedules.tick(&mut self.workflows, &mut stage)?;
        self.workflows.tick(&mut stage)?;
        self.ended(ends, batch)
    }

    /// When [`tick`](Self::tick) has something to do; a past moment means now.
    pub(crate) fn next_tick(&self) -> Option<u64> {
        self.schedules.next_timer().into_iter().chain(self.workflows.next_timer()).min()
    }

    /// When the loop has to look after the conductor again.
    pub(crate) fn next_timer(&self) -> Option<u64> {
        self.next_tick().into_iter().chain(self.notices.next_timer()).min()
    }

    /// Shows what is durable now: the workflows that are final with it, and what is to be counted.
    pub(crate) fn committed(&mut self) -> (Vec<TaskId>, Conducted) {
        let counts = mem::take(&mut self.schedules.counts).plus(mem::take(&mut self.workflows.counts));
        (self.workflows.committed(), counts)
    }

    /// How many schedules and unfinished workflows there are, when that has changed since it was asked.
    pub(crate) fn changed_sizes(&mut self) -> Option<(usize, usize)> {
        let sizes = (self.schedules.len(), self.workflows.len());
        (mem::replace(&mut self.sizes, sizes) != sizes).then_some(sizes)
    }

    /// Sends errands whose notices are durable and due.
    pub(crate) fn send_errands(&mut self, now: u64) {
        self.notices.send_due(now);
    }
}
