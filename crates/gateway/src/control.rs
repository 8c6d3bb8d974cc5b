//! The control plane: puts the gateway together, registers it, and stops it in order.

use std::{collections::BTreeMap, future::Future, sync::Arc, time::Duration};

use anyhow::Context;
use mcp_chassis::server::{DECODE_BYTES_MAX, advertised_address, random_instance_id};
use mcp_client::Discovery;
use mcp_coord::{Coordinator, InstanceRecord, Registration};
use mcp_proto::gateway::v1::{
    key_service_server::{KeyServiceServer, SERVICE_NAME as KEY_SERVICE},
    route_service_server::{RouteServiceServer, SERVICE_NAME as ROUTE_SERVICE},
};
use tokio::{
    net::TcpListener,
    runtime::Handle,
    time::{Instant, sleep_until, timeout, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tonic_health::ServingStatus;

use crate::{
    builtin,
    config::{Config, SERVICE},
    core::{Shared, State},
    descriptors::{self, follow::Descriptors},
    limits::limiter::Limiter,
    metrics::Instruments,
    plane::{self, DataPlane, PerIp},
    platform::{self, Platform},
    routes::{self, compiled::CompiledRoute, follow::Routes},
    security::{authorize::Places, keys, start::Security},
    upstream::Inspector,
};

/// Longest time that readiness waits for the descriptors of services that were there first.
const DESCRIBED_MAX: Duration = Duration::from_secs(3);

/// Longest time that deregistering may take; the lease ends by itself anyway.
const DEREGISTER_MAX: Duration = Duration::from_secs(3);

/// Full names of the gateway's own services of the platform.
const OWN_SERVICES: [&str; 2] = [KEY_SERVICE, ROUTE_SERVICE];

/// The name under which health speaks of the whole server.
const OVERALL: &str = "";

/// Runs the gateway until `stop` is cancelled, then stops it in order and returns: not ready; deregistered; the port
/// closed and callers told to go elsewhere; running calls end, at most until `service.shutdown_grace` has passed since
/// `stop`; what is left is cut off.
///
/// It is ready once it has known the instances. While coordination is away it works with the last it knew.
///
/// # Errors
/// A descriptor or an HTTP rule of ours is wrong, a thread cannot be started, or one of them panicked.
///
/// # Cancellation
/// Dropping the future cuts all connections off; the registration ends with its lease.
pub async fn run(
    config: Config,
    listener: TcpListener,
    coord: Arc<dyn Coordinator>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let local = listener.local_addr().context("the listener has no address")?;
    let discovery = Discovery::start(Arc::clone(&coord), &config.coord.cluster);
    let built_in = descriptors::built_in().context("our descriptors or HTTP rules cannot be used")?;
    let places = Places::of(&built_in.pool).context("our descriptors are not complete")?;
    let (descriptors, following) = descriptors::follow::start(discovery.clone(), built_in);
    // Dropped with this future.
    let _following = AbortOnDropHandle::new(tokio::spawn(following));
    let mut complete = descriptors.complete.clone();
    let settings = &config.gateway.security;
    let (security, upkeep) = Security::start(settings, places, Arc::clone(&coord), &config.coord.cluster).await?;
    let keys = keys::service::Service::new(Arc::clone(&coord), &config.coord.cluster);
    let default_route = Arc::new(CompiledRoute::default_route());
    let routes = Routes::start(Arc::clone(&coord), &config.coord.cluster, default_route);
    let edge = routes::service::Service::new(Arc::clone(&coord), &config.coord.cluster, routes.clone());
    let edge = RouteServiceServer::new(edge).max_decoding_message_size(DECODE_BYTES_MAX);
    let services = tonic::service::Routes::new(KeyServiceServer::new(keys)).add_service(edge).prepare();
    let (platform, _serving) = platform::serve(services, &OWN_SERVICES).await?;
    let shared = Arc::new(shared(&config, descriptors, security, platform));
    let (mut health, own) = builtin::own_services().context("reflection cannot be set up")?;
    health.set_service_status(OVERALL, ServingStatus::NotServing).await;
    let mut plane = DataPlane::start(&shared, &own, (&discovery, &routes)).await?;
    let connections_max = config.gateway.downstream.connections_max;
    let per_ip = PerIp::new(config.gateway.downstream.connections_per_ip_max);
    let accepting = plane::accept(listener, connections_max, per_ip, shared.instruments.clone(), plane.senders());
    let mut accepting = Box::pin(accepting);
    let record = record(&config, local);
    tracing::info!(%local, advertised = record.address, threads = config.gateway.threads(), "serving");

    let synced = plane.synced();
    let mut registration = None;
    let becoming_ready = async {
        synced.await;
        // Late descriptors come to a gateway that serves: what is known already need not wait for them.
        timeout(DESCRIBED_MAX, complete.wait_for(|complete| *complete)).await.map(drop).unwrap_or_default();
        upkeep.synced(settings).await;
        shared.state.set_synced();
        health.set_service_status(OVERALL, ServingStatus::Serving).await;
        registration =
            Some(Registration::start(Arc::clone(&coord), &config.coord.cluster, record, config.service.lease_ttl));
        std::future::pending::<()>().await;
    };
    let failed = tokio::select! {
        () = stop.cancelled() => None,
        () = &mut accepting => None,
        () = becoming_ready => None,
        error = plane.failed() => Some(error),
    };
    let deadline = Instant::now() + config.service.shutdown_grace;
    tracing::info!(grace = ?config.service.shutdown_grace, "draining");
    shared.state.set_draining();
    health.set_service_status(OVERALL, ServingStatus::NotServing).await;
    if let Some(registration) = registration {
        let end = deadline.min(Instant::now() + DEREGISTER_MAX);
        accept_until(&mut accepting, timeout_at(end, registration.deregister())).await.unwrap_or_else(|_| {
            tracing::warn!("deregistering took too long: the instance goes with its lease");
        });
    }
    if failed.is_none() {
        accept_until(&mut accepting, sleep_until(deadline.min(Instant::now() + config.gateway.drain_delay))).await;
    }
    drop(accepting);
    health.clear_service_status(OVERALL).await;
    let left = plane.drain(&shared, deadline).await;
    if left > 0 {
        tracing::warn!(connections = left, "connections were cut off: their calls did not end within the grace");
    }
    failed.map_or(Ok(()), |error| Err(error.into()))
}

/// Goes on accepting while `step` runs.
async fn accept_until<T>(accepting: &mut (impl Future<Output = ()> + Unpin), step: impl Future<Output = T>) -> T {
    tokio::select! {
        result = step => result,
        result = async {
            accepting.await;
            std::future::pending().await
        } => result,
    }
}

fn shared(config: &Config, descriptors: Descriptors, security: Security, platform: Platform) -> Shared {
    Shared {
        descriptors,
        instruments: Instruments::new(config.gateway.threads()),
        state: State::default(),
        zone: config.service.zone.clone(),
        inspector: Inspector::default(),
        security,
        limiter: Limiter::new(config.gateway.limits.keys_max),
        started: std::time::Instant::now(),
        platform,
        control: Handle::current(),
        settings: config.gateway.clone(),
    }
}

fn record(config: &Config, local: std::net::SocketAddr) -> InstanceRecord {
    let service = &config.service;
    InstanceRecord {
        service: SERVICE.to_owned(),
        instance_id: service.instance_id.clone().unwrap_or_else(|| random_instance_id(SERVICE)),
        address: advertised_address(service.advertise.as_deref(), local),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        zone: service.zone.clone(),
        weight: service.weight,
        grpc_services: Vec::new(),
        labels: BTreeMap::new(),
        registered_unix_ms: 0,
    }
}
