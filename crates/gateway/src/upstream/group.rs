//! The instances of one gRPC service, and what is remembered about the service as a whole.

use std::{
    cell::{Cell, OnceCell, RefCell},
    rc::Rc,
};

use tokio::time::Instant;

use super::{
    decide::{budget::Budget, ring::Ring, turns::Turns},
    endpoint::Endpoint,
};
use crate::metrics::UpstreamTally;

/// The instances of one gRPC service at one time. A change of the instances makes another.
#[derive(Debug)]
pub(crate) struct Group {
    /// They.
    pub(crate) endpoints: Box<[Rc<Endpoint>]>,
    /// Its calls and their repeats, as long as the service is known.
    pub(crate) budget: Rc<RefCell<Budget>>,
    /// What is counted of its calls.
    pub(crate) tally: Rc<UpstreamTally>,
    /// Whose turn it is, round robin.
    pub(crate) cursor: Cell<usize>,
    /// Whose turn it is, by weight.
    pub(crate) turns: RefCell<Turns>,
    /// Made when first needed.
    ring: OnceCell<Ring>,
}

impl Group {
    /// A service of which nothing is known.
    pub(crate) fn new(tally: UpstreamTally, now: Instant) -> Rc<Self> {
        Self::of(Box::default(), Rc::new(RefCell::new(Budget::new(now))), Rc::new(tally))
    }

    /// The same service with other instances.
    pub(crate) fn with(&self, endpoints: Box<[Rc<Endpoint>]>) -> Rc<Self> {
        Self::of(endpoints, Rc::clone(&self.budget), Rc::clone(&self.tally))
    }

    fn of(endpoints: Box<[Rc<Endpoint>]>, budget: Rc<RefCell<Budget>>, tally: Rc<UpstreamTally>) -> Rc<Self> {
        let (cursor, turns) = (Cell::default(), RefCell::default());
        Rc::new(Self { endpoints, budget, tally, cursor, turns, ring: OnceCell::new() })
    }

    /// The ring of its instances.
    pub(crate) fn ring(&self) -> &Ring {
        self.ring.get_or_init(|| {
            let keys: Vec<_> = self.endpoints.iter().map(|endpoint| (endpoint.key(), endpoint.weight())).collect();
            Ring::new(keys.iter().map(|(key, weight)| (key.as_str(), *weight)))
        })
    }

    /// How many of its instances are ejected, and how many there are.
    pub(crate) fn ejected(&self, now: Instant) -> (usize, usize) {
        let ejected = self.endpoints.iter().filter(|endpoint| endpoint.ejected(now).is_some()).count();
        (ejected, self.endpoints.len())
    }
}
