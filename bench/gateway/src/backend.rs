//! The service behind the proxies: it gives back what it gets, and tells its descriptors.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context as _;
use futures_util::{StreamExt as _, stream::BoxStream};
use mcp_coord::{Coordinator, Etcd, InstanceRecord, Registration};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, Streaming, transport::Server};

use crate::{
    DESCRIPTORS,
    echo::{
        EchoRequest, EchoResponse, EchoStreamRequest, EchoStreamResponse,
        echo_service_server::{EchoService, EchoServiceServer},
    },
    message::SERVICE,
};

/// The cluster that it registers in: the default one.
const CLUSTER: &str = "local";
/// Name of the service.
const NAME: &str = "echo";
/// How long others see it after it has died.
const LEASE_TTL: Duration = Duration::from_secs(15);

struct Echo;

#[tonic::async_trait]
impl EchoService for Echo {
    async fn echo(&self, request: Request<EchoRequest>) -> Result<Response<EchoResponse>, Status> {
        let EchoRequest { name, payload } = request.into_inner();
        Ok(Response::new(EchoResponse { name, payload }))
    }

    type EchoStreamStream = BoxStream<'static, Result<EchoStreamResponse, Status>>;

    async fn echo_stream(
        &self,
        request: Request<Streaming<EchoStreamRequest>>,
    ) -> Result<Response<Self::EchoStreamStream>, Status> {
        let answers = request.into_inner().map(|message| Ok(EchoStreamResponse { payload: message?.payload }));
        Ok(Response::new(answers.boxed()))
    }
}

/// Serves until the process ends.
///
/// # Errors
/// When the server fails.
pub async fn serve(listener: TcpListener) -> anyhow::Result<()> {
    let reflection = tonic_reflection::server::Builder::configure().register_encoded_file_descriptor_set(DESCRIPTORS);
    // `serve_with_incoming` leaves the options of the connections to the listener.
    let connections = TcpListenerStream::new(listener).map(|stream| stream.inspect(no_delay));
    Server::builder()
        .add_service(EchoServiceServer::new(Echo))
        .add_service(reflection.build_v1()?)
        .serve_with_incoming(connections)
        .await?;
    Ok(())
}

/// A connection that refuses this is slower, and of use all the same.
fn no_delay(stream: &tokio::net::TcpStream) {
    stream.set_nodelay(true).unwrap_or_default();
}

/// Registers a backend in etcd, so that our gateway finds it, for as long as the value lives.
///
/// # Errors
/// When etcd's address is no URL.
pub async fn register(etcd: &str, address: SocketAddr) -> anyhow::Result<Registration> {
    let coord: Arc<dyn Coordinator> = Arc::new(Etcd::connect(&[etcd.to_owned()]).await.context("etcd")?);
    let record = InstanceRecord {
        service: NAME.to_owned(),
        instance_id: format!("{NAME}-{}", address.port()),
        address: address.to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        zone: String::new(),
        weight: InstanceRecord::default_weight(),
        grpc_services: vec![SERVICE.to_owned()],
        labels: Default::default(),
        registered_unix_ms: 0,
    };
    Ok(Registration::start(coord, CLUSTER, record, LEASE_TTL))
}
