//! Two gateways and two backends are restarted in turn, under load: no call fails, and none is carried out twice.
//!
//! The callers do what correct callers do, and no more: they follow readiness as a load balancer does, they open no call
//! on a connection that has said GOAWAY or `connection: close`, and they send a call again only when the other end
//! certainly did not look at it. An HTTP/1.1 caller never sends a call again.

mod backend;
mod balancer;
mod fleet;
mod grpc;
mod json;
mod tally;

use std::{sync::Arc, time::Duration};

use testkit::eventually;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{
    balancer::Balancer,
    fleet::{BACKENDS, Fleet, GATEWAYS},
    tally::{Kind, Tally},
};
use crate::support::SOON;

/// gRPC connections, each with [`CALLERS_PER_CONNECTION`].
const CONNECTIONS: usize = 2;

/// Callers that share a gRPC connection.
const CALLERS_PER_CONNECTION: usize = 4;

/// HTTP/1.1 callers, each with a connection of its own.
const JSON_CALLERS: usize = 4;

/// Calls of each kind that must succeed between two restarts.
const CALLS_BETWEEN: usize = 2;

/// How often a caller without haste calls.
const SELDOM: Duration = Duration::from_millis(150);

/// Starts every caller.
fn load(balancer: &Arc<Balancer>, tally: &Arc<Tally>, stop: &CancellationToken) -> TaskTracker {
    let callers = TaskTracker::new();
    for _ in 0..CONNECTIONS {
        let connection = Arc::new(grpc::Connection::new(Arc::clone(balancer)));
        for caller in 0..CALLERS_PER_CONNECTION {
            let load = grpc::keep_calling(Arc::clone(&connection), Arc::clone(tally), stop.clone(), caller % 2 == 0);
            callers.spawn(load);
        }
        callers.spawn(grpc::keep_watching(connection, Arc::clone(tally), stop.clone()));
    }
    for caller in 0..JSON_CALLERS {
        let kind = if caller == 0 { Kind::JsonTask } else { Kind::Json };
        let caller = json::Caller::new(Arc::clone(balancer), kind);
        callers.spawn(caller.keep_calling(Arc::clone(tally), stop.clone(), Duration::ZERO));
    }
    // Its connection is idle most of the time, and it asks for readiness only when it opens one.
    let seldom = json::Caller::new(Arc::clone(balancer), Kind::JsonSeldom);
    callers.spawn(seldom.keep_calling(Arc::clone(tally), stop.clone(), SELDOM));
    callers.spawn(json::keep_watching(Arc::clone(balancer), Arc::clone(tally), stop.clone()));
    callers.close();
    callers
}

/// Waits until calls of every kind have succeeded since now.
async fn goes_on(tally: &Tally) {
    let before = tally.succeeded();
    eventually(SOON, || async {
        let now = tally.succeeded();
        let behind = Kind::ALL.into_iter().find(|kind| now[kind] < before[kind] + CALLS_BETWEEN);
        match behind {
            Some(kind) if tally.failures().is_empty() => Err(format!("{kind:?} at {now:?}")),
            _ => Ok(()),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_of_gateways_and_backends_under_load_fails_no_call() {
    let mut fleet = Fleet::start().await;
    let balancer = Balancer::start(fleet.gateway_addresses());
    let (tally, stop) = (Arc::new(Tally::default()), CancellationToken::new());
    let callers = load(&balancer, &tally, &stop);
    goes_on(&tally).await;
    for index in 0..GATEWAYS.len() {
        fleet.restart_gateway(index).await;
        balancer.is_ready(index).await;
        goes_on(&tally).await;
    }
    for backend in BACKENDS {
        fleet.restart_backend(backend).await;
        goes_on(&tally).await;
    }
    stop.cancel();
    callers.wait().await;
    // Shown with --nocapture.
    eprintln!("rolling restart: {:?}, {} calls sent again unread", tally.succeeded(), tally.sent_again());
    let failures = tally.failures();
    assert!(failures.is_empty(), "{} calls failed:\n{}", failures.len(), failures.join("\n"));
    fleet.assert_done_once(&tally.registered());
}
