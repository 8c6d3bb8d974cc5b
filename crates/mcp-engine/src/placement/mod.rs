//! Which worker a task is given to: filter, score, bind.
//!
//! A [`Filter`] says whether a worker can run the tasks of a bucket at all, from what never changes within its session;
//! it is asked once for each bucket and each kind of worker. A [`Score`] chooses among the workers that have room at
//! the moment. Binding is the engine's: it takes the slot and starts the attempt. To add a rule, write a filter or a
//! score and name it here.

mod filter;
mod score;

pub(crate) use self::score::Offer;
use crate::types::{Mismatch, Placement, QueueKey, Resources, Strategy, WorkKind, WorkerSpec};

/// What the tasks of a bucket ask for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ask<'a> {
    pub(crate) queue: &'a QueueKey,
    pub(crate) kind: &'a WorkKind,
    pub(crate) placement: Option<&'a Placement>,
}

/// A rule about which workers can run a task.
trait Filter: Sync {
    /// Whether a worker passes; if not, on what it fails.
    fn check(&self, ask: &Ask<'_>, worker: &WorkerSpec) -> Result<(), Mismatch>;
}

/// A rule about which worker is the best. All of them have room.
trait Score: Sync {
    /// Higher is better.
    fn score(&self, request: Resources, offer: &Offer) -> i64;
}

/// Every filter, the most general first.
const FILTERS: &[&dyn Filter] = &[&filter::Serves, &filter::Labels, &filter::Taints, &filter::Capacity];

/// Whether a worker can run the tasks of a bucket, if not now then when it is free; if not, on what it fails first.
pub(crate) fn check(ask: &Ask<'_>, worker: &WorkerSpec) -> Result<(), Mismatch> {
    FILTERS.iter().try_for_each(|filter| filter.check(ask, worker))
}

/// How good a worker with room is; `None` leaves it to the order in which they are looked at.
pub(crate) fn score(placement: &Placement, offer: &Offer) -> i64 {
    let score: &dyn Score = match placement.strategy {
        None => return 0,
        Some(Strategy::BinPack) => &score::BinPack,
        Some(Strategy::Spread) => &score::Spread,
        Some(Strategy::LeastLoaded) => &score::LeastLoaded,
    };
    score.score(placement.request, offer)
}

/// What is left of `free` when `request` is taken out; `None` when there is not enough.
pub(crate) fn left(free: Resources, request: Resources) -> Option<Resources> {
    Some(Resources {
        cpu_millis: free.cpu_millis.checked_sub(request.cpu_millis)?,
        memory_bytes: free.memory_bytes.checked_sub(request.memory_bytes)?,
    })
}

/// Both together.
pub(crate) const fn sum(a: Resources, b: Resources) -> Resources {
    Resources {
        cpu_millis: a.cpu_millis.saturating_add(b.cpu_millis),
        memory_bytes: a.memory_bytes.saturating_add(b.memory_bytes),
    }
}

/// What is left, which may be nothing.
pub(crate) const fn difference(a: Resources, b: Resources) -> Resources {
    Resources {
        cpu_millis: a.cpu_millis.saturating_sub(b.cpu_millis),
        memory_bytes: a.memory_bytes.saturating_sub(b.memory_bytes),
    }
}

/// How much of a capacity is free, in thousandths; the scarcer of cpu and memory counts. 0 without a capacity.
pub(crate) fn room(free: Resources, capacity: Resources) -> u32 {
    let part = |free: u64, of: u64| (of > 0).then(|| u128::from(free) * 1_000 / u128::from(of));
    let parts = [part(free.cpu_millis, capacity.cpu_millis), part(free.memory_bytes, capacity.memory_bytes)];
    let least = parts.into_iter().flatten().min().unwrap_or(0);
    u32::try_from(least).unwrap_or(u32::MAX)
}
