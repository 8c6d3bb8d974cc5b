//! The calls of `mcp.registry.v1.RegistryService`.

use std::sync::Arc;

use mcp_coord::Coordinator;
use mcp_proto::registry::v1::{
    DeregisterRequest, DeregisterResponse, DiscoverRequest, DiscoverResponse, HeartbeatRequest, HeartbeatResponse,
    RegisterRequest, RegisterResponse, WatchRequest, registry_service_server::RegistryService,
};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use crate::{
    config::RegistrySettings,
    convert,
    error::Error,
    instances::Instances,
    validate,
    watch::{self, Responses},
};

/// The service behind the wire.
#[derive(Debug)]
pub(crate) struct Service {
    instances: Arc<Instances>,
    watches: Arc<Semaphore>,
    watches_max: usize,
    draining: CancellationToken,
}

impl Service {
    /// Watches end when `draining` is cancelled.
    pub(crate) fn new(
        coord: Arc<dyn Coordinator>,
        cluster: &str,
        settings: &RegistrySettings,
        draining: CancellationToken,
    ) -> Self {
        Self {
            instances: Arc::new(Instances::new(coord, cluster)),
            watches: Arc::new(Semaphore::new(settings.watches_max)),
            watches_max: settings.watches_max,
            draining,
        }
    }
}

#[tonic::async_trait]
impl RegistryService for Service {
    type WatchStream = Responses;

    async fn register(&self, request: Request<RegisterRequest>) -> Result<Response<RegisterResponse>, Status> {
        let (record, ttl) = validate::register(request.into_inner())?;
        let lease = self.instances.register(record, ttl).await?;
        Ok(Response::new(RegisterResponse { lease_id: lease.to_string(), ttl: ttl.try_into().ok() }))
    }

    async fn heartbeat(&self, request: Request<HeartbeatRequest>) -> Result<Response<HeartbeatResponse>, Status> {
        let request = request.into_inner();
        let lease = validate::heartbeat(&request)?;
        let left = self.instances.renew(&request.service, &request.instance_id, lease).await?;
        Ok(Response::new(HeartbeatResponse { ttl: left.try_into().ok() }))
    }

    async fn deregister(&self, request: Request<DeregisterRequest>) -> Result<Response<DeregisterResponse>, Status> {
        let DeregisterRequest { service, instance_id } = request.into_inner();
        validate::name(&service, &instance_id)?;
        self.instances.deregister(&service, &instance_id).await?;
        Ok(Response::new(DeregisterResponse {}))
    }

    async fn discover(&self, request: Request<DiscoverRequest>) -> Result<Response<DiscoverResponse>, Status> {
        let DiscoverRequest { service, grpc_service } = request.into_inner();
        validate::filters(&service, &grpc_service)?;
        let mut records = self.instances.list(&service).await?;
        records.retain(|record| grpc_service.is_empty() || record.grpc_services.contains(&grpc_service));
        Ok(Response::new(DiscoverResponse { instances: convert::instances(records) }))
    }

    async fn watch(&self, request: Request<WatchRequest>) -> Result<Response<Responses>, Status> {
        let service = request.into_inner().service;
        validate::filters(&service, "")?;
        if self.draining.is_cancelled() {
            return Err(Error::ShuttingDown.into());
        }
        let permit =
            Arc::clone(&self.watches).try_acquire_owned().map_err(|_| Error::WatchesFull { max: self.watches_max })?;
        let changes = self.instances.watch(&service).await?;
        Ok(Response::new(watch::responses(Arc::clone(&self.instances), changes, permit, self.draining.clone())))
    }
}
