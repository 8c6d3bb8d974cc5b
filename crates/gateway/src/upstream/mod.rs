//! Instances and the connections to them, for one data-plane thread. Nothing here is shared with another thread, so
//! nothing is locked.

mod balance;
mod connection;
mod endpoint;
mod load;

use std::{cell::RefCell, collections::HashMap, rc::Rc, time::Duration};

use http::{Request, Response};
use hyper::body::Incoming;
use mcp_client::discovery::Instances;
use mcp_proto::{Code, Error, partition};
use tokio::time::Instant;

use self::{
    balance::{Dice, TRIES_MAX, Tried},
    endpoint::{Endpoint, Unreachable},
};
pub(crate) use self::{connection::LocalExecutor, endpoint::Lease};
use crate::{body::forward::Forward, config::UpstreamSettings, ending, metrics::Instruments};

/// Services without an instance that are remembered, so that they are told apart from names that never existed.
const FORMER_MAX: usize = 10_000;

/// When a caller should come back if there is no better advice.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Instances by the full name of the gRPC service that they serve.
type Services = HashMap<String, Rc<[Rc<Endpoint>]>>;

/// The instances of every gRPC service.
#[derive(Debug)]
pub(crate) struct Upstreams {
    /// `None` before discovery has told any.
    services: RefCell<Option<Services>>,
    /// Services that the gateway knows by their descriptors, whether or not they run.
    described: Rc<dyn Described>,
    settings: Rc<UpstreamSettings>,
    instruments: Instruments,
    dice: Dice,
}

/// Which services exist whether or not an instance is registered.
pub(crate) trait Described: std::fmt::Debug {
    /// True when there is a service of this full name.
    fn has_service(&self, name: &str) -> bool;
}

impl Upstreams {
    /// No instance is known before the first [`update`](Self::update).
    pub(crate) fn new(settings: Rc<UpstreamSettings>, instruments: Instruments, described: Rc<dyn Described>) -> Self {
        Self { services: RefCell::default(), described, settings, instruments, dice: Dice::new() }
    }

    /// Takes over what discovery knows. Connections to instances that stay are kept; those to instances that went
    /// close by themselves when the last call on them ends.
    pub(crate) fn update(&self, instances: &Instances) {
        let mut services = self.services.borrow_mut();
        let before = services.take().unwrap_or_default();
        let mut known: HashMap<String, Rc<Endpoint>> = HashMap::new();
        for endpoint in before.values().flat_map(|endpoints| endpoints.iter()) {
            known.insert(endpoint.key(), Rc::clone(endpoint));
        }
        let mut after = Services::new();
        for name in instances.grpc_services() {
            let endpoints = instances.by_grpc_service(name).iter().filter_map(|record| {
                let kept = known.get(&endpoint::key(record)).filter(|endpoint| endpoint.is_for(record));
                let endpoint = match kept {
                    Some(endpoint) => {
                        endpoint.refresh(record);
                        Rc::clone(endpoint)
                    }
                    None => Endpoint::new(record, Rc::clone(&self.settings), self.instruments.clone())?,
                };
                known.insert(endpoint.key(), Rc::clone(&endpoint));
                Some(endpoint)
            });
            after.insert(name.to_owned(), endpoints.collect());
        }
        for name in before.into_keys() {
            if after.len() < FORMER_MAX {
                after.entry(name).or_default();
            }
        }
        *services = Some(after);
    }

    /// Sends a request to an instance of `service` and waits for the head of its answer.
    ///
    /// When an instance cannot be reached, nothing was sent, and another one is tried.
    ///
    /// # Errors
    /// `SERVICE_NOT_FOUND`, `NO_INSTANCE`, `COORDINATION_UNAVAILABLE`, `OVERLOADED`, `UNAVAILABLE`: nothing was done.
    /// `UPSTREAM_FAILED`: the instance broke off.
    ///
    /// # Cancellation
    /// Dropping the future resets the stream, so that the instance stops too.
    pub(crate) async fn call(
        &self,
        service: &str,
        mut request: Request<Forward>,
        measured: bool,
    ) -> Result<(Response<Incoming>, Lease), Error> {
        let endpoints = self.endpoints(service)?;
        let key = request.headers().get(partition::KEY_METADATA).and_then(|key| key.to_str().ok());
        let home = key.and_then(partition::home_of_key);
        let mut tried = Tried::default();
        let mut full = false;
        for _ in 0..TRIES_MAX {
            let Some(index) = balance::pick(&endpoints, &tried, home, &self.dice) else {
                break;
            };
            let lease = match endpoints[index].lease(measured).await {
                Ok(lease) => lease,
                Err(unreachable) => {
                    full |= matches!(unreachable, Unreachable::Full);
                    tried.add(index);
                    continue;
                }
            };
            request = match lease.send(request).await {
                Ok(response) => {
                    lease.answered();
                    return Ok((response, lease));
                }
                Err((_, Some(unsent))) => unsent,
                Err((error, None)) => {
                    lease.failed();
                    return Err(ending::failure(&error));
                }
            };
        }
        Err(if full { overloaded(service) } else { no_instance(service, &endpoints) })
    }

    fn endpoints(&self, service: &str) -> Result<Rc<[Rc<Endpoint>]>, Error> {
        let services = self.services.borrow();
        let Some(services) = services.as_ref() else {
            let text = "the gateway has not yet learned which services there are";
            return Err(Error::new(Code::CoordinationUnavailable, text).with_retry_after(RETRY_AFTER));
        };
        match services.get(service) {
            Some(endpoints) if !endpoints.is_empty() => Ok(Rc::clone(endpoints)),
            Some(_) => Err(no_instance(service, &[])),
            None if self.described.has_service(service) => Err(no_instance(service, &[])),
            None => Err(Error::new(Code::ServiceNotFound, format!("no instance of `{service}` is registered"))
                .with_metadata("service", service)),
        }
    }
}

fn no_instance(service: &str, endpoints: &[Rc<Endpoint>]) -> Error {
    let now = Instant::now();
    let wait = endpoints.iter().filter_map(|endpoint| endpoint.backing_off(now)).min().unwrap_or(RETRY_AFTER);
    let text = match endpoints.len() {
        0 => format!("no instance of `{service}` is registered now"),
        1 => format!("the only instance of `{service}` cannot be reached"),
        count => format!("none of the {count} instances of `{service}` can be reached"),
    };
    Error::new(Code::NoInstance, text).with_metadata("service", service).with_retry_after(wait)
}

fn overloaded(service: &str) -> Error {
    Error::new(Code::Overloaded, format!("too many calls of `{service}` are in flight"))
        .with_metadata("service", service)
        .with_retry_after(RETRY_AFTER)
}
