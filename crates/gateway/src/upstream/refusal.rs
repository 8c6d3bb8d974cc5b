//! Why no instance takes a call, and when one may.

use std::{rc::Rc, time::Duration};

use mcp_proto::{Code, Error};
use tokio::time::Instant;

use super::{
    endpoint::Endpoint,
    policy::{Policy, Priority},
};

/// When a caller should come back if there is no better advice.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The gateway does not know any service yet.
pub(crate) fn not_synced() -> Error {
    let text = "the gateway has not yet learned which services there are";
    Error::new(Code::CoordinationUnavailable, text).with_retry_after(RETRY_AFTER)
}

/// There is no such service.
pub(crate) fn unknown(service: &str) -> Error {
    Error::new(Code::ServiceNotFound, format!("no instance of `{service}` is registered"))
        .with_metadata("service", service)
}

/// No instance can be reached.
pub(crate) fn no_instance(service: &str, endpoints: &[Rc<Endpoint>]) -> Error {
    let now = Instant::now();
    let wait = endpoints.iter().filter_map(|endpoint| endpoint.backing_off(now)).min().unwrap_or(RETRY_AFTER);
    let text = match endpoints.len() {
        0 => format!("no instance of `{service}` is registered now"),
        1 => format!("the only instance of `{service}` cannot be reached"),
        count => format!("none of the {count} instances of `{service}` can be reached"),
    };
    Error::new(Code::NoInstance, text).with_metadata("service", service).with_retry_after(wait)
}

/// Calls there are too many of.
pub(crate) fn overloaded(service: &str, priority: Priority) -> Error {
    let whose = match priority {
        Priority::Low => " for one of low priority",
        Priority::Normal => "",
        Priority::High => " even for one of high priority",
    };
    Error::new(Code::Overloaded, format!("too many calls of `{service}` are in flight{whose}"))
        .with_metadata("service", service)
        .with_retry_after(RETRY_AFTER)
}

/// Why none of them takes a call: breakers, no room, or no connection.
pub(crate) fn of(
    service: &str,
    endpoints: &[Rc<Endpoint>],
    policy: &Policy,
    (priority, measured): (Priority, bool),
) -> Error {
    let now = Instant::now();
    let reachable = || endpoints.iter().filter(|endpoint| endpoint.backing_off(now).is_none());
    if reachable().next().is_none() {
        return no_instance(service, endpoints);
    }
    if !reachable().any(|endpoint| endpoint.has_room(now, policy, (priority, measured))) {
        return overloaded(service, priority);
    }
    let wait = reachable().filter_map(|endpoint| endpoint.broken(now)).min();
    let (breaker, text) = match wait {
        Some(_) => ("open", format!("`{service}` failed most of its calls and gets none for a while")),
        None => ("half_open", format!("`{service}` failed most of its calls and is being tried out")),
    };
    Error::new(Code::NoInstance, text)
        .with_metadata("service", service)
        .with_metadata("breaker", breaker)
        .with_retry_after(wait.unwrap_or(RETRY_AFTER))
}
