//! A gateway under test, and HTTP requests of every kind.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use gateway::{Config, config::Secret};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use mcp_coord::{Coordinator, Embedded, InstanceRecord, keys};
use serde_json::Value;
use testkit::eventually;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use crate::backend::Backend;

/// How long anything may take here.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// A name no other gateway or registration uses.
const CLUSTER: &str = "test";

/// Coordination and a gateway on it.
pub(crate) struct Cluster {
    pub(crate) coord: Arc<dyn Coordinator>,
    pub(crate) address: SocketAddr,
    pub(crate) stop: CancellationToken,
    pub(crate) task: JoinHandle<anyhow::Result<()>>,
}

impl Cluster {
    /// A gateway that knows these backends.
    pub(crate) async fn with(backends: &[&Backend]) -> Self {
        Self::configured(Config::default(), backends).await
    }

    /// The same with settings of its own. It has two data-plane threads unless they say otherwise.
    pub(crate) async fn configured(config: Config, backends: &[&Backend]) -> Self {
        let records: Vec<&InstanceRecord> = backends.iter().map(|backend| &backend.record).collect();
        Self::of_records(config, &records).await
    }

    /// The same of any instances.
    pub(crate) async fn of_records(config: Config, records: &[&InstanceRecord]) -> Self {
        let coord: Arc<dyn Coordinator> = Arc::new(Embedded::in_memory());
        for record in records {
            register(&coord, record).await;
        }
        Self::on(coord, config).await
    }

    /// One more gateway, beside this one.
    pub(crate) async fn beside(&self, config: Config) -> Self {
        Self::on(Arc::clone(&self.coord), config).await
    }

    async fn on(coord: Arc<dyn Coordinator>, mut config: Config) -> Self {
        // The tests of security turn this off.
        let security = &mut config.gateway.security;
        let is_closed = security.bootstrap_key != Secret::default() || !security.jwt.is_empty();
        security.anonymous = !is_closed && security.tls.clients.is_empty();
        config.coord.cluster = CLUSTER.into();
        if config.gateway.data_plane_threads == 0 {
            config.gateway.data_plane_threads = 2;
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let task = tokio::spawn(gateway::run(config, listener, Arc::clone(&coord), stop.clone()));
        let cluster = Self { coord, address, stop, task };
        cluster.ready().await;
        cluster
    }

    /// Waits until the gateway says that it is ready.
    async fn ready(&self) {
        eventually(LIMIT, || async {
            let answer = self.get("/readyz").await;
            if answer.status == StatusCode::OK { Ok(()) } else { Err(format!("{answer:?}")) }
        })
        .await;
    }

    pub(crate) fn base(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A gRPC channel to the gateway: one connection, so one data-plane thread.
    pub(crate) async fn channel(&self) -> Channel {
        Channel::from_shared(self.base()).unwrap().connect().await.unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], Bytes::new()).await
    }

    pub(crate) async fn post(&self, path: &str, json: &str) -> Answer {
        self.send(Method::POST, path, &[("content-type", "application/json")], json.to_owned().into()).await
    }

    pub(crate) async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: Bytes) -> Answer {
        let (parts, body) = self.open(method, path, headers, body).await.into_parts();
        let body = body.collect().await.expect("the answer is whole").to_bytes();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    /// Sends a request on a connection of its own, and returns as soon as the head of the answer is there.
    pub(crate) async fn open(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Response<Incoming> {
        self.try_open(method, path, headers, body).await.expect("the gateway answers")
    }

    /// The same when the gateway may break off.
    pub(crate) async fn try_open(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> hyper::Result<Response<Incoming>> {
        let stream = TcpStream::connect(self.address).await.expect("the gateway accepts connections");
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let mut request = Request::builder().method(method).uri(path).header("host", "gateway");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        sender.send_request(request.body(Full::new(body)).unwrap()).await
    }
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("not JSON ({error}): {self:?}"))
    }

    /// The catalogue name of the error that it must be.
    pub(crate) fn error(&self) -> String {
        let json = self.json();
        assert!(json["code"].is_u64() && json["message"].is_string() && json["retryable"].is_boolean(), "{json}");
        assert_eq!(self.headers["content-type"], "application/json");
        format!("{} {}", self.status.as_u16(), json["name"].as_str().unwrap())
    }
}

pub(crate) async fn register(coord: &Arc<dyn Coordinator>, record: &InstanceRecord) {
    let key = keys::instance(CLUSTER, &record.service, &record.instance_id);
    coord.put(&key, serde_json::to_vec(record).unwrap().into(), None).await.unwrap();
}

pub(crate) async fn deregister(coord: &Arc<dyn Coordinator>, record: &InstanceRecord) {
    let key = keys::instance(CLUSTER, &record.service, &record.instance_id);
    assert!(coord.delete(&key).await.unwrap());
}
