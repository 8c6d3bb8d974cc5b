//! A registry under test.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use mcp_coord::{Coordinator, Embedded, Error, Expected, KeyValue, LeaseId, Revision, Snapshot, WatchStream};
use mcp_proto::{
    Code,
    registry::v1::{
        DiscoverRequest, HeartbeatRequest, Instance, RegisterRequest, RegisterResponse,
        registry_service_client::RegistryServiceClient,
    },
};
use registry::Config;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use tonic::{Status, transport::Channel};

/// Longest wait for what takes well under a second on an idle machine.
pub(crate) const SOON: Duration = Duration::from_secs(30);

pub(crate) type Client = RegistryServiceClient<Channel>;

/// A running registry on coordination that can be taken away.
pub(crate) struct Registry {
    pub(crate) client: Client,
    pub(crate) coord: Switched,
    pub(crate) stop: CancellationToken,
    pub(crate) running: JoinHandle<anyhow::Result<()>>,
}

impl Registry {
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::default();
        config.service.shutdown_grace = Duration::from_secs(5);
        change(&mut config);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let coord = Switched { inner: Embedded::in_memory(), away: Arc::new(AtomicBool::new(false)) };
        let stop = CancellationToken::new();
        let running = tokio::spawn(registry::run(config, listener, Arc::new(coord.clone()), stop.clone()));
        let client = Client::connect(format!("http://{address}")).await.unwrap();
        Self { client, coord, stop, running }
    }

    pub(crate) async fn register(&mut self, instance: Instance, ttl_seconds: i64) -> RegisterResponse {
        self.client.register(registration(instance, ttl_seconds)).await.unwrap().into_inner()
    }

    /// Ids of the instances of a service, in the order told.
    pub(crate) async fn ids(&mut self, service: &str) -> Vec<String> {
        let request = DiscoverRequest { service: service.to_owned(), grpc_service: String::new() };
        let found = self.client.discover(request).await.unwrap().into_inner().instances;
        found.into_iter().map(|instance| instance.instance_id).collect()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

pub(crate) fn instance(service: &str, id: &str) -> Instance {
    Instance {
        service: service.to_owned(),
        instance_id: id.to_owned(),
        address: "127.0.0.1:4000".to_owned(),
        ..Instance::default()
    }
}

pub(crate) fn registration(instance: Instance, ttl_seconds: i64) -> RegisterRequest {
    RegisterRequest { instance: Some(instance), ttl: Some(duration(ttl_seconds)) }
}

pub(crate) fn heartbeat(service: &str, id: &str, lease_id: &str) -> HeartbeatRequest {
    HeartbeatRequest { service: service.to_owned(), instance_id: id.to_owned(), lease_id: lease_id.to_owned() }
}

pub(crate) fn duration(seconds: i64) -> prost_types::Duration {
    prost_types::Duration { seconds, nanos: 0 }
}

pub(crate) fn code<T: std::fmt::Debug>(outcome: Result<T, Status>) -> Code {
    mcp_proto::Error::from(&outcome.expect_err("the call must fail")).code()
}

/// Coordination with a switch: while it is away, every call fails; watches are silent as the embedded one's are.
#[derive(Debug, Clone)]
pub(crate) struct Switched {
    pub(crate) inner: Embedded,
    away: Arc<AtomicBool>,
}

impl Switched {
    pub(crate) fn set_away(&self, away: bool) {
        self.away.store(away, Ordering::SeqCst);
    }

    fn there(&self) -> Result<&Embedded, Error> {
        match self.away.load(Ordering::SeqCst) {
            true => Err(Error::Unavailable { reason: "switched off".to_owned() }),
            false => Ok(&self.inner),
        }
    }
}

#[async_trait]
impl Coordinator for Switched {
    async fn get(&self, key: &str) -> Result<Option<KeyValue>, Error> {
        self.there()?.get(key).await
    }

    async fn range(&self, prefix: &str) -> Result<Snapshot, Error> {
        self.there()?.range(prefix).await
    }

    async fn put(&self, key: &str, value: Bytes, lease: Option<LeaseId>) -> Result<Revision, Error> {
        self.there()?.put(key, value, lease).await
    }

    async fn delete(&self, key: &str) -> Result<bool, Error> {
        self.there()?.delete(key).await
    }

    async fn compare_and_put(
        &self,
        key: &str,
        expected: Expected,
        value: Bytes,
        lease: Option<LeaseId>,
    ) -> Result<Revision, Error> {
        self.there()?.compare_and_put(key, expected, value, lease).await
    }

    async fn compare_and_delete(&self, key: &str, modified: Revision) -> Result<(), Error> {
        self.there()?.compare_and_delete(key, modified).await
    }

    async fn grant(&self, ttl: Duration) -> Result<LeaseId, Error> {
        self.there()?.grant(ttl).await
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<Duration, Error> {
        self.there()?.keep_alive(lease).await
    }

    async fn revoke(&self, lease: LeaseId) -> Result<(), Error> {
        self.there()?.revoke(lease).await
    }

    async fn watch(&self, prefix: &str) -> Result<WatchStream, Error> {
        self.inner.watch(prefix).await
    }
}
