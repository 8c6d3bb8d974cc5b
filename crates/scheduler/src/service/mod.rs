//! The public interface: `TaskService`.

mod follow;
mod list;
mod reads;
mod tasks;
mod traceparent;
mod view;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

pub(crate) use reads::Reads;

use crate::{clock::Clock, config::Settings, hub::Hub, partition::Partition};

/// What the services work with. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Deps {
    /// The partition.
    pub(crate) partition: Arc<Partition>,
    /// Who hears of changes.
    pub(crate) hub: Arc<Hub>,
    /// Reads of the store.
    pub(crate) reads: Reads,
    /// Limits and times.
    pub(crate) settings: Arc<Settings>,
    /// The time.
    pub(crate) clock: Clock,
    /// Cancelled when streams and long polls have to end.
    pub(crate) closing: CancellationToken,
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
