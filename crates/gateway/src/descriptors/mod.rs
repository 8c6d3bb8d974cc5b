//! What the gateway knows of services from their descriptors: methods, messages, HTTP routes.
//!
//! It begins with the platform's own descriptors. Every other service that registers is asked by gRPC server
//! reflection ([`reflection`]): all its files from one instance on one stream, so that no two builds are mixed.
//! [`catalog`] decides whom to ask and when, and never forgets what is known of a service because asking again failed;
//! [`follow`] carries that out on the control plane. The outcome is an immutable [`Snapshot`]; data-plane threads take
//! the newest one over through [`local`], and a request works on one from its beginning to its end. What people are shown
//! is [`derived`] from the services that are [`live`].
//!
//! A service without reflection is still proxied as gRPC, which needs no descriptor.

pub(crate) mod catalog;
pub(crate) mod derived;
pub(crate) mod follow;
pub(crate) mod identity;
pub(crate) mod live;
pub(crate) mod local;
mod reflection;
pub(crate) mod schema;
mod version;
mod widen;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use http::Method;
use prost_reflect::MessageDescriptor;

use self::{
    schema::{Facts, Schema, Service},
    widen::Widened,
};
use crate::{
    contract,
    transcode::{router::Router, rules::Route, trie::Found},
};

/// Everything that is known at one moment.
#[derive(Debug)]
pub(crate) struct Snapshot {
    services: BTreeMap<String, Known>,
    router: Router,
    conflicts: Vec<Conflict>,
    /// Pools made larger for an `Any` of a type that another service has, by need.
    widened: Mutex<Widened>,
}

/// An HTTP rule that is not used.
#[derive(Debug)]
struct Conflict {
    route: Arc<Route>,
    /// Why.
    text: String,
}

/// A service, and the descriptors it came with.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    /// The service.
    pub(crate) service: Arc<Service>,
    /// All that was pulled with it.
    pub(crate) schema: Arc<Schema>,
}

impl Snapshot {
    /// Of these services. Where two HTTP rules accept the same requests, that of the earlier service counts, and the
    /// other is named by [`conflicts`](Self::conflicts).
    pub(crate) fn new(services: impl IntoIterator<Item = Known>) -> Self {
        let (mut known, mut router, mut conflicts) = (BTreeMap::new(), Router::default(), Vec::new());
        for entry in services {
            for route in &entry.service.routes {
                if let Err(conflict) = router.insert(Arc::clone(route)) {
                    conflicts.push(Conflict { route: Arc::clone(route), text: conflict.to_string() });
                }
            }
            known.entry(entry.service.name().to_owned()).or_insert(entry);
        }
        Self { services: known, router, conflicts, widened: Mutex::default() }
    }

    /// The route of a request by its method and path: that of an HTTP rule, or `POST /package.Service/Method`, which
    /// every method has.
    pub(crate) fn find<'p>(&self, method: &Method, path: &'p str) -> Found<'_, 'p, Arc<Route>> {
        match self.router.find(method, path) {
            Found::Nothing => match self.method(path) {
                Some((_, facts)) if *method == Method::POST => Found::Route(&facts.by_name, Vec::new()),
                Some(_) => Found::OtherMethods(vec![Method::POST]),
                None => Found::Nothing,
            },
            found => found,
        }
    }

    /// The route of a WebSocket at `path`: one that streams, whatever its HTTP method, before one that does not.
    pub(crate) fn find_socket<'p>(&self, path: &'p str) -> Found<'_, 'p, Arc<Route>> {
        let streams = |route: &Arc<Route>| (route.rpc.is_client_streaming(), route.rpc.is_server_streaming());
        let mut best: Found<'_, 'p, Arc<Route>> = Found::Nothing;
        for method in [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
            let Found::Route(route, segments) = self.find(&method, path) else {
                continue;
            };
            match &best {
                Found::Route(before, _) if streams(before) >= streams(route) => {}
                _ => best = Found::Route(route, segments),
            }
        }
        best
    }

    /// The method at `/package.Service/Method`.
    pub(crate) fn method(&self, path: &str) -> Option<(&Service, &Facts)> {
        let (service, method) = path.strip_prefix('/')?.split_once('/')?;
        let service = &self.services.get(service)?.service;
        Some((service, service.methods.get(method)?))
    }

    /// True when there is a service of this full name.
    pub(crate) fn has_service(&self, name: &str) -> bool {
        self.services.contains_key(name)
    }

    /// Every service, in the order of their names.
    pub(crate) fn services(&self) -> impl Iterator<Item = &Known> {
        self.services.values()
    }

    /// HTTP rules that are not used because another service's rule accepts the same requests.
    pub(crate) fn conflicts(&self) -> impl Iterator<Item = &str> {
        self.conflicts.iter().map(|conflict| conflict.text.as_str())
    }

    /// True when requests get to a route: no other one accepts the same.
    pub(crate) fn is_used(&self, route: &Arc<Route>) -> bool {
        !self.conflicts.iter().any(|conflict| Arc::ptr_eq(&conflict.route, route))
    }

    /// The same message in a pool that also has the type `missing`, which it may hold in an `Any`; `None` when no
    /// service has such a type, or it does not fit to the message's own.
    pub(crate) fn widen(&self, message: &MessageDescriptor, missing: &str) -> Option<MessageDescriptor> {
        let other = self.services.values().find(|known| known.schema.pool.get_message_by_name(missing).is_some())?;
        let mut widened = self.widened.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        widened.with(message, missing, &other.schema.pool)
    }
}

/// The platform's own services, which need not be asked.
///
/// # Errors
/// An HTTP rule of ours is wrong: a fault of the program.
pub(crate) fn built_in() -> Result<Arc<Schema>, schema::Error> {
    let pool = contract::pool().clone();
    let names: Vec<String> = pool.services().map(|service| service.full_name().to_owned()).collect();
    let schema = Schema::of_pool(pool, &names, 0);
    match schema.services.values().find_map(|service| service.faults.first()) {
        Some(fault) => Err(schema::Error::Rule(fault.clone())),
        None => Ok(Arc::new(schema)),
    }
}
