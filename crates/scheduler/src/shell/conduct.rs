//! The conductor in the loop: it hears of ends, is driven before each commit, and acts on the batch.

use mcp_engine::{Command, Refused};
use mcp_proto::TaskId;

use super::{Shell, effects::Context, live::engine_id, staging::Answer};
use crate::{
    conductor::{Batch, Conduct, Conductor, End, Ended, Item, Later, Standing},
    store::{self, Entry, Fixed, Moving, Write},
    validate::NewTask,
    workflow::records::Found,
};

/// Rounds in which the conductor does what is due, before a commit; what is left is due after it.
const ROUNDS_MAX: usize = 4;

impl Shell {
    /// Takes an entry of a partition that is being loaded.
    pub(super) fn restore_entry(&mut self, partition: u16, entry: Entry) {
        if let Some(conductor) = &mut self.conductor {
            conductor.restore(partition, entry);
        }
    }

    /// Takes what an entry of a workflow says, of a partition that is being loaded.
    pub(super) fn restore_run(&mut self, partition: u16, found: Found) {
        if let Some(conductor) = &mut self.conductor {
            conductor.restore_run(partition, found);
        }
    }

    /// The partition is open, with all of its tasks.
    ///
    /// # Errors
    /// The store failed.
    pub(super) fn conductor_opened(&mut self, partition: u16) -> Result<(), store::Error> {
        self.now = self.clock.now();
        self.with_conductor(|conductor, shell| conductor.opened(partition, shell))?;
        self.count_conducted();
        Ok(())
    }

    /// The partition is not open here any more.
    pub(super) fn conductor_closed(&mut self, partition: u16) {
        if let Some(conductor) = &mut self.conductor {
            conductor.close(partition);
        }
        self.count_conducted();
    }

    /// Has the conductor do what somebody asks for. When the partition is not open here nothing is done, and whoever waits
    /// for the answer sees that none comes.
    ///
    /// # Errors
    /// The store failed.
    pub(super) fn conduct_request(&mut self, conduct: Conduct) -> Result<(), store::Error> {
        let partition = match &conduct {
            Conduct::Schedule(partition, _) | Conduct::Workflow(partition, _) => *partition,
            Conduct::Submit(handed_over) => handed_over.task.partition(),
            Conduct::Report(ended, _) => self.partition_of(ended.item.home()),
            Conduct::Delivered(delivered) => delivered.errand.partition,
        };
        if !self.hosted.is_open(partition) {
            return Ok(());
        }
        self.with_conductor(|conductor, shell| conductor.request(conduct, shell))
    }

    /// Notes the end of a task that a schedule or a workflow started.
    ///
    /// # Errors
    /// A record cannot be read.
    pub(super) fn note_end(&mut self, id: TaskId, fixed: &Fixed, moving: &Moving) -> Result<(), store::Error> {
        if let Some(item) = Item::of(fixed)? {
            self.staging.conducted.push(Ended { item, task: id, end: End::of(moving), was_started: true });
        }
        Ok(())
    }

    /// Lets the conductor hear of the ends of this batch, and do what is due.
    ///
    /// # Errors
    /// The store failed.
    pub(super) fn conduct(&mut self) -> Result<(), store::Error> {
        let mut rounds = ROUNDS_MAX;
        loop {
            let is_due =
                self.conductor.as_ref().and_then(|conductor| conductor.next_tick()).is_some_and(|at| at <= self.now);
            if is_due && rounds > 0 {
                rounds -= 1;
                self.with_conductor(|conductor, shell| conductor.tick(shell))?;
            } else if self.staging.conducted.is_empty() {
                return Ok(());
            }
            let ends = std::mem::take(&mut self.staging.conducted);
            self.with_conductor(|conductor, shell| conductor.ended(ends, shell))?;
        }
    }

    /// What the conductor did is durable. The workflows that are final with it come back.
    pub(super) fn conductor_committed(&mut self) -> Vec<TaskId> {
        let committed = self.conductor.as_mut().map(|conductor| conductor.committed());
        let (ended, counts) = committed.unwrap_or_default();
        self.metrics.conducted(counts);
        self.count_conducted();
        ended
    }

    fn count_conducted(&mut self) {
        if let Some((schedules, workflows)) = self.conductor.as_mut().and_then(|conductor| conductor.changed_sizes()) {
            self.metrics.holds_conducted(schedules, workflows);
        }
    }

    /// When the conductor has something to do next.
    pub(super) fn conductor_timer(&self) -> Option<u64> {
        self.conductor.as_ref().and_then(|conductor| conductor.next_timer())
    }

    /// Sends errands whose notices are committed.
    pub(super) fn send_errands(&mut self) {
        let now = self.now;
        if let Some(conductor) = &mut self.conductor {
            conductor.send_errands(now);
        }
    }

    /// The conductor acts on the rest of the loop, so it is taken out meanwhile.
    fn with_conductor(
        &mut self,
        act: impl FnOnce(&mut Conductor, &mut Self) -> Result<(), store::Error>,
    ) -> Result<(), store::Error> {
        let mut conductor = self.conductor.take().expect("it is put back below");
        let done = act(&mut conductor, self);
        self.conductor = Some(conductor);
        done
    }
}

impl Batch for Shell {
    fn now(&self) -> u64 {
        self.now
    }

    fn partition_of(&self, home: u16) -> u16 {
        mcp_proto::partition::of_home(home, self.settings.partitions)
    }

    fn is_open(&self, partition: u16) -> bool {
        self.hosted.is_open(partition)
    }

    fn new_id(&mut self, home: u16) -> TaskId {
        self.ids.next(self.now, home)
    }

    fn submit(&mut self, id: TaskId, mut task: NewTask) -> Result<Result<(), Refused>, store::Error> {
        task.submission.id = engine_id(id);
        let command = Command::Submit(task.submission.clone());
        let applied = self.apply(command, Context { new: Some(task), ..Context::default() })?;
        Ok(applied.map(drop))
    }

    fn cancel(&mut self, id: TaskId, reason: &str) -> Result<(), store::Error> {
        // A refusal says that it is over already.
        self.apply(Command::Cancel(engine_id(id)), Context { reason, ..Context::default() }).map(drop)
    }

    fn standing(&self, id: TaskId, thorough: bool) -> Result<Standing, store::Error> {
        if self.engine.view(engine_id(id)).is_some() {
            return Ok(Standing::Unfinished);
        }
        let staged = self.staging.writes.of(self.hosted.partition_of(id)).iter().rev().find_map(|write| match write {
            Write::Finished { id: other, moving, .. } if *other == id => Some(End::of(moving)),
            _ => None,
        });
        if let Some(end) = staged {
            return Ok(Standing::Ended(end));
        }
        if !thorough {
            return Ok(Standing::Unknown);
        }
        let stored = self.hosted.store_of(id)?.get(id)?;
        Ok(stored.map_or(Standing::Unknown, |stored| Standing::Ended(End::of(&stored.moving))))
    }

    fn write(&mut self, partition: u16, write: Write) {
        if let Write::Put(entry) = &write {
            self.staging.bytes += entry.value.len();
        }
        self.staging.writes.push(partition, write);
    }

    fn answer(&mut self, answer: Later) {
        self.staging.answers.push(Answer::Conducted(answer));
    }
}
