//! A test service, in a process of its own: this test program once more.

use std::{
    env,
    fs::OpenOptions,
    io::Write as _,
    path::{Path, PathBuf},
    pin::Pin,
    process::Command,
    sync::Arc,
    time::Duration,
};

use futures_util::{Stream, StreamExt, stream};
use mcp_chassis::{ServiceSettings, server::Server};
use mcp_coord::{Coordinator, Etcd};
use mcp_proto::{
    Code, Error,
    registry::v1::{
        DeregisterRequest, DeregisterResponse, DiscoverRequest, DiscoverResponse, HeartbeatRequest, HeartbeatResponse,
        InstanceRemoved, RegisterRequest, RegisterResponse, WatchRequest, WatchResponse,
        registry_service_server::{RegistryService, RegistryServiceServer},
        watch_response::Change,
    },
};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    time::sleep,
};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use crate::support::CLUSTER;

/// The name under which it registers. It answers for the registry, which has every kind of call and HTTP rules.
pub(super) const SERVICE: &str = "rolling";
/// Messages of a stream.
pub(super) const STREAM_LEN: usize = 20;
/// Pause between two of them.
const STREAM_EVERY: Duration = Duration::from_millis(30);
/// How long a call takes.
const CALL_TIME: Duration = Duration::from_millis(3);

/// Variables by which the process knows what it is.
const ETCD: &str = "ROLLING_BACKEND_ETCD";
const ID: &str = "ROLLING_BACKEND_ID";
const JOURNAL: &str = "ROLLING_BACKEND_JOURNAL";

/// How to start one, which writes the name of each call that it carries out into `journal`.
pub(super) fn command(etcd: &str, id: &str, journal: &Path) -> Command {
    let mut command = Command::new(env::current_exe().expect("this program has a path"));
    command
        .args(["--exact", "rolling::backend::it_serves_when_it_was_started_as_a_backend", "--nocapture"])
        .env(ETCD, etcd)
        .env(ID, id)
        .env(JOURNAL, journal);
    command
}

/// As a test among others it has nothing to do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_serves_when_it_was_started_as_a_backend() {
    let (Ok(etcd), Ok(id), Some(journal)) = (env::var(ETCD), env::var(ID), env::var_os(JOURNAL)) else { return };
    let mut terminate = signal(SignalKind::terminate()).expect("signals can be listened for");
    let coord: Arc<dyn Coordinator> = Arc::new(Etcd::connect(&[etcd]).await.expect("the endpoint is well formed"));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let settings = ServiceSettings { instance_id: Some(id), ..ServiceSettings::default() };
    let stop = CancellationToken::new();
    let server = Server::new(SERVICE, "1.0.0", &settings, CLUSTER)
        .grpc(RegistryServiceServer::new(Backend { journal: journal.into() }))
        .serve(listener, coord, stop.clone());
    let serving = tokio::spawn(server);
    terminate.recv().await;
    stop.cancel();
    serving.await.expect("it does not panic").expect("it serves");
}

struct Backend {
    journal: PathBuf,
}

fn unused<T>() -> Result<Response<T>, Status> {
    Err(Error::new(Code::Unimplemented, "not a part of this test").into())
}

#[tonic::async_trait]
impl RegistryService for Backend {
    async fn register(&self, request: Request<RegisterRequest>) -> Result<Response<RegisterResponse>, Status> {
        let name = request.into_inner().instance.unwrap_or_default().instance_id;
        // One write for each line, so that lines do not mix.
        let file = OpenOptions::new().create(true).append(true).open(&self.journal);
        let written = file.and_then(|mut file| file.write_all(format!("{name}\n").as_bytes()));
        written.map_err(|error| Status::from(Error::internal(error)))?;
        sleep(CALL_TIME).await;
        Ok(Response::new(RegisterResponse { lease_id: name, ttl: None }))
    }

    async fn heartbeat(&self, _: Request<HeartbeatRequest>) -> Result<Response<HeartbeatResponse>, Status> {
        unused()
    }

    async fn deregister(&self, _: Request<DeregisterRequest>) -> Result<Response<DeregisterResponse>, Status> {
        unused()
    }

    async fn discover(&self, _: Request<DiscoverRequest>) -> Result<Response<DiscoverResponse>, Status> {
        unused()
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<WatchResponse, Status>> + Send>>;

    async fn watch(&self, _: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let messages = stream::iter(0..STREAM_LEN).then(|number| async move {
            sleep(STREAM_EVERY).await;
            let removed = InstanceRemoved { service: SERVICE.into(), instance_id: number.to_string() };
            Ok(WatchResponse { change: Some(Change::Removed(removed)) })
        });
        Ok(Response::new(Box::pin(messages)))
    }
}
