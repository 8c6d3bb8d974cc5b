//! What workers say: sessions that come and go, attempts that end, and attempts that were another replica's.

use std::collections::HashSet;

use mcp_engine::{Applied, Command, Partition, RunningAttempt, WorkerId};
use mcp_proto::scheduler::v1::{Progress, TaskEvent, TaskState};

use super::{
    Shell,
    effects::Context,
    live::{LiveChange, wire_id},
    request::{Ended, Input, Join, Joined, SessionRef},
    staging::Answer,
};
use crate::{hub::Event, store};

/// Why an attempt is stopped that another worker has.
pub(super) const REVOKED: &str = "the attempt was given to another worker";

impl Shell {
    /// Opens a session. Of the attempts that the worker reports, the engine hears only those that are for this replica.
    ///
    /// # Errors
    /// The store failed.
    pub(super) fn join(&mut self, join: Join) -> Result<(), store::Error> {
        let Join { hello, outbox, reply } = join;
        let session = match self.workers.join(&hello.worker_id, hello.slots, outbox, self.now) {
            Ok(session) => session,
            Err(error) => {
                drop(reply.send(Err(error)));
                return Ok(());
            }
        };
        // What an earlier session was to be told is void: the worker says itself what it has.
        self.staging.outgoing.remove(&session.worker);
        let worker_id = &*hello.worker_id;
        tracing::info!(worker_id, slots = hello.slots, running = hello.running.len(), "worker joined");
        let (running, not_mine): (Vec<_>, Vec<_>) =
            hello.running.into_iter().partition(|attempt| self.is_hosted(*attempt));
        let mut revoked = Vec::new();
        let command = Command::WorkerJoined {
            worker: session.worker,
            spec: hello.spec,
            slots: hello.slots,
            running: running.clone(),
        };
        let applied = self.apply(command, Context { revoked: Some(&mut revoked), ..Context::default() })?;
        debug_assert!(applied.is_ok(), "a join is never refused");
        let adopted = without(running, &revoked);
        self.staging.answers.push(Answer::Joined(reply, Joined { session, revoked, not_mine, adopted }));
        Ok(())
    }

    /// Ends a session.
    ///
    /// # Errors
    /// The store failed.
    pub(super) fn leave(&mut self, session: SessionRef) -> Result<(), store::Error> {
        if self.workers.leave(session, self.now) {
            tracing::info!(worker_id = &*self.workers.id(session.worker), "worker left");
            let applied = self.apply(Command::WorkerLost(session.worker), Context::default())?;
            debug_assert!(applied.is_ok(), "a loss is never refused");
        }
        Ok(())
    }

    /// Logs and progress come before results: they belong to attempts that a result ends. What is about a partition
    /// that is not open here goes back as not ours; logs and progress of it are the next owner's to get.
    ///
    /// # Errors
    /// The store failed.
    pub(super) fn input(&mut self, input: Input) -> Result<(), store::Error> {
        let Input { session, slots, results, logs, progress, handed_back, running, reclaim, _admitted } = input;
        if !self.workers.is_current(session) {
            return Ok(());
        }
        let worker = session.worker;
        if !running.is_empty() {
            self.reported(worker, running)?;
        }
        for (attempt, lines) in logs {
            if self.is_running(attempt) {
                self.log(attempt, lines)?;
            }
        }
        for (attempt, progress) in progress {
            if self.is_running(attempt) {
                self.progress(attempt, progress)?;
            }
        }
        for ended in results {
            let Ended { attempt, ref outcome, .. } = ended;
            if !self.is_hosted(attempt) {
                self.staging.outgoing(worker).not_mine.push(attempt);
                continue;
            }
            let command = Command::Finish { worker, attempt, outcome: outcome.clone() };
            let applied = self.apply(command, Context { ended: Some(ended), ..Context::default() })?;
            debug_assert!(applied.is_ok(), "a result is never refused");
        }
        for attempt in handed_back {
            if !self.is_hosted(attempt) {
                self.staging.outgoing(worker).not_mine.push(attempt);
                continue;
            }
            let applied = self.apply(Command::HandBack { worker, attempt }, Context::default())?;
            debug_assert!(applied.is_ok(), "nothing handed back is refused");
        }
        if slots > 0 && self.workers.grant(worker, slots) {
            let applied = self.apply(Command::SlotsFreed { worker, slots }, Context::default())?;
            debug_assert!(applied.is_ok(), "free slots are never refused");
        }
        if reclaim > 0 {
            self.reclaim(worker, reclaim)?;
        }
        Ok(())
    }

