//! What one data-plane thread knows about the instances, as data.

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;
use tokio::time::Instant;

use super::{
    decide::{breaker, window::Kind},
    endpoint::Endpoint,
    group::Group,
};

/// What one thread knows.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct View {
    /// Instances, by `service/instance`.
    pub(crate) endpoints: BTreeMap<String, EndpointView>,
    /// gRPC services, by full name.
    pub(crate) services: BTreeMap<String, ServiceView>,
}

/// A gRPC service.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ServiceView {
    /// The instances that serve it.
    pub(crate) endpoints: Vec<String>,
    /// Calls of the last ten seconds.
    pub(crate) calls: u32,
    /// How many of them were repeated.
    pub(crate) repeats: u32,
}

/// An instance.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct EndpointView {
    /// Where it listens.
    pub(crate) address: String,
    /// Its zone; empty when it has none.
    pub(crate) zone: String,
    /// Its share of the calls compared with others.
    pub(crate) weight: u32,
    /// Open connections.
    pub(crate) connections: usize,
    /// Calls in flight.
    pub(crate) in_flight: u32,
    /// Peak EWMA of its latency.
    pub(crate) latency_ms: f64,
    /// Its breaker.
    pub(crate) breaker: BreakerView,
    /// How long it is ejected yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ejected_for_ms: Option<u64>,
    /// Ejections in a row.
    pub(crate) ejections: u32,
    /// How long no connect is tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) unreachable_for_ms: Option<u64>,
    /// Calls that it may have at a time, where that follows its latency.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) concurrency_limit: Option<u32>,
}

/// A breaker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub(crate) enum BreakerView {
    /// Calls go through.
    Closed,
    /// None does.
    Open {
        /// For how long yet.
        for_ms: u64,
    },
    /// Probes do.
    HalfOpen,
}

impl ServiceView {
    /// A picture of a service.
    pub(crate) fn of(group: &Group, now: Instant) -> Self {
        let mut budget = group.budget.borrow_mut();
        Self {
            endpoints: group.endpoints.iter().map(|endpoint| endpoint.key()).collect(),
            calls: budget.count(Kind::All, now),
            repeats: budget.count(Kind::Marked, now),
        }
    }
}

impl EndpointView {
    /// A picture of an instance.
    pub(crate) fn of(endpoint: &Endpoint, now: Instant) -> Self {
        let breaker = match endpoint.breaker(now) {
            breaker::State::Closed => BreakerView::Closed,
            breaker::State::Open(left) => BreakerView::Open { for_ms: millis(left) },
            breaker::State::HalfOpen => BreakerView::HalfOpen,
        };
        Self {
            address: endpoint.record().address.clone(),
            zone: endpoint.record().zone.clone(),
            weight: endpoint.weight(),
            connections: endpoint.connections(),
            in_flight: endpoint.in_flight(),
            latency_ms: endpoint.latency(now).as_secs_f64() * 1_000.0,
            breaker,
            ejected_for_ms: endpoint.ejected(now).map(millis),
            ejections: endpoint.ejections(),
            unreachable_for_ms: endpoint.backing_off(now).map(millis),
            concurrency_limit: endpoint.gradient().map(|gradient| gradient.limit(now)),
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
