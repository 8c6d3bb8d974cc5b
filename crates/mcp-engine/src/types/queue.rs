//! Queues, the rules that are set for them, and what is told about them.

use std::{collections::BTreeMap, sync::Arc};

use super::Millis;

/// A partition: the tasks of a range of queues, owned and handed over as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Partition(pub u16);

/// A queue in its namespace. Its partition follows from it and never changes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueKey {
    /// The namespace.
    pub namespace: Arc<str>,
    /// The queue.
    pub queue: Arc<str>,
}

/// Whether tasks of a queue are handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Dispatch {
    /// As workers and limits allow.
    #[default]
    Running,
    /// Not at all; what runs goes on.
    Paused {
        /// When it was paused, for people.
        since: Millis,
    },
}

/// Whether a queue takes new tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Intake {
    /// It does.
    #[default]
    Open,
    /// It does not: what it holds is worked off.
    Closed,
}

/// How many tasks may start in a time: a token bucket.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// Tokens that come in each second, above 0. Exact to a millionth of a token; less counts as that.
    pub per_second: f64,
    /// Tokens that may be saved up, at least 1.
    pub burst: u32,
}

/// What is set for a queue. The default limits nothing.
///
/// Limits count attempts that run, those included that may still run after a change of owners. An attempt that is
/// already under way is never refused because of a limit, so that after a limit was lowered more may run than it
/// says; then nothing starts until enough have ended.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct QueueRules {
    /// Whether tasks are handed out.
    pub dispatch: Dispatch,
    /// Whether new tasks are taken.
    pub intake: Intake,
    /// How many attempts of the queue may run at a time.
    pub concurrency_max: Option<u32>,
    /// How many attempts of tasks with the same key may run at a time.
    pub key_concurrency_max: Option<u32>,
    /// How many attempts of the queue may start.
    pub rate: Option<Rate>,
    /// How many attempts of tasks with the same key may start.
    pub key_rate: Option<Rate>,
    /// The keys' shares of what is dispatched while tasks of several keys wait. A key that is not named has share 1, as
    /// have the tasks without a key together, who are named by the empty key.
    pub weights: BTreeMap<Arc<str>, u32>,
    /// Unfinished tasks that the queue may hold; the smaller one of this and
    /// [`Config::queue_len_max`](super::Config::queue_len_max) counts.
    pub len_max: Option<usize>,
}

/// What a queue holds, for metrics and for scaling workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QueueStats {
    /// Its partition.
    pub partition: Partition,
    /// Tasks that are due and wait for a worker, a permit, or the end of the grace.
    pub waiting: usize,
    /// Tasks that wait for their delay.
    pub scheduled: usize,
    /// Tasks with a worker.
    pub running: usize,
    /// Tasks that wait for their backoff.
    pub retrying: usize,
    /// When the task came due that is first in the order of dispatch, whatever its key; `None` when none waits. A task
    /// of a lower priority may wait for longer, by at most ten seconds for each level of priority between the two.
    pub oldest_due: Option<Millis>,
    /// Nothing is handed out.
    pub paused: bool,
    /// Nothing is taken in.
    pub draining: bool,
}