    /// Gives a worker slots back that have no attempt yet.
    fn reclaim(&mut self, worker: WorkerId, slots: u32) -> Result<(), store::Error> {
        let applied = self.apply(Command::ReclaimSlots { worker, slots }, Context::default())?;
        let reclaimed = if let Ok(Applied::Reclaimed(slots)) = applied { slots } else { 0 };
        self.workers.take_slots(worker, reclaimed);
        *self.staging.outgoing(worker).reclaimed.get_or_insert(0) += reclaimed;
        Ok(())
    }

    /// Takes over attempts that had no replica, as far as they are for this one and still count.
    fn reported(&mut self, worker: WorkerId, running: Vec<RunningAttempt>) -> Result<(), store::Error> {
        let (ours, not_mine): (Vec<_>, Vec<_>) = running.into_iter().partition(|attempt| self.is_hosted(*attempt));
        let mut revoked = Vec::new();
        if !ours.is_empty() {
            let command = Command::AttemptsReported { worker, running: ours.clone() };
            let applied = self.apply(command, Context { revoked: Some(&mut revoked), ..Context::default() })?;
            debug_assert!(applied.is_ok(), "a report is never refused");
        }
        let adopted = without(ours, &revoked);
        let outgoing = self.staging.outgoing(worker);
        outgoing.not_mine.extend(not_mine);
        outgoing.adopted.extend(adopted);
        outgoing.revoked.extend(revoked);
        Ok(())
    }

    /// True when the attempt's partition is open here, and no later owner has started the attempt: then it is for that
    /// one to judge, although this replica has not heard of it yet.
    fn is_hosted(&self, attempt: RunningAttempt) -> bool {
        let id = wire_id(attempt.task);
        self.hosted.has(id) && self.engine.judges(Partition(self.hosted.partition_of(id)), attempt.token)
    }

    /// True when this is the task's newest attempt, as far as was committed.
    fn is_running(&self, attempt: RunningAttempt) -> bool {
        self.live.get(&wire_id(attempt.task)).is_some_and(|live| live.token == attempt.token)
    }

    fn progress(&mut self, attempt: RunningAttempt, progress: Progress) -> Result<(), store::Error> {
        let id = wire_id(attempt.task);
        if self.hub.has_watches() {
            let queue = self.queue_of(id)?;
            let wire = TaskEvent {
                task_id: id.to_string(),
                namespace: queue.namespace.to_string(),
                queue: queue.queue.to_string(),
                state: TaskState::Running.into(),
                attempt: self.live.get(&id).map_or(0, |live| live.attempt),
                time: Some(super::wire_time(self.now)),
                error: None,
                progress: Some(progress.clone()),
            };
            self.staging.events.push(Event { id, wire });
        }
        self.staging.live.push(LiveChange::Progress(attempt, progress));
        Ok(())
    }
}

/// The attempts that were not revoked.
fn without(mut attempts: Vec<RunningAttempt>, revoked: &[RunningAttempt]) -> Vec<RunningAttempt> {
    if !revoked.is_empty() {
        let revoked: HashSet<_> = revoked.iter().map(|attempt| (attempt.task, attempt.token)).collect();
        attempts.retain(|attempt| !revoked.contains(&(attempt.task, attempt.token)));
    }
    attempts
}
