//! What a worker is made of.

use std::time::Duration;

use uuid::Uuid;

use crate::discovery::Discovery;

/// Most slots that a worker may have; a scheduler refuses one that claims more attempts than twice as many.
pub const SLOTS_MAX: usize = 10_000;

/// Slots of a worker that says nothing else.
const SLOTS_DEFAULT: usize = 4;
/// How long running attempts may go on after the stop signal.
const DRAIN_GRACE_DEFAULT: Duration = Duration::from_secs(25);
/// First wait before a broken session is opened again, before jitter.
const RECONNECT_MIN_DEFAULT: Duration = Duration::from_millis(100);
/// Longest wait before a broken session is opened again, before jitter.
const RECONNECT_MAX_DEFAULT: Duration = Duration::from_secs(10);

/// Where the schedulers are.
#[derive(Debug, Clone)]
pub enum Schedulers {
    /// These URLs, `http://host:port`, each a scheduler replica or a gateway, which passes the session on to one.
    Fixed(Vec<String>),
    /// The instances of service `scheduler`, as they come and go.
    Discovered(Discovery),
}

/// What a worker tells the schedulers and how it behaves.
#[derive(Debug, Clone)]
pub struct WorkerOptions {
    /// The same in each of its sessions; by default a new UUID.
    pub worker_id: Uuid,
    /// Name for people.
    pub name: String,
    /// Version of the worker's program.
    pub version: String,
    /// Attempts it runs at the same time, 1 to [`SLOTS_MAX`]. With more replicas than slots, a replica may get no
    /// credit while others hold them all, so have at least as many slots as there are replicas.
    pub slots: usize,
    /// Namespaces it serves; none means every one.
    pub namespaces: Vec<String>,
    /// Queues it serves in them; none means every one.
    pub queues: Vec<String>,
    /// How long running attempts may go on after the stop signal before they are handed back.
    pub drain_grace: Duration,
    /// First wait before a broken session is opened again; it doubles, and the wait is drawn between 0 and it.
    pub reconnect_min: Duration,
    /// Longest wait before a broken session is opened again; a quarter of the scheduler's lease when that is shorter,
    /// so that running attempts are claimed in time.
    pub reconnect_max: Duration,
}

impl Default for WorkerOptions {
    fn default() -> Self {
        Self {
            worker_id: Uuid::now_v7(),
            name: String::new(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            slots: SLOTS_DEFAULT,
            namespaces: Vec::new(),
            queues: Vec::new(),
            drain_grace: DRAIN_GRACE_DEFAULT,
            reconnect_min: RECONNECT_MIN_DEFAULT,
            reconnect_max: RECONNECT_MAX_DEFAULT,
        }
    }
}
