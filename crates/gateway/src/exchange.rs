//! What a request carries on its way through the gateway.

use std::{cell::RefCell, rc::Rc, sync::Arc};

use http::Request;
use tokio::sync::oneshot;

use crate::{body::inbound::Inbound, caller::Caller, routes::facts::Taken, trace::Identity};

/// A request and what is known about it. Layers read and change both; at the end it is sent to an instance.
#[derive(Debug)]
pub(crate) struct Exchange {
    /// The request.
    pub(crate) request: Request<Inbound>,
    /// What is known about it.
    pub(crate) context: Context,
}

/// Tells once that a caller may do what it asks for.
pub(crate) type Admission = Rc<RefCell<Option<oneshot::Sender<()>>>>;

/// What is known about a request besides what it says.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    /// The other end of the caller's connection.
    pub(crate) caller: Rc<Caller>,
    /// The request's place in its trace.
    pub(crate) identity: Identity,
    /// The route that it takes.
    pub(crate) route: Rc<Taken>,
    /// The service whose instances get it, when it is not the one that the path names.
    pub(crate) target: Option<Arc<str>>,
    /// True for a copy that a mirror sends: its caller has not sent it, so it counts against no limit of theirs.
    pub(crate) is_copy: bool,
    /// Whom to tell that the caller may do this, once that is known: a copy waits for it.
    pub(crate) admission: Option<Admission>,
}

impl Context {
    /// The caller may do this.
    pub(crate) fn admit(&self) {
        if let Some(waiting) = self.admission.as_ref().and_then(|admission| admission.take()) {
            // A copy that was given up waits for nothing.
            waiting.send(()).unwrap_or_default();
        }
    }

    /// What is known at the beginning.
    pub(crate) fn new(caller: Rc<Caller>, identity: Identity, route: Rc<Taken>) -> Self {
        identity.takes(&route.tally);
        Self { caller, identity, route, target: None, is_copy: false, admission: None }
    }
}
