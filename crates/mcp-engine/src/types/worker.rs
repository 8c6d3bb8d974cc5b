//! Workers: what they serve and offer, and what a task asks of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{TaskId, Token};

/// A worker, across its sessions; the shell gives each worker id of the wire a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkerId(pub u64);

/// What a worker must be able to do to run a task.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WorkKind {
    /// Run a program.
    Process,
    /// Call the function registered under this name.
    Handler(Arc<str>),
}

/// What a worker has to give, or what a task asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Resources {
    /// Thousandths of a processor.
    pub cpu_millis: u64,
    /// Bytes of memory.
    pub memory_bytes: u64,
}

/// A mark that keeps tasks away which do not tolerate it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Taint {
    /// What it is about.
    pub key: Arc<str>,
    /// Which one.
    pub value: Arc<str>,
}

/// What a worker serves and offers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct WorkerSpec {
    /// Namespaces; empty means every one.
    pub namespaces: BTreeSet<Arc<str>>,
    /// Queues in them; empty means every one.
    pub queues: BTreeSet<Arc<str>>,
    /// True when it runs programs.
    pub processes: bool,
    /// Functions it registered.
    pub handlers: BTreeSet<Arc<str>>,
    /// What can be said about it.
    pub labels: BTreeMap<Arc<str>, Arc<str>>,
    /// Only tasks that tolerate every one of these are given to it.
    pub taints: BTreeSet<Taint>,
    /// What its attempts may ask for together; tasks that ask for nothing are not counted. What is 0 is not there.
    pub capacity: Resources,
}

/// An attempt that a worker says it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunningAttempt {
    /// The task.
    pub task: TaskId,
    /// The attempt's token.
    pub token: Token,
}

/// How a label is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operator {
    /// The label is there and has one of the values.
    In,
    /// The label is not there or has none of the values.
    NotIn,
    /// The label is there.
    Exists,
    /// The label is not there.
    DoesNotExist,
    /// The label is a whole number above the first value.
    Gt,
    /// The label is a whole number below the first value.
    Lt,
}

/// What a worker's labels must be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LabelRule {
    /// The label.
    pub key: Arc<str>,
    /// How it is compared.
    pub operator: Operator,
    /// With what; what the operator does not need is left aside.
    pub values: Vec<Arc<str>>,
}

/// A taint that does not matter to a task.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Toleration {
    /// What the taint is about.
    pub key: Arc<str>,
    /// Which one; `None` is every one.
    pub value: Option<Arc<str>>,
}

/// Which of the workers with room gets a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Strategy {
    /// The one that is left with the least room: others stay free for large tasks.
    BinPack,
    /// The one with the fewest attempts.
    Spread,
    /// The one that is left with the most room.
    LeastLoaded,
}

/// What a task asks of its worker, beside being served by it. The default asks for nothing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Placement {
    /// What its labels must be, all of them.
    pub rules: Vec<LabelRule>,
    /// Which taints do not matter.
    pub tolerations: Vec<Toleration>,
    /// How much of its capacity must be free.
    pub request: Resources,
    /// Which of the workers with room gets it; `None` leaves it to the engine.
    pub strategy: Option<Strategy>,
    /// When no worker that matches has room, a running attempt of a lower priority is stopped to make some.
    pub preempt: bool,
}
