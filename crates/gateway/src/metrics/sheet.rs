//! What one data-plane thread has counted. It finds its cells here once and keeps them; others come to read.

use std::{
    borrow::Borrow,
    collections::{BTreeMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use super::{
    histogram::{Count, Histogram},
    labels::{Answered, CODES, PROTOCOLS, Packed, Protocol, Verb},
};

/// Most routes, services and methods that are told apart; what comes beyond counts as [`OTHER`].
const ROUTES_MAX: usize = 20_000;
const UPSTREAMS_MAX: usize = 10_000;
const METHODS_MAX: usize = 10_000;

/// Most kinds of answers of one route that are told apart.
const ANSWERS_MAX: usize = 64;

/// Routes that are gone may stay on the sheet until there are so many more than routes.
const FORMER_MAX: usize = 1_000;

/// Label of whatever is not told apart.
pub(super) const OTHER: &str = "other";

/// Cells by name.
type Table<K, V> = Mutex<BTreeMap<K, Arc<V>>>;

/// Everything that one thread counts for each request.
#[derive(Debug, Default)]
pub(crate) struct Sheet {
    pub(super) routes: Table<Box<str>, RouteCells>,
    pub(super) upstreams: Table<Box<str>, UpstreamCells>,
    pub(super) methods: Table<(Box<str>, Box<str>), MethodCells>,
}

/// Of one route.
#[derive(Debug, Default)]
pub(super) struct RouteCells {
    /// By protocol.
    pub(super) durations: [OnceLock<Box<Histogram>>; PROTOCOLS],
    pub(super) answers: Mutex<BTreeMap<Packed, (Answered, Arc<Count>)>>,
}

/// Of one gRPC service, as instances are called.
#[derive(Debug, Default)]
pub(super) struct UpstreamCells {
    pub(super) duration: Histogram,
    /// By gRPC status.
    pub(super) codes: [Count; CODES],
}

/// Of one method.
#[derive(Debug, Default)]
pub(super) struct MethodCells {
    /// By protocol and gRPC status.
    pub(super) durations: [[OnceLock<Box<Histogram>>; CODES]; PROTOCOLS],
}

/// Cells that other threads read, and no thread keeps locked for long.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The cells of `key`, or those of `other` when the table is full.
fn find<K, Q, V>(table: &Table<K, V>, key: &Q, max: usize, other: impl FnOnce() -> K) -> Arc<V>
where
    K: Ord + Borrow<Q> + for<'q> From<&'q Q>,
    Q: Ord + ?Sized,
    V: Default,
{
    let mut table = lock(table);
    if let Some(cells) = table.get(key) {
        return Arc::clone(cells);
    }
    let key = if table.len() < max { K::from(key) } else { other() };
    Arc::clone(table.entry(key).or_default())
}

impl Sheet {
    /// The cells of a route.
    pub(super) fn route(&self, id: &str) -> Arc<RouteCells> {
        find(&self.routes, id, ROUTES_MAX, || OTHER.into())
    }

    /// The cells of a gRPC service.
    pub(super) fn upstream(&self, service: &str) -> Arc<UpstreamCells> {
        find(&self.upstreams, service, UPSTREAMS_MAX, || OTHER.into())
    }

    /// The cells of a method.
    pub(super) fn method(&self, service: &str, name: &str) -> Arc<MethodCells> {
        let mut methods = lock(&self.methods);
        let key = (service.into(), name.into());
        let has_room = methods.len() < METHODS_MAX || methods.contains_key(&key);
        let key = if has_room { key } else { (OTHER.into(), OTHER.into()) };
        Arc::clone(methods.entry(key).or_default())
    }

    /// Forgets routes that are gone, once there are many of them. `ids` are those that there are, `count` of them.
    pub(crate) fn forget_routes<'i>(&self, count: usize, ids: impl FnOnce() -> HashSet<&'i str>) {
        let mut routes = lock(&self.routes);
        if routes.len() > count + FORMER_MAX {
            let ids = ids();
            routes.retain(|id, _| ids.contains(&**id));
        }
    }
}

impl RouteCells {
    /// The count of a kind of answer.
    pub(super) fn answer(&self, answered: Answered) -> Arc<Count> {
        let mut answers = lock(&self.answers);
        let has_room = answers.len() < ANSWERS_MAX || answers.contains_key(&answered.packed());
        let other = Answered { protocol: Protocol::Http, verb: Verb::Other, status: 0, code: None };
        let answered = if has_room { answered } else { other };
        let (_, count) = answers.entry(answered.packed()).or_insert_with(|| (answered, Arc::default()));
        Arc::clone(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_sheet_counts_what_comes_as_other() {
        let sheet = Sheet::default();
        for index in 0..UPSTREAMS_MAX + 10 {
            sheet.upstream(&format!("s{index}")).codes[0].add(1);
        }
        let upstreams = lock(&sheet.upstreams);
        assert_eq!(upstreams.len(), UPSTREAMS_MAX + 1);
        assert_eq!(upstreams[OTHER].codes[0].get(), 10);
    }

    #[test]
    fn a_route_has_so_many_kinds_of_answers() {
        let cells = RouteCells::default();
        for status in 0..600 {
            let answered = Answered { protocol: Protocol::Json, verb: Verb::Get, status, code: None };
            cells.answer(answered).add(1);
        }
        assert_eq!(lock(&cells.answers).len(), ANSWERS_MAX + 1);
    }

    #[test]
    fn routes_that_are_gone_are_forgotten_when_they_are_many() {
        let sheet = Sheet::default();
        for index in 0..=FORMER_MAX {
            drop(sheet.route(&format!("r{index}")));
        }
        sheet.forget_routes(1, || HashSet::from(["r7"]));
        assert_eq!(lock(&sheet.routes).len(), FORMER_MAX + 1, "they are not that many");
        sheet.forget_routes(0, || HashSet::from(["r7"]));
        assert_eq!(lock(&sheet.routes).keys().map(|id| &**id).collect::<Vec<_>>(), ["r7"]);
    }
}
