//! A server on a free port with a service whose methods do what the tests need.

use std::{pin::Pin, sync::Arc, time::Duration};

use futures_util::{Stream, StreamExt as _};
use mcp_chassis::{
    Readiness, Server, ServiceSettings,
    server::{self, DECODE_BYTES_MAX},
};
use mcp_coord::{Coordinator, Embedded, keys};
use mcp_proto::registry::v1::{
    DeregisterRequest, DeregisterResponse, DiscoverRequest, DiscoverResponse, HeartbeatRequest, HeartbeatResponse,
    RegisterRequest, RegisterResponse, WatchRequest, WatchResponse,
    registry_service_client::RegistryServiceClient,
    registry_service_server::{RegistryService, RegistryServiceServer},
};
use tokio::{
    net::TcpListener,
    sync::{Notify, Semaphore},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, transport::Channel};

/// Longest time that anything in these tests may take.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);
/// Full name of the service that stands in for any.
pub(crate) const SERVICE: &str = "mcp.registry.v1.RegistryService";
/// The cluster that everything is in.
pub(crate) const CLUSTER: &str = "test";

/// `Discover` waits for `go`; `Deregister` panics; `Watch` panics in its stream after one item, or waits for `go`
/// when a service is named; `Register` answers at once.
#[derive(Debug)]
pub(crate) struct Probe {
    /// Told when a call of `Discover` or `Watch` has arrived.
    pub(crate) arrived: Notify,
    /// Gets a permit for each such call that may end.
    pub(crate) go: Semaphore,
}

impl Default for Probe {
    fn default() -> Self {
        Self { arrived: Notify::new(), go: Semaphore::new(0) }
    }
}

impl Probe {
    async fn wait(&self) {
        self.arrived.notify_one();
        self.go.acquire().await.unwrap().forget();
    }
}

/// Shares the probe with the test.
#[derive(Debug, Clone)]
pub(crate) struct Service(pub(crate) Arc<Probe>);

#[tonic::async_trait]
impl RegistryService for Service {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<WatchResponse, Status>> + Send>>;

    async fn register(&self, _: Request<RegisterRequest>) -> Result<Response<RegisterResponse>, Status> {
        tracing::info!("registering");
        Ok(Response::new(RegisterResponse::default()))
    }

    async fn heartbeat(&self, _: Request<HeartbeatRequest>) -> Result<Response<HeartbeatResponse>, Status> {
        Err(Status::unavailable("not now"))
    }

    async fn deregister(&self, _: Request<DeregisterRequest>) -> Result<Response<DeregisterResponse>, Status> {
        panic!("a handler that panics");
    }

    async fn discover(&self, _: Request<DiscoverRequest>) -> Result<Response<DiscoverResponse>, Status> {
        self.0.wait().await;
        Ok(Response::new(DiscoverResponse::default()))
    }

    async fn watch(&self, request: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let first = futures_util::stream::iter([Ok(WatchResponse::default())]);
        if request.into_inner().service.is_empty() {
            let panics = futures_util::stream::once(async {
                // Items of one poll travel together; the first must be on its way.
                tokio::task::yield_now().await;
                panic!("a stream that panics")
            });
            return Ok(Response::new(Box::pin(first.chain(panics))));
        }
        let probe = Arc::clone(&self.0);
        let waits = futures_util::stream::once(async move {
            probe.wait().await;
            Ok(WatchResponse::default())
        });
        Ok(Response::new(Box::pin(first.chain(waits))))
    }
}

/// A server that runs in this process.
#[derive(Debug)]
pub(crate) struct Running {
    /// `http://127.0.0.1:port`
    pub(crate) url: String,
    /// Where it registers.
    pub(crate) coord: Arc<dyn Coordinator>,
    /// What its service waits for.
    pub(crate) probe: Arc<Probe>,
    /// Its readiness.
    pub(crate) readiness: Readiness,
    /// Stops it.
    pub(crate) stop: CancellationToken,
    /// Resolves when it has stopped.
    pub(crate) serving: JoinHandle<Result<(), server::Error>>,
}

/// What `future` gives, which must be soon.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, future).await.expect("it ends within the limit")
}

/// Settings that let a shutdown take `grace`.
pub(crate) fn settings(grace: Duration) -> ServiceSettings {
    ServiceSettings { shutdown_grace: grace, instance_id: Some("probe-1".into()), ..ServiceSettings::default() }
}

/// Starts a server; `with` adds to it.
pub(crate) async fn start(settings: ServiceSettings, with: impl FnOnce(Server) -> Server) -> Running {
    let probe = Arc::new(Probe::default());
    let readiness = Readiness::new(true);
    let coord: Arc<dyn Coordinator> = Arc::new(Embedded::in_memory());
    let stop = CancellationToken::new();
    let listener = TcpListener::bind(settings.listen).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let service = RegistryServiceServer::new(Service(Arc::clone(&probe))).max_decoding_message_size(DECODE_BYTES_MAX);
    let server = Server::new("probe", "1.2.3", &settings, CLUSTER).grpc(service).readiness(readiness.clone());
    let serving = tokio::spawn(with(server).serve(listener, Arc::clone(&coord), stop.clone()));
    Running { url, coord, probe, readiness, stop, serving }
}

impl Running {
    /// A connection to it, opened at the first call.
    pub(crate) fn channel(&self) -> Channel {
        Channel::from_shared(self.url.clone()).unwrap().connect_lazy()
    }

    /// A client of its service.
    pub(crate) fn client(&self) -> RegistryServiceClient<Channel> {
        RegistryServiceClient::new(self.channel())
    }

    /// Whether its instance is in the directory.
    pub(crate) async fn is_registered(&self) -> bool {
        self.coord.get(&keys::instance(CLUSTER, "probe", "probe-1")).await.unwrap().is_some()
    }

    /// Waits until its instance is in the directory, or not.
    pub(crate) async fn registered(&self, wanted: bool) {
        testkit::eventually(LIMIT, || async {
            if self.is_registered().await == wanted { Ok(()) } else { Err(format!("registered: {}", !wanted)) }
        })
        .await;
    }

    /// The status of a GET.
    pub(crate) async fn status(&self, path: &str) -> u16 {
        testkit::http::get(&self.url, path).await.status.as_u16()
    }

    /// Stops it and waits for its end.
    pub(crate) async fn stopped(self) {
        self.stop.cancel();
        soon(self.serving).await.unwrap().unwrap();
    }
}
