//! What is counted of a method, as one data-plane thread knows it.

use std::{
    cell::{OnceCell, RefCell},
    collections::HashMap,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use super::{
    histogram::Mark,
    instruments::{Instruments, Pushed},
    labels::Protocol,
    sheet::{MethodCells, OTHER, Sheet},
};
use crate::descriptors::Snapshot;

/// A method as one data-plane thread knows it.
#[derive(Debug)]
pub(crate) struct Method {
    /// Full name of its service, or `other`.
    pub(crate) service: Arc<str>,
    /// Its name, or `other`.
    pub(crate) name: Arc<str>,
    /// True when an answer may take its time because the caller asked for that, so that its latency tells nothing.
    pub(crate) waits: bool,
    /// True when a call may be carried out more than once.
    pub(crate) safe: bool,
    /// Found on its first call.
    cells: OnceCell<Arc<MethodCells>>,
}

impl Method {
    fn new(service: &str, name: &str, (waits, safe): (bool, bool)) -> Self {
        Self { service: service.into(), name: name.into(), waits, safe, cells: OnceCell::new() }
    }
}

/// The known methods, for one data-plane thread. Those that are called are kept; a new snapshot begins anew.
#[derive(Debug)]
pub(crate) struct Methods {
    sheet: Arc<Sheet>,
    pushed: Option<Pushed>,
    snapshot: Arc<Snapshot>,
    by_path: RefCell<HashMap<String, Rc<Method>>>,
    other: Rc<Method>,
}

impl Methods {
    /// The methods of a snapshot.
    pub(crate) fn new(instruments: &Instruments, snapshot: Arc<Snapshot>) -> Self {
        Self {
            sheet: Arc::clone(&instruments.sheet),
            pushed: instruments.pushed.clone(),
            snapshot,
            by_path: RefCell::default(),
            other: Rc::new(Method::new(OTHER, OTHER, (false, false))),
        }
    }

    /// The method at `/package.Service/Method`; the stand-in for all others when no descriptor names it.
    pub(crate) fn get(&self, path: &str) -> Rc<Method> {
        if let Some(method) = self.by_path.borrow().get(path) {
            return Rc::clone(method);
        }
        let Some((service, facts)) = self.snapshot.method(path) else {
            return Rc::clone(&self.other);
        };
        let name = facts.by_name.rpc.name();
        let method = Rc::new(Method::new(service.name(), name, (facts.waits, facts.safe)));
        self.by_path.borrow_mut().insert(path.to_owned(), Rc::clone(&method));
        method
    }

    /// Counts a call.
    pub(crate) fn record(
        &self,
        method: &Method,
        (protocol, code): (Protocol, tonic::Code),
        duration: Duration,
        mark: Mark,
    ) {
        let cells = method.cells.get_or_init(|| self.sheet.method(&method.service, &method.name));
        let cell = &cells.durations[protocol as usize][code as usize];
        cell.get_or_init(Box::default).record(duration, mark);
        if let Some(pushed) = &self.pushed {
            pushed.record((&method.service, &method.name), (protocol, code), duration);
        }
    }
}
