//! Sections of a route's settings that are no layers: calls, limits, access, JSON.

use bytes::Bytes;
use gateway::{Config, config::Secret};
use http::Method;
use mcp_proto::{
    Code, Error,
    gateway::v1::{ApplyRouteRequest, route_service_client::RouteServiceClient},
    scheduler::v1::{GetTaskRequest, task_service_client::TaskServiceClient},
};
use serde_json::{Value, json};
use testkit::eventually;
use tonic::{Request, metadata::MetadataValue, service::interceptor::InterceptedService, transport::Channel};

use super::{Edge, route};
use crate::{
    backend::Backend,
    faulty::{Faulty, Manner},
    support::{Cluster, LIMIT, register},
};

const KEY: &str = "bootstrap-key-of-the-tests-0123456789";

#[tokio::test]
async fn a_route_says_how_often_it_may_be_called() {
    let mut edge = Edge::start().await;
    edge.with(vec![
        json!({"id": "seldom", "match": {"path": {"exact": "/v1/tasks/seldom"}}, "settings": {"rate_limits": [
        {"name": "few", "by": "RATE_LIMIT_BY_ROUTE", "requests": 2, "window": "3600s"}]}}),
    ])
    .await;
    let mut statuses = Vec::new();
    for _ in 0..3 {
        let answer = edge.cluster.get("/v1/tasks/seldom").await;
        assert!(answer.headers["ratelimit"].to_str().unwrap().starts_with("\"few\";r="), "{answer:?}");
        statuses.push(answer.status.as_u16());
    }
    assert_eq!(statuses, [200, 200, 429]);
    let answer = edge.cluster.get("/v1/tasks/7").await;
    assert!(answer.status == 200 && !answer.headers.contains_key("ratelimit"), "another route: {answer:?}");
}

#[tokio::test]
async fn a_copy_counts_against_no_limit() {
    let mut edge = Edge::start().await;
    edge.with(vec![json!({"id": "copied", "match": {"path": {"prefix": "/v1/tasks"}},
        "forward": {"targets": [{"service": "backend"}], "mirror": {"service": "canary"}},
        "settings": {"rate_limits": [{"name": "four", "requests": 4, "window": "3600s"}]}})])
        .await;
    for left in ["3", "2", "1", "0"] {
        let answer = edge.cluster.get("/v1/tasks/7").await;
        assert_eq!((answer.status.as_u16(), &answer.headers["ratelimit-remaining"]), (200, &left.parse().unwrap()));
    }
    assert_eq!(edge.cluster.get("/v1/tasks/7").await.status, 429);
    let state = edge.canary.state.clone();
    eventually(LIMIT, || async {
        if state.reached() == 4 { Ok(()) } else { Err(format!("{} copies came", state.reached())) }
    })
    .await;
}

#[tokio::test]
async fn a_route_says_what_becomes_of_unknown_fields() {
    let mut edge = Edge::start().await;
    edge.with(vec![
        json!({"id": "lenient", "match": {"path": {"prefix": "/lenient"}}, "forward": {"rewrite": {"prefix": "/"}},
            "settings": {"json": {"unknown_fields": "UNKNOWN_FIELDS_IGNORE"}}}),
    ])
    .await;
    let body = json!({"name": "n", "nonsense": [1]}).to_string();
    assert_eq!(edge.cluster.post("/v1/tasks", &body).await.error(), "400 UNKNOWN_FIELD");
    assert_eq!(edge.cluster.post("/lenient/v1/tasks", &body).await.status, 200);
    assert_eq!(edge.cluster.get("/v1/tasks/7?nonsense=1").await.error(), "400 UNKNOWN_FIELD");
    assert_eq!(edge.cluster.get("/lenient/v1/tasks/7?nonsense=1").await.status, 200);
}

#[tokio::test]
async fn a_route_says_how_its_instances_are_called() {
    let mut edge = Edge::start().await;
    let faulty = Faulty::start("weak", Manner::Reset).await;
    let mut record = faulty.record.clone();
    record.service = "weak".into();
    register(&edge.cluster.coord, &record).await;
    let forward = json!({"targets": [{"service": "weak"}], "rewrite": {"prefix": "/"}});
    edge.with(vec![
        json!({"id": "once", "match": {"path": {"prefix": "/once"}}, "forward": forward,
            "settings": {"upstream": {"retry": {"attempts": 1}, "breaker": {"failure_percent": 0}, "ejection": {"consecutive_failures": 0}}}}),
        json!({"id": "often", "match": {"path": {"prefix": "/often"}}, "forward": forward,
            "settings": {"upstream": {"retry": {"attempts": 4, "backoff": "1ms", "budget_percent": 100}, "breaker": {"failure_percent": 0},
                "ejection": {"consecutive_failures": 0}}}}),
    ])
    .await;
    eventually(LIMIT, || async {
        edge.cluster.get("/once/v1/tasks/7").await;
        if faulty.calls() > 0 { Ok(()) } else { Err("the instance is not known yet".into()) }
    })
    .await;
    for (path, expected) in [("/once/v1/tasks/7", 1), ("/often/v1/tasks/7", 4)] {
        let before = faulty.calls();
        let answer = edge.cluster.get(path).await;
        assert_eq!((answer.status.is_success(), faulty.calls() - before), (false, expected), "{path}: {answer:?}");
    }
    let wrong = route(&json!({"id": "wrong", "settings": {"upstream": {"retry": {"attempts": 0}, "pace": 1}}}));
    let refused = edge.routes.apply_route(ApplyRouteRequest { route: Some(wrong), validate_only: true }).await;
    let error = Error::from(&refused.unwrap_err());
    assert_eq!(error.code(), Code::InvalidArgument);
    assert!(error.violations()[0].field.starts_with("route.settings.upstream"), "{error:?}");
}

