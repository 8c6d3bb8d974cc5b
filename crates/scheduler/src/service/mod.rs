//! The public interface, and what replicas ask of each other (`PeerService`).
//!
//! Every call is brought to the owner of what it is about (`routing`); what is here answers as the owner, and merges
//! what several owners say.

mod dead;
mod dead_reads;
mod explain;
mod explain_steps;
mod explain_text;
mod fires;
mod list;
mod logs;
mod merge;
mod peers;
mod queue_list;
mod queues;
mod reads;
mod retry;
mod scaling;
mod schedule_list;
mod schedule_view;
mod schedules;
mod submit;
mod tasks;
mod view;
mod wait;
mod watch;
mod workflows;

use std::sync::Arc;

use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::Request;

pub(crate) use peers::Peers;
pub(crate) use queues::Queues;
pub(crate) use reads::Reads;
pub(crate) use schedules::Schedules;
pub(crate) use workflows::Workflows;

use crate::{
    clock::Clock,
    config::Settings,
    hub::Hub,
    ownership::Host,
    routing::{Caller, Routes},
    traceparent,
};

/// What the services work with. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Deps {
    /// Who owns what.
    pub(crate) routes: Arc<Routes>,
    /// The loop of this replica.
    pub(crate) host: Host,
    /// Who hears of changes.
    pub(crate) hub: Arc<Hub>,
    /// Reads of the store.
    pub(crate) reads: Reads,
    /// Limits and times.
    pub(crate) settings: Arc<Settings>,
    /// The time.
    pub(crate) clock: Clock,
    /// Sessions and streams.
    pub(crate) tasks: TaskTracker,
    /// Cancelled when streams and long polls have to end.
    pub(crate) closing: CancellationToken,
}

impl Deps {
    /// Takes a call apart: who calls, and what is asked.
    pub(crate) fn caller<M>(&self, request: Request<M>) -> (Caller, M) {
        let (metadata, _, message) = request.into_parts();
        let traceparent = traceparent::current(&metadata);
        (Caller::new(metadata, traceparent), message)
    }
}

/// `mcp.scheduler.v1.TaskService`.
#[derive(Debug, Clone)]
pub(crate) struct Tasks {
    deps: Deps,
}

impl Tasks {
    /// The service.
    pub(crate) fn new(deps: Deps) -> Self {
        Self { deps }
    }
}
