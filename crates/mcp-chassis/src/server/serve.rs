//! Running a server, and stopping it in order.

use std::{
    collections::BTreeMap,
    future::Future,
    sync::Arc,
    time::{Duration, SystemTime},
};

use axum::Router;
use mcp_coord::{Coordinator, InstanceRecord, Registration};
use tokio::{net::TcpListener, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    Error, Readiness, Server, advertise, calls::Calls, connections::Connections, health::Health, in_flight::InFlight,
    methods::Methods, ops, ops::Probes, stack, stack::Stack,
};
use crate::{metrics, settings::ServiceSettings};

/// The reflection service.
const REFLECTION: &str = "grpc.reflection.v1.ServerReflection";
/// Longest time that deregistering may take; the lease ends by itself anyway.
const DEREGISTER_MAX: Duration = Duration::from_secs(3);

impl Server {
    /// Serves until `stop` is cancelled, then stops in order and returns.
    ///
    /// The instance is registered once the service is ready, and again whenever its lease was lost.
    ///
    /// # Errors
    /// Only before anything is served: [`Error::Listener`], [`Error::Descriptors`]. Calls that had to be cut off are
    /// not an error; they are logged and counted in `mcp_server_calls_cut_total`.
    ///
    /// # Cancellation
    /// Dropping the future cuts all connections off; the registration ends with its lease.
    pub async fn serve(
        mut self,
        listener: TcpListener,
        coord: Arc<dyn Coordinator>,
        stop: CancellationToken,
    ) -> Result<(), Error> {
        let local = listener.local_addr().map_err(Error::Listener)?;
        let record = self.record(advertise::address(self.settings.advertise.as_deref(), local));
        let (reporter, health_service) = tonic_health::server::health_reporter();
        let mut health = Health::new(reporter, &self.services);
        self = self.grpc(health_service);
        self = self.with_reflection()?;
        metrics::record_build_info(&self.service, &self.version);

        let probes = Probes::new(self.readiness.clone());
        let in_flight = InFlight::default();
        let stack = self.stack(&probes, &in_flight)?;
        let connections = Connections::default();
        let _cut_on_drop = CutOnDrop(connections.clone());
        connections.accept(listener, stack);
        tracing::info!(service = self.service, instance_id = self.instance_id, %local, advertised = record.address, "serving");

        let mut registration = None;
        tokio::select! {
            () = stop.cancelled() => {}
            () = follow_readiness(&self.readiness, &health, &probes, || {
                registration.get_or_insert_with(|| {
                    let (ttl, labels) = (self.settings.lease_ttl, self.labels.clone());
                    Registration::start_with(coord.clone(), &self.cluster, record.clone(), ttl, labels)
                });
            }) => {}
        }

        let deadline = Instant::now() + self.settings.shutdown_grace;
        tracing::info!(grace = ?self.settings.shutdown_grace, calls = in_flight.count(), "draining");
        probes.set_draining();
        health.set(false).await;
        if let Some(registration) = registration {
            within(deadline.min(Instant::now() + DEREGISTER_MAX), "deregistering", registration.deregister()).await;
        }
        if let Some(hook) = self.on_drain.take() {
            within(deadline, "the service's own draining", hook()).await;
        }
        connections.send_away();
        health.end_watches().await;
        if tokio::time::timeout_at(deadline, connections.ended()).await.is_err() {
            report_cut(in_flight.count());
            connections.cut();
            connections.ended().await;
        }
        Ok(())
    }

    fn record(&self, address: String) -> InstanceRecord {
        let ServiceSettings { zone, weight, .. } = &self.settings;
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        InstanceRecord {
            service: self.service.clone(),
            instance_id: self.instance_id.clone(),
            address,
            version: self.version.clone(),
            zone: zone.clone(),
            weight: *weight,
            grpc_services: self.services.clone(),
            labels: BTreeMap::new(),
            registered_unix_ms: u64::try_from(now.as_millis()).unwrap_or(u64::MAX),
        }
    }

    /// Adds reflection of what this server serves, unless the service brought its own.
    fn with_reflection(mut self) -> Result<Self, Error> {
        let mut builder = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET);
        for set in &self.descriptor_sets {
            builder = builder.register_encoded_file_descriptor_set(set);
        }
        for service in self.services.iter().chain(&self.reflected) {
            builder = builder.with_service_name(service);
        }
        let reflection =
            builder.with_service_name(REFLECTION).build_v1().map_err(|error| Error::Descriptors(error.into()))?;
        self.descriptor_sets
            .extend([tonic_health::pb::FILE_DESCRIPTOR_SET, tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET]);
        let is_there = self.services.iter().any(|service| service == REFLECTION);
        Ok(if is_there { self } else { self.grpc(reflection) })
    }

    fn stack(&mut self, probes: &Arc<Probes>, in_flight: &InFlight) -> Result<Arc<Stack>, Error> {
        let methods =
            Methods::new(&self.services, &self.descriptor_sets).map_err(|error| Error::Descriptors(error.into()))?;
        let http = self.http.take().unwrap_or_else(|| Router::new().fallback(stack::not_found));
        Ok(Arc::new(Stack {
            methods,
            grpc: std::mem::take(&mut self.routes).routes().prepare(),
            http: http.merge(ops::router(Arc::clone(probes))).with_state(()),
            calls: Arc::new(Calls::new(&self.service)),
            in_flight: in_flight.clone(),
        }))
    }
}

/// Keeps health in step with readiness, for ever. `on_ready` runs each time the service becomes ready.
async fn follow_readiness(readiness: &Readiness, health: &Health, probes: &Probes, mut on_ready: impl FnMut()) {
    let mut changes = readiness.subscribe();
    loop {
        let is_ready = *changes.borrow_and_update();
        health.set(is_ready).await;
        if is_ready {
            probes.set_started();
            on_ready();
        }
        changes.changed().await.expect("the borrowed handle keeps the sender alive");
    }
}

/// Ends the connections' tasks when `serve` itself is dropped.
struct CutOnDrop(Connections);

impl Drop for CutOnDrop {
    fn drop(&mut self) {
        self.0.cut();
    }
}

/// Runs a step of the shutdown until `deadline` at most.
async fn within(deadline: Instant, step: &str, future: impl Future<Output = ()>) {
    if tokio::time::timeout_at(deadline, future).await.is_err() {
        tracing::warn!(step, "a step of the shutdown took too long and was left");
    }
}

fn report_cut(calls: usize) {
    metrics::meter("mcp-chassis")
        .u64_counter("mcp.server.calls.cut")
        .with_description("Calls that were cut off by a shutdown")
        .build()
        .add(calls as u64, &[]);
    tracing::warn!(calls, "calls were cut off: they did not end within the grace");
}
