//! Why a task is where it is: the engine's reasons, with the names of the workers in them.

use std::{collections::HashMap, sync::Arc};

use mcp_engine::{Explanation, Reason, Saturation, WorkerId};
use mcp_proto::{TaskId, scheduler::v1::TaskState};

use super::{
    Shell,
    changes::wire_state,
    handle::Home,
    live::engine_id,
    request::{Reply, Request},
    staging::Answer,
};
use crate::error::Error;

/// A task to explain.
#[derive(Debug)]
pub(super) struct Explain {
    id: TaskId,
    /// `None` when no unfinished task has this id.
    reply: Reply<Option<Explained>>,
}

impl Explain {
    /// Answers that nothing is known here.
    pub(super) fn give_back(self) {
        drop(self.reply.send(Err(Error::NotOwner)));
    }
}

/// Why an unfinished task is where it is.
#[derive(Debug, Clone)]
pub(crate) struct Explained {
    /// Where it stands.
    pub(crate) state: TaskState,
    /// The reasons, what blocks first coming first; never empty.
    pub(crate) reasons: Vec<Reason>,
    /// When time alone changes something next, milliseconds since 1970.
    pub(crate) next_change: Option<u64>,
    /// The workers that the reasons name.
    pub(crate) workers: HashMap<WorkerId, Arc<str>>,
    /// The time of the loop.
    pub(crate) now: u64,
}

impl Shell {
    /// Explains a task as the batch leaves it, once the batch is durable.
    pub(super) fn explain(&mut self, explain: Explain) {
        let Explain { id, reply } = explain;
        if !self.hosted.has(id) {
            drop(reply.send(Err(Error::NotOwner)));
            return;
        }
        let explained = self.engine.explain(engine_id(id)).map(|explanation| {
            let Explanation { state, reasons, next_change } = explanation;
            let workers = reasons.iter().flat_map(workers_of).map(|worker| (worker, self.workers.id(worker)));
            Explained { state: wire_state(state), workers: workers.collect(), next_change, reasons, now: self.now }
        });
        self.staging.answers.push(Answer::of(reply, explained));
    }
}

fn workers_of(reason: &Reason) -> Vec<WorkerId> {
    let holders = |saturation: &Saturation| saturation.holders.iter().map(|holder| holder.worker).collect();
    match reason {
        Reason::QueueConcurrency(saturation) | Reason::KeyConcurrency { saturation, .. } => holders(saturation),
        Reason::WorkersBusy { some, .. } => some.clone(),
        Reason::MakingRoom { worker } | Reason::Running { worker, .. } => vec![*worker],
        Reason::Cancelling { worker } => worker.iter().copied().collect(),
        Reason::Delayed { .. }
        | Reason::BackingOff { .. }
        | Reason::Grace { .. }
        | Reason::QueuePaused { .. }
        | Reason::QueueRate { .. }
        | Reason::KeyRate { .. }
        | Reason::NoWorkers
        | Reason::NoWorkerMatches { .. }
        | Reason::Behind { .. }
        | Reason::FairShare { .. }
        | Reason::Ready => Vec::new(),
    }
}

impl Home {
    /// Why a task of this partition is where it is; `None` when no unfinished task has this id.
    ///
    /// # Errors
    /// Overloaded; [`Error::NotOwner`].
    pub(crate) async fn explain(&self, id: TaskId) -> Result<Option<Explained>, Error> {
        self.ask(|reply| Request::Explain(Explain { id, reply })).await
    }
}