/// A closed gateway with a service that is not the platform's.
struct Closed {
    cluster: Cluster,
    _backend: Backend,
}

type Keyed = InterceptedService<Channel, fn(Request<()>) -> Result<Request<()>, tonic::Status>>;

fn with_key(mut request: Request<()>) -> Result<Request<()>, tonic::Status> {
    request
        .metadata_mut()
        .insert("authorization", MetadataValue::from_static("Bearer bootstrap-key-of-the-tests-0123456789"));
    Ok(request)
}

impl Closed {
    async fn start() -> Self {
        let mut config = Config::default();
        config.gateway.security.bootstrap_key = Secret::from(KEY.to_owned());
        config.gateway.data_plane_threads = 1;
        let backend = Backend::start("one").await;
        let mut record = backend.record.clone();
        record.grpc_services.push("acme.Tasks".into());
        let cluster = Cluster::of_records(config, &[&record]).await;
        Self { cluster, _backend: backend }
    }

    /// Applies routes, and waits until the last one, which answers itself at `/mark`, holds.
    async fn with(&self, routes: Vec<Value>) {
        let channel = self.cluster.channel().await;
        let mut client: RouteServiceClient<Keyed> = RouteServiceClient::with_interceptor(channel, with_key);
        let mark = json!({"id": "mark", "match": {"path": {"exact": "/mark"}}, "respond": {"body": "here"}});
        for json in routes.iter().chain([&mark]) {
            let request = ApplyRouteRequest { route: Some(route(json)), validate_only: false };
            client.apply_route(request).await.unwrap_or_else(|status| panic!("{json}: {status:?}"));
        }
        eventually(LIMIT, || async {
            let answer = self.get("/mark", KEY).await;
            if answer == 200 { Ok(()) } else { Err(answer.to_string()) }
        })
        .await;
    }

    async fn get(&self, path: &str, key: &str) -> u16 {
        let bearer = format!("Bearer {key}");
        let headers: &[(&str, &str)] = if key.is_empty() { &[] } else { &[("authorization", &bearer)] };
        self.cluster.send(Method::GET, path, headers, Bytes::new()).await.status.as_u16()
    }
}

#[tokio::test]
async fn a_public_route_opens_what_is_not_the_platforms_and_nothing_else() {
    let closed = Closed::start().await;
    assert_eq!(closed.get("/anything", "").await, 401);
    closed
        .with(vec![
            json!({"id": "public", "settings": {"auth": {"mode": "AUTH_MODE_NONE"}}}),
            json!({"id": "page", "match": {"path": {"exact": "/page"}}, "respond": {"body": "hello"},
                "settings": {"auth": {"mode": "AUTH_MODE_NONE"}}}),
            json!({"id": "own", "match": {"path": {"exact": "/own"}}, "respond": {"body": "hello"}}),
        ])
        .await;
    assert_eq!((closed.get("/page", "").await, closed.get("/own", "").await), (200, 401));
    // The platform's own methods ask for their role whatever the route says; so do the gateway's interfaces.
    assert_eq!((closed.get("/v1/tasks/7", "").await, closed.get("/v1/tasks/7", KEY).await), (401, 200));
    assert_eq!((closed.get("/v1/routes", "").await, closed.get("/metrics", "").await), (401, 401));
    assert_eq!(closed.get("/page", "mcp_0000000000000000_x").await, 401, "a wrong key of ours is one everywhere");
    assert_eq!(closed.get("/page", "for-the-service-behind").await, 200);
    // A service that is not the platform's: nobody serves the method, so the answer is its instance's.
    let mut grpc = tonic::client::Grpc::new(closed.cluster.channel().await);
    grpc.ready().await.unwrap();
    let codec = tonic_prost::ProstCodec::<GetTaskRequest, GetTaskRequest>::default();
    let path = "/acme.Tasks/GetTask".parse().unwrap();
    let status = grpc.unary(Request::new(GetTaskRequest::default()), path, codec).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::Unimplemented, "{status:?}");
    let mut client = TaskServiceClient::new(closed.cluster.channel().await);
    let status = client.get_task(GetTaskRequest { task_id: "7".into() }).await.unwrap_err();
    assert_eq!(Error::from(&status).code(), Code::Unauthenticated);
}

#[tokio::test]
async fn a_route_may_ask_for_a_role() {
    let closed = Closed::start().await;
    closed
        .with(vec![json!({"id": "ops", "match": {"path": {"exact": "/ops"}}, "respond": {"body": "hello"},
            "settings": {"auth": {"roles": ["operator@builds", "admin"]}}})])
        .await;
    assert_eq!((closed.get("/ops", "").await, closed.get("/ops", KEY).await), (401, 200));
    let made = closed
        .cluster
        .send(
            Method::POST,
            "/v1/keys",
            &[("authorization", &format!("Bearer {KEY}")), ("content-type", "application/json")],
            Bytes::from(json!({"name": "reader", "grants": [{"role": "ROLE_VIEWER"}]}).to_string()),
        )
        .await;
    let secret = made.json()["secret"].as_str().unwrap().to_owned();
    eventually(LIMIT, || async {
        // 401 until the gateway has heard of the key.
        match closed.get("/ops", &secret).await {
            403 => Ok(()),
            other => Err(other.to_string()),
        }
    })
    .await;
}
