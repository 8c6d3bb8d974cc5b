//! The control plane: puts the gateway together, registers it, and stops it in order.

use std::{collections::BTreeMap, future::Future, sync::Arc, time::Duration};

use anyhow::{Context, anyhow};
use futures_util::future::{join, join_all};
use mcp_chassis::server::{DECODE_BYTES_MAX, advertised_address, random_instance_id};
use mcp_client::Discovery;
use mcp_coord::{Coordinator, InstanceRecord, Registration};
use mcp_proto::{
    frame::Profile,
    gateway::v1::{
        key_service_server::{KeyServiceServer, SERVICE_NAME as KEY_SERVICE},
        route_service_server::{RouteServiceServer, SERVICE_NAME as ROUTE_SERVICE},
        topic_service_server::{SERVICE_NAME as TOPIC_SERVICE, TopicServiceServer},
    },
};
use prost_reflect::DescriptorError;
use tokio::{
    net::TcpListener,
    runtime::Handle,
    time::{Instant, sleep_until, timeout, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tonic_health::ServingStatus;

use crate::{
    access_log::AccessLog,
    builtin::{self, Page},
    config::{Config, SERVICE},
    core::{Shared, State},
    descriptors::{self, derived::Derived, follow::Descriptors},
    frames::{
        self, SharedFrames,
        topics::{self, service::Service as TopicPublisher},
    },
    limits::limiter::Limiter,
    metrics::Instruments,
    openapi::{access::Access, content::Content, document},
    plane::{Acceptor, DataPlane, PerIp, Speaks},
    platform::{self, Platform},
    reflect::{
        index::{Index, own_pools},
        service::Reflection,
    },
    routes::{self, compiled::CompiledRoute, follow::Routes},
    security::{authorize::Places, keys, start::Security},
    upstream::Inspector,
};

/// Longest time that readiness waits for the descriptors of services that were there first.
const DESCRIBED_MAX: Duration = Duration::from_secs(3);

/// Longest time that deregistering may take; the lease ends by itself anyway.
const DEREGISTER_MAX: Duration = Duration::from_secs(3);

/// Full names of the gateway's own services of the platform.
const OWN_SERVICES: [&str; 3] = [KEY_SERVICE, ROUTE_SERVICE, TOPIC_SERVICE];

/// How the labels of an instance begin that say where sessions of the wire frame begin; the profile follows.
const FRAME_LABEL: &str = "frame-";

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
    let sessions = frames::listen::bind(&config.gateway.frames).await;
    let sessions =
        sessions.map_err(|(address, error)| anyhow!(error).context(format!("cannot listen on {address}")))?;
    let record = record(&config, local, labels(&config, &sessions)?);
    let discovery = Discovery::start(Arc::clone(&coord), &config.coord.cluster);
    let built_in = descriptors::built_in().context("our descriptors or HTTP rules cannot be used")?;
    let places = Places::of(&built_in.pool).context("our descriptors are not complete")?;
    let (descriptors, following) = descriptors::follow::start(discovery.clone(), built_in, &OWN_SERVICES);
    // Dropped with this future.
    let _following = AbortOnDropHandle::new(tokio::spawn(following));
    let mut complete = descriptors.complete.clone();
    let settings = &config.gateway.security;
    let (security, upkeep) = Security::start(settings, places, Arc::clone(&coord), &config.coord.cluster).await?;
    let default_route = Arc::new(CompiledRoute::default_route());
    let routes = Routes::start(Arc::clone(&coord), &config.coord.cluster, default_route);
    let services = own_services(&coord, &config, &routes);
    let (platform, _serving) = platform::serve(services, &OWN_SERVICES).await?;
    let access_log = AccessLog::start(config.gateway.access_log, config.gateway.access_log_file.as_deref());
    let access_log = Arc::new(access_log.context("the access log cannot be written")?);
    let reflection = reflection(&descriptors).context("the descriptors of reflection cannot be used")?;
    let parts = (descriptors, security, platform, routes.clone());
    let shared = Arc::new(shared(&config, access_log, parts));
    let hub = Arc::clone(&shared);
    let publish = move |event| hub.frames.publish(event);
    let topics = topics::follow(Arc::clone(&coord), config.coord.cluster.clone(), discovery.clone(), publish);
    // Dropped with this future.
    let _topics = AbortOnDropHandle::new(tokio::spawn(topics));
    let (mut health, own) = builtin::own_services(&reflection);
    health.set_service_status(OVERALL, ServingStatus::NotServing).await;
    let mut plane = DataPlane::start(&shared, &own, (&discovery, &routes)).await?;
    let closing = CancellationToken::new();
    let mut accepting = Box::pin(accept(&config, (listener, sessions), (&shared, &plane), &closing));
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
    let delay = if failed.is_some() { Duration::ZERO } else { config.gateway.drain_delay };
    close_port((accepting, closing), registration, delay, deadline).await;
    health.clear_service_status(OVERALL).await;
    let left = plane.drain(&shared, deadline).await;
    if left > 0 {
        tracing::warn!(connections = left, "connections were cut off: their calls did not end within the grace");
    }
    failed.map_or(Ok(()), |error| Err(error.into()))
}

/// Deregisters, lets load balancers notice for as long as `delay`, and closes the port, all until `deadline` at most.
/// Connections are accepted until then.
async fn close_port(
    (mut accepting, closing): (impl Future<Output = ()> + Unpin, CancellationToken),
    registration: Option<Registration>,
    delay: Duration,
    deadline: Instant,
) {
    if let Some(registration) = registration {
        let end = deadline.min(Instant::now() + DEREGISTER_MAX);
        accept_until(&mut accepting, timeout_at(end, registration.deregister())).await.unwrap_or_else(|_| {
            tracing::warn!("deregistering took too long: the instance goes with its lease");
        });
    }
    accept_until(&mut accepting, sleep_until(deadline.min(Instant::now() + delay))).await;
    closing.cancel();
    timeout_at(deadline, accepting).await.unwrap_or_default();
}

/// The gateway's own services of the platform.
fn own_services(coord: &Arc<dyn Coordinator>, config: &Config, routes: &Routes) -> tonic::service::Routes {
    let cluster = &config.coord.cluster;
    let keys = keys::service::Service::new(Arc::clone(coord), cluster);
    let edge = routes::service::Service::new(Arc::clone(coord), cluster, routes.clone());
    let topics = TopicPublisher::new(Arc::clone(coord), cluster, &config.gateway.frames);
    tonic::service::Routes::new(KeyServiceServer::new(keys))
        .add_service(RouteServiceServer::new(edge).max_decoding_message_size(DECODE_BYTES_MAX))
        .add_service(TopicServiceServer::new(topics))
        .prepare()
}

/// Accepts until `closing`, on the public port and on those of the wire frame.
fn accept(
    config: &Config,
    (public, sessions): (TcpListener, Vec<(Profile, TcpListener)>),
    (shared, plane): (&Shared, &DataPlane),
    closing: &CancellationToken,
) -> impl Future<Output = ()> + use<> {
    let gateway = &config.gateway;
    let per_ip = PerIp::new(gateway.downstream.connections_per_ip_max);
    let accept = |listener, speaks, max| {
        let acceptor = Acceptor::new((max, speaks), per_ip.clone(), shared.instruments.clone(), plane.senders());
        acceptor.accept(listener, closing.clone())
    };
    let public = accept(public, Speaks::Http, gateway.downstream.connections_max);
    let sessions: Vec<_> = sessions
        .into_iter()
        .map(|(profile, listener)| accept(listener, Speaks::Frames(profile), gateway.frames.sessions_max))
        .collect();
    async {
        join(public, join_all(sessions)).await;
    }
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

/// The gateway's reflection, which follows `descriptors`.
///
/// # Errors
/// A descriptor set of a crate cannot be decoded: a fault of the program.
fn reflection(descriptors: &Descriptors) -> Result<Reflection, DescriptorError> {
    let own = own_pools()?;
    let index = Derived::new(descriptors.shown.clone(), Handle::current(), move |shown| Index::new(shown, &own));
    Ok(Reflection::new(index))
}

/// The document of what is registered, which follows `descriptors`.
fn document(descriptors: &Descriptors, access: Access) -> Derived<Content> {
    Derived::new(descriptors.shown.clone(), Handle::current(), move |shown| {
        let document = document::document(shown, &access, |path| Page::at(path).is_some());
        Content::new("application/json", document.to_string())
    })
}

fn shared(
    config: &Config,
    access_log: Arc<AccessLog>,
    (descriptors, security, platform, routes): (Descriptors, Security, Platform, Routes),
) -> Shared {
    let exports = config.telemetry.otlp_endpoint.is_some();
    Shared {
        document: document(&descriptors, Access::new(&config.gateway.security)),
        descriptors,
        routes,
        access_log,
        traces: (config.telemetry.sample_ratio, exports),
        instruments: Instruments::new(config.gateway.threads(), exports),
        state: State::default(),
        zone: config.service.zone.clone(),
        inspector: Inspector::default(),
        security,
        limiter: Limiter::new(config.gateway.limits.keys_max),
        started: std::time::Instant::now(),
        platform,
        frames: SharedFrames::new(),
        control: Handle::current(),
        settings: config.gateway.clone(),
    }
}

/// Where sessions of the wire frame begin, for those who look the gateway up.
fn labels(config: &Config, listeners: &[(Profile, TcpListener)]) -> anyhow::Result<BTreeMap<String, String>> {
    let label = |(profile, listener): &(Profile, TcpListener)| {
        let local = listener.local_addr().context("a listener has no address")?;
        // The host is the one that the gateway is known by, the port the listener's.
        let advertised = advertised_address(config.service.advertise.as_deref(), local);
        let host = advertised.rsplit_once(':').map_or(advertised.as_str(), |(host, _)| host);
        tracing::info!(%local, profile = profile.name(), "serving the wire frame");
        Ok((format!("{FRAME_LABEL}{}", profile.name()), format!("{host}:{}", local.port())))
    };
    listeners.iter().map(label).collect()
}

fn record(config: &Config, local: std::net::SocketAddr, labels: BTreeMap<String, String>) -> InstanceRecord {
    let service = &config.service;
    InstanceRecord {
        service: SERVICE.to_owned(),
        instance_id: service.instance_id.clone().unwrap_or_else(|| random_instance_id(SERVICE)),
        address: advertised_address(service.advertise.as_deref(), local),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        zone: service.zone.clone(),
        weight: service.weight,
        grpc_services: Vec::new(),
        labels,
        registered_unix_ms: 0,
    }
}
