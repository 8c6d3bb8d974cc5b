//! The newest snapshot, as one data-plane thread holds it.

use std::{
    cell::{Ref, RefCell},
    rc::Rc,
    sync::Arc,
};

use tokio::sync::watch;

use super::Snapshot;
use crate::{
    metrics::{Instruments, Methods},
    upstream::Described,
};

/// A snapshot, and what the thread counts of its methods.
#[derive(Debug)]
pub(crate) struct Held {
    /// The snapshot.
    pub(crate) snapshot: Arc<Snapshot>,
    /// Its methods.
    pub(crate) methods: Rc<Methods>,
}

/// Where a thread gets the newest snapshot from.
#[derive(Debug)]
pub(crate) struct Local {
    newest: RefCell<watch::Receiver<Arc<Snapshot>>>,
    held: RefCell<Rc<Held>>,
    instruments: Instruments,
}

impl Local {
    /// Begins with what `newest` has now.
    pub(crate) fn new(mut newest: watch::Receiver<Arc<Snapshot>>, instruments: Instruments) -> Self {
        let snapshot = Arc::clone(&newest.borrow_and_update());
        let methods = Rc::new(Methods::new(&instruments, Arc::clone(&snapshot)));
        let held = Rc::new(Held { snapshot, methods });
        Self { newest: RefCell::new(newest), held: RefCell::new(held), instruments }
    }

    /// The newest snapshot, for one request from its beginning to its end. Costs one atomic load as long as there is
    /// no newer one.
    pub(crate) fn held(&self) -> Rc<Held> {
        self.refresh();
        Rc::clone(&self.held.borrow())
    }

    fn current(&self) -> Ref<'_, Rc<Held>> {
        self.refresh();
        self.held.borrow()
    }

    fn refresh(&self) {
        let mut newest = self.newest.borrow_mut();
        // An error means that there will be no newer one: the gateway stops.
        if newest.has_changed().unwrap_or(false) {
            let snapshot = Arc::clone(&newest.borrow_and_update());
            let methods = Rc::new(Methods::new(&self.instruments, Arc::clone(&snapshot)));
            *self.held.borrow_mut() = Rc::new(Held { snapshot, methods });
        }
    }
}

impl Described for Local {
    fn has_service(&self, name: &str) -> bool {
        self.current().snapshot.has_service(name)
    }
}
