//! The end of a batch: one durable commit, then everything that waited for it.

use std::{sync::Arc, time::Instant};

use super::{
    Shell,
    cache::Waiting,
    live::{LiveChange, wire_id},
    staging::{Answer, Staging},
};
use crate::{
    error::Error,
    store::{self, Part},
};

impl Shell {
    /// Commits what was staged and lets it go. Nothing is written when there is no record.
    ///
    /// # Errors
    /// The store failed: whether the batch is durable is not known, so nobody is told that it is.
    pub(super) fn flush(&mut self) -> Result<(), store::Error> {
        self.conduct()?;
        let started = Instant::now();
        self.commit()?;
        let mut staging = std::mem::take(&mut self.staging);
        self.queues.recent.count(&staging.tally, self.now);
        self.metrics.committed(&mut staging.tally, staging.writes.len(), started.elapsed());
        self.change_live(&mut staging);
        let ended = self.conductor_committed();
        for (worker, outgoing) in staging.outgoing.drain() {
            self.workers.send(worker, outgoing);
        }
        staging.answers.drain(..).for_each(Answer::give);
        self.hub.logged(&staging.logged);
        self.hub.ended(&staging.ended);
        self.hub.ended(&ended);
        self.hub.publish(std::mem::take(&mut staging.events));
        staging.clear();
        self.staging = staging; // its buffers serve the next batch
        self.send_errands();
        Ok(())
    }

    /// One step for all partitions.
    fn commit(&self) -> Result<(), store::Error> {
        let mut parts = Vec::with_capacity(self.staging.writes.parts().len());
        for (partition, writes) in self.staging.writes.parts() {
            let store = self.hosted.store(partition).expect("a partition is flushed before it is closed");
            parts.push(Part { partition: &**store, writes });
        }
        if parts.is_empty() { Ok(()) } else { self.store.commit(&parts) }
    }

    /// Tells everyone who waits for this batch that it failed, and gives back what is still in the inbox.
    pub(super) fn fail(&mut self, error: &Error) {
        self.staging.answers.drain(..).for_each(|answer| answer.fail(error.clone()));
        self.workers.close_all(error);
        self.inbox.close();
        while let Ok(request) = self.inbox.try_recv() {
            request.give_back();
        }
    }

    fn change_live(&mut self, staging: &mut Staging) {
        for change in staging.live.drain(..) {
            match change {
                LiveChange::Start(id, live) => {
                    self.live.insert(id, live);
                }
                LiveChange::Progress(attempt, progress) => {
                    if let Some(mut live) = self.live.get_mut(&wire_id(attempt.task))
                        && live.token == attempt.token
                    {
                        live.progress = Some(progress);
                    }
                }
                LiveChange::CancelRequested(id) => {
                    if let Some(mut live) = self.live.get_mut(&id) {
                        live.cancel_requested = true;
                    }
                }
                LiveChange::Retry(id) => {
                    self.logs.forget(id);
                    self.cache.take(id); // as an earlier record had it
                    let ended = self.live.remove(&id).map(|(_, live)| (live.fixed, live.queue));
                    if let Some((Some(fixed), Some(queue))) = ended {
                        let moving = staging.dirty.get(&id).map(|(_, moving)| Arc::new(moving.clone()));
                        self.cache.insert(id, Waiting { fixed, queue, moving }, self.now);
                    }
                }
                LiveChange::End(id) => {
                    self.logs.forget(id);
                    self.live.remove(&id);
                }
            }
        }
    }
}
