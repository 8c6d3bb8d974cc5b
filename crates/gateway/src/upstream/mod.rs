//! Instances and the connections to them, for one data-plane thread. Nothing here is shared with another thread, so
//! nothing is locked.
//!
//! A call names a service and a [`Policy`]. `choose` picks an instance, `call` sends the request and, where it may,
//! sends it again; `lease` tells the instance's `endpoint` how the call ended. The rules by which that is done are in
//! `decide`. What is known about an instance belongs to the instance: it is the same for every route and stays when
//! routes change.

mod call;
mod choose;
mod connection;
mod decide;
mod dice;
mod endpoint;
mod group;
mod inspect;
mod lease;
pub mod policy;
mod refusal;
mod repeat;
mod stream;
mod view;

use std::{cell::RefCell, collections::HashMap, rc::Rc};

use mcp_client::discovery::Instances;
use mcp_proto::Error;
use tokio::time::Instant;

use self::{
    call::Means,
    dice::Dice,
    endpoint::Endpoint,
    group::Group,
    repeat::Spares,
    view::{EndpointView, ServiceView},
};
pub(crate) use self::{
    call::{Answer, Outgoing},
    connection::LocalExecutor,
    endpoint::Surroundings,
    inspect::{Inspector, Question},
    lease::Lease,
    policy::{Policy, Priority},
    stream::Download,
    view::View,
};
use crate::{body::kept::Room, metrics::UpstreamTally};

/// Services without an instance that are remembered, so that they are told apart from names that never existed.
const FORMER_MAX: usize = 10_000;

/// Instances by the full name of the gRPC service that they serve.
type Services = HashMap<String, Rc<Group>>;

/// The instances of every gRPC service.
#[derive(Debug)]
pub(crate) struct Upstreams {
    /// `None` before discovery has told any.
    services: RefCell<Option<Services>>,
    /// Services that the gateway knows by their descriptors, whether or not they run.
    described: Rc<dyn Described>,
    surroundings: Surroundings,
    policy: Rc<Policy>,
    means: Means,
}

/// Which services exist whether or not an instance is registered.
pub(crate) trait Described: std::fmt::Debug {
    /// True when there is a service of this full name.
    fn has_service(&self, name: &str) -> bool;
}

impl Upstreams {
    /// No instance is known before the first [`update`](Self::update).
    pub(crate) fn new(surroundings: Surroundings, policy: Policy, described: Rc<dyn Described>) -> Self {
        let means = Means {
            dice: Dice::new(),
            room: Room::new(surroundings.settings.repeat_bytes_max),
            spares: Spares::default(),
            instruments: surroundings.instruments.clone(),
        };
        Self { services: RefCell::default(), described, surroundings, policy: Rc::new(policy), means }
    }

    /// What calls without a route go by.
    pub(crate) fn policy(&self) -> &Rc<Policy> {
        &self.policy
    }

    /// Takes over what discovery knows. Connections to instances that stay are kept, and what is known about them;
    /// connections to those that went close by themselves when the last call on them ends.
    pub(crate) fn update(&self, instances: &Instances) {
        let now = Instant::now();
        let mut services = self.services.borrow_mut();
        let before = services.take().unwrap_or_default();
        let mut known: HashMap<String, Rc<Endpoint>> = HashMap::new();
        for endpoint in before.values().flat_map(|group| group.endpoints.iter()) {
            known.insert(endpoint.key(), Rc::clone(endpoint));
        }
        let mut after = Services::new();
        for name in instances.names() {
            let endpoints = instances.by_name(&name).iter().filter_map(|record| {
                let kept = known.get(&endpoint::key(record)).filter(|endpoint| endpoint.is_for(record));
                let endpoint = match kept {
                    Some(endpoint) => {
                        endpoint.refresh(record);
                        Rc::clone(endpoint)
                    }
                    None => Endpoint::new(record, self.surroundings.clone())?,
                };
                known.insert(endpoint.key(), Rc::clone(&endpoint));
                Some(endpoint)
            });
            let known = before.get(&name).map(Rc::clone);
            let group = known
                .unwrap_or_else(|| Group::new(UpstreamTally::new(&self.surroundings.instruments.sheet, &name), now));
            after.insert(name, group.with(endpoints.collect()));
        }
        for (name, group) in before {
            if after.len() < FORMER_MAX {
                after.entry(name).or_insert_with(|| group.with(Box::default()));
            }
        }
        *services = Some(after);
    }

    /// Sends a request to an instance and waits for the head of its answer.
    ///
    /// When an instance cannot be reached, nothing was sent, and another one is tried. When one was sent it in vain,
    /// it is sent again if the policy says so.
    ///
    /// # Errors
    /// `SERVICE_NOT_FOUND`, `NO_INSTANCE`, `COORDINATION_UNAVAILABLE`, `OVERLOADED`, `UNAVAILABLE`: nothing was done.
    /// `UPSTREAM_FAILED`: the instance broke off. `DEADLINE_EXCEEDED`.
    ///
    /// # Cancellation
    /// Dropping the future resets the stream, so that the instance stops too.
    pub(crate) async fn call(&self, outgoing: Outgoing<'_>) -> Result<Answer, Error> {
        let group = self.group(outgoing.service)?;
        call::call(&self.means, group, outgoing).await
    }

    /// What is known about the instances now.
    pub(crate) fn view(&self) -> View {
        let now = Instant::now();
        let services = self.services.borrow();
        let mut view = View::default();
        for (name, group) in services.iter().flatten() {
            view.services.insert(name.clone(), ServiceView::of(group, now));
            for endpoint in &group.endpoints {
                view.endpoints.entry(endpoint.key()).or_insert_with(|| EndpointView::of(endpoint, now));
            }
        }
        view
    }

    fn group(&self, service: &str) -> Result<Rc<Group>, Error> {
        let services = self.services.borrow();
        let Some(services) = services.as_ref() else {
            return Err(refusal::not_synced());
        };
        match services.get(service) {
            Some(group) if !group.endpoints.is_empty() => Ok(Rc::clone(group)),
            Some(_) => Err(refusal::no_instance(service, &[])),
            None if self.described.has_service(service) => Err(refusal::no_instance(service, &[])),
            None => Err(refusal::unknown(service)),
        }
    }
}
