//! The control plane: puts the gateway together, registers it, and stops it in order.

use std::{collections::BTreeMap, future::Future, sync::Arc, time::Duration};

use anyhow::Context;
use mcp_chassis::server::{advertised_address, random_instance_id};
use mcp_client::Discovery;
use mcp_coord::{Coordinator, InstanceRecord, Registration};
use prost_reflect::DescriptorPool;
use tokio::{
    net::TcpListener,
    runtime::Handle,
    time::{Instant, sleep_until, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tonic_health::ServingStatus;

use crate::{
    builtin,
    config::{Config, SERVICE},
    core::{Shared, State},
    metrics::Instruments,
    plane::{self, DataPlane},
    transcode::router::Router,
};

/// Longest time that deregistering may take; the lease ends by itself anyway.
const DEREGISTER_MAX: Duration = Duration::from_secs(3);

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
    let shared = Arc::new(shared(&config)?);
    let (mut health, own) = builtin::own_services().context("reflection cannot be set up")?;
    health.set_service_status(OVERALL, ServingStatus::NotServing).await;
    let discovery = Discovery::start(Arc::clone(&coord), &config.coord.cluster);
    let mut plane = DataPlane::start(&shared, &own, &discovery).await?;
    let connections_max = config.gateway.downstream.connections_max;
    let accepting = plane::accept(listener, connections_max, shared.instruments.clone(), plane.senders());
    let mut accepting = Box::pin(accepting);
    let record = record(&config, local);
    tracing::info!(%local, advertised = record.address, threads = config.gateway.threads(), "serving");

    let synced = plane.synced();
    let mut registration = None;
    let becoming_ready = async {
        synced.await;
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

fn shared(config: &Config) -> anyhow::Result<Shared> {
    let pool = DescriptorPool::decode(mcp_proto::FILE_DESCRIPTOR_SET).context("our descriptors cannot be decoded")?;
    let router = Router::of_pool(&pool).context("our HTTP rules cannot be used")?;
    Ok(Shared {
        router,
        pool,
        instruments: Instruments::new(config.gateway.threads()),
        state: State::default(),
        control: Handle::current(),
        settings: config.gateway.clone(),
    })
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
