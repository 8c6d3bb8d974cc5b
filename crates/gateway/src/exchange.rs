//! What a request carries on its way through the gateway.

use std::{rc::Rc, sync::Arc};

use http::Request;

use crate::{body::inbound::Inbound, caller::Caller, routes::facts::Taken, trace::Identity};

/// A request and what is known about it. Layers read and change both; at the end it is sent to an instance.
#[derive(Debug)]
pub(crate) struct Exchange {
    /// The request.
    pub(crate) request: Request<Inbound>,
    /// What is known about it.
    pub(crate) context: Context,
}

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
}

impl Context {
    /// What is known at the beginning.
    pub(crate) fn new(caller: Rc<Caller>, identity: Identity, route: Rc<Taken>) -> Self {
        Self { caller, identity, route, target: None }
    }
}
