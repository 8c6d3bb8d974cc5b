//! The loop: the engine, and around it what makes its decisions durable and carries them out.
//!
//! One thread drains the inbox in batches, applies everything to the engine, makes ONE durable commit, and only then
//! lets go of answers, assignments, acknowledgements and events. Batches grow with load by themselves. When there is
//! nothing to persist, nothing is written.
//!
//! It hosts every partition that this replica owns, a set that changes while it runs (`moves`, `loading`). A request
//! for a partition that is not open here is given back undone. A commit covers all partitions it touches, and each is
//! checked against its fence.
//!
//! Dispatches, progress and the state RUNNING are nowhere on record (except of tasks that run at most once); queries
//! find them in [`LiveTasks`], which changes after commits only. When a commit fails the loop ends: the engine is ahead
//! of the store then, so a new loop is built from what is on record.

mod accept;
mod cache;
mod changes;
mod closing;
mod conduct;
mod dead;
mod driver;
mod effects;
mod entries;
mod explain;
mod handle;
mod hosted;
mod ids;
mod inputs;
mod live;
mod loading;
mod logs;
mod merged_keys;
mod moves;
mod outbox;
mod queues;
mod records;
mod release;
mod request;
mod staging;
#[cfg(test)]
mod tests;
mod workers;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use mcp_engine::{Effect, Engine};
use tokio::sync::mpsc;

pub(crate) use dead::{Letter, Replay, letter_key, letter_prefix};
pub(crate) use driver::{End, Parts, start};
pub(crate) use explain::Explained;
pub(crate) use handle::{Handle, Home};
pub(crate) use live::{Live, LiveTasks, engine_id, wire_id};
pub(crate) use outbox::{Dispatch, Outbox, Outgoing};
pub(crate) use queues::{QueueChange, QueueInfo, QueueLoad};
pub(crate) use request::{Accepted, Ended, Hello, Input, Joined, SessionRef, Submitted};

pub(crate) use crate::clock::wire_time;

use self::{
    cache::Cache, hosted::Hosted, ids::Ids, logs::Logs, queues::Queues, request::Request, staging::Staging,
    workers::Workers,
};
use crate::{
    clock::Clock, conductor::Conductor, config::Settings, hub::Hub, metrics::Metrics, store::Store, validate::Names,
};

/// How often the gauges are set.
const GAUGES_EVERY: Duration = Duration::from_secs(1);

/// The loop's state.
#[derive(Debug)]
struct Shell {
    engine: Engine,
    store: Arc<dyn Store>,
    hosted: Hosted,
    inbox: mpsc::Receiver<Request>,
    hub: Arc<Hub>,
    live: Arc<LiveTasks>,
    metrics: Arc<Metrics>,
    settings: Arc<Settings>,
    clock: Clock,
    /// The time of the request that is being taken.
    now: u64,
    ids: Ids,
    names: Names,
    cache: Cache,
    workers: Workers,
    queues: Queues,
    logs: Logs,
    staging: Staging,
    /// Schedules and workflows. Not there while it acts on the rest.
    conductor: Option<Box<Conductor>>,
    /// A buffer.
    effects: Vec<Effect>,
    gauges_at: Instant,
    /// Something happened since, or may look different by now.
    gauges_stale: bool,
}
