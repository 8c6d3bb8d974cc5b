//! What those that answer a request have to know of its route.

use std::{ops::Deref, rc::Rc, sync::Arc};

use super::{access::Access, action::Action, upstream::Calls};
use crate::{config::RateLimit, metrics::RouteTally, upstream::policy::Policy};

/// Name of the route that requests take when no other has them.
pub(crate) const DEFAULT_ID: &str = "default";

/// The part of a route that is read where its request is answered.
#[derive(Debug)]
pub(crate) struct RouteFacts {
    /// Its id.
    pub(crate) id: Box<str>,
    /// What happens at the inside of the layers.
    pub(crate) action: Action,
    /// How instances are called.
    pub(crate) calls: Calls,
    /// Who may take it.
    pub(crate) access: Access,
    /// How often callers may call.
    pub(crate) rate_limits: Vec<RateLimit>,
    /// True: fields of a JSON body and parameters of a query that the message does not have are ignored.
    pub(crate) ignore_unknown_fields: bool,
}

impl Default for RouteFacts {
    /// The route that requests take when no other has them.
    fn default() -> Self {
        Self {
            id: DEFAULT_ID.into(),
            action: Action::default(),
            calls: Calls::default(),
            access: Access::default(),
            rate_limits: Vec::new(),
            ignore_unknown_fields: false,
        }
    }
}

impl RouteFacts {
    /// The gRPC service to call in place of the one that a path or an HTTP rule names.
    pub(crate) fn rpc_service(&self) -> Option<&str> {
        match &self.action {
            Action::Forward(forward) => forward.rewrite.as_ref()?.service(),
            Action::Redirect(_) | Action::Respond(_) => None,
        }
    }
}

/// A route as one data-plane thread has it. Requests share it by a count of the thread's own: one that all threads
/// write to would go to and fro between cores with each request.
#[derive(Debug)]
pub(crate) struct Taken {
    facts: Arc<RouteFacts>,
    policy: Option<Rc<Policy>>,
    /// What is counted of it.
    pub(crate) tally: Rc<RouteTally>,
}

impl Taken {
    /// A route for one thread.
    pub(crate) fn new(facts: Arc<RouteFacts>) -> Rc<Self> {
        let policy = facts.calls.policy.as_deref().cloned().map(Rc::new);
        let tally = Rc::new(RouteTally::new(&facts.id));
        Rc::new(Self { facts, policy, tally })
    }

    /// How instances are called; `None`: as the gateway's settings say.
    pub(crate) fn policy(&self) -> Option<&Rc<Policy>> {
        self.policy.as_ref()
    }
}

impl Deref for Taken {
    type Target = RouteFacts;

    fn deref(&self) -> &RouteFacts {
        &self.facts
    }
}
