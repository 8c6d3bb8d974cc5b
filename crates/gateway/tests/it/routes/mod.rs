//! Routes, over the interface that people have for them.

mod actions;
mod api;
mod hot;
mod layers;
mod sections;

use gateway::Config;
use mcp_proto::{
    FILE_DESCRIPTOR_SET,
    gateway::v1::{ApplyPolicyRequest, ApplyRouteRequest, Policy, Route, route_service_client::RouteServiceClient},
};
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage};
use serde_json::{Value, json};
use testkit::eventually;
use tonic::transport::Channel;

use crate::{
    backend::Backend,
    support::{Cluster, LIMIT},
};

/// A message out of JSON.
fn message<M: Message + Default>(name: &str, json: &Value) -> M {
    let pool = DescriptorPool::decode(FILE_DESCRIPTOR_SET).unwrap();
    let kind = pool.get_message_by_name(name).unwrap();
    let message = DynamicMessage::deserialize(kind, json).unwrap_or_else(|error| panic!("{json}: {error}"));
    M::decode(&*message.encode_to_vec()).unwrap()
}

fn route(json: &Value) -> Route {
    message("mcp.gateway.v1.Route", json)
}

fn policy(json: &Value) -> Policy {
    message("mcp.gateway.v1.Policy", json)
}

/// A gateway with one data-plane thread, so that what one request sees all see, and two services behind it: `backend`
/// and `canary`, which serve the same.
struct Edge {
    cluster: Cluster,
    routes: RouteServiceClient<Channel>,
    backend: Backend,
    canary: Backend,
    marks: u32,
}

impl Edge {
    async fn start() -> Self {
        let mut config = Config::default();
        config.gateway.data_plane_threads = 1;
        Self::configured(config).await
    }

    async fn configured(config: Config) -> Self {
        let (backend, mut canary) = (Backend::start("stable").await, Backend::start("canary").await);
        canary.record.service = "canary".into();
        let cluster = Cluster::configured(config, &[&backend, &canary]).await;
        let routes = RouteServiceClient::new(cluster.channel().await);
        Self { cluster, routes, backend, canary, marks: 0 }
    }

    async fn apply(&mut self, json: Value) -> Route {
        let route = Some(route(&json));
        let applied = self.routes.apply_route(ApplyRouteRequest { route, validate_only: false }).await;
        applied.unwrap_or_else(|status| panic!("{json}: {status:?}")).into_inner().route.unwrap()
    }

    async fn apply_policy(&mut self, json: Value) -> Policy {
        let policy = Some(policy(&json));
        let applied = self.routes.apply_policy(ApplyPolicyRequest { policy, validate_only: false }).await;
        applied.unwrap_or_else(|status| panic!("{json}: {status:?}")).into_inner().policy.unwrap()
    }

    /// Applies routes and waits until they hold.
    async fn with(&mut self, routes: Vec<Value>) {
        for json in routes {
            self.apply(json).await;
        }
        self.settled().await;
    }

    /// Waits until everything that was written holds.
    async fn settled(&mut self) {
        self.marks += 1;
        let path = format!("/mark/{}", self.marks);
        self.apply(json!({"id": "mark", "priority": 1_000_000, "match": {"path": {"exact": path}}, "respond": {"body": "here"}})).await;
        eventually(LIMIT, || async {
            let answer = self.cluster.get(&path).await;
            if answer.status == 200 { Ok(()) } else { Err(format!("{answer:?}")) }
        })
        .await;
    }
}
