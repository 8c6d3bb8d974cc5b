//! What the gateway answers itself: probes, metrics, a welcome, and its own gRPC health and reflection.

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use mcp_proto::{Code, Error};
use serde_json::json;
use tower::Service as _;

use crate::{
    body::{Body, inbound::Inbound},
    core::{Core, Shared},
    reply,
};

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// gRPC services of the gateway itself, by how their paths begin.
const OWN: [&str; 3] =
    ["/grpc.health.v1.Health/", "/grpc.reflection.v1.ServerReflection/", "/grpc.reflection.v1alpha.ServerReflection/"];

/// Paths of the gateway's own services of the platform begin like this.
const PLATFORM: &str = "/mcp.gateway.v1.";

/// Paths of the same by HTTP/JSON, and everything below them.
const PLATFORM_PATHS: [&str; 3] = ["/v1/routes", "/v1/policies", "/v1/keys"];

/// Health of every service that a descriptor set is known of, by tonic-health.
pub(crate) type Reporter = tonic_health::server::HealthReporter;

/// A page of the gateway's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Page {
    /// `/`: where to go from here.
    Welcome,
    /// `/livez`: the process answers.
    Live,
    /// `/readyz`: calls are welcome.
    Ready,
    /// `/startupz`: it has known the instances once.
    Started,
    /// `/metrics`: Prometheus' text format.
    Metrics,
    /// `/admin/upstreams`: what each data-plane thread knows about the instances.
    Upstreams,
}

impl Page {
    /// The page at a path.
    pub(crate) fn at(path: &str) -> Option<Self> {
        Some(match path {
            "/" => Self::Welcome,
            "/livez" => Self::Live,
            "/readyz" => Self::Ready,
            "/startupz" => Self::Started,
            "/metrics" => Self::Metrics,
            "/admin/upstreams" => Self::Upstreams,
            _ => return None,
        })
    }

    /// True when it is for everybody.
    pub(crate) fn is_open(self, open_metrics: bool) -> bool {
        match self {
            Self::Live | Self::Ready | Self::Started => true,
            Self::Metrics => open_metrics,
            Self::Welcome | Self::Upstreams => false,
        }
    }
}

/// Answers a request for one of the gateway's own pages.
pub(crate) async fn page(shared: &Shared, page: Page, method: &Method) -> Response<Body> {
    if !matches!(*method, Method::GET | Method::HEAD) {
        let error = Error::new(Code::HttpMethodNotAllowed, format!("this path has no method {method}, only GET"));
        let mut response = reply::json_error(&error);
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match page {
        Page::Welcome => welcome(shared),
        Page::Live => probe(true, "alive", ""),
        Page::Ready => probe(shared.state.is_ready(), "ready", "not ready"),
        Page::Started => probe(shared.state.is_started(), "started", "starting"),
        Page::Metrics => metrics(shared).await,
        Page::Upstreams => upstreams(shared).await,
    }
}

fn probe(holds: bool, yes: &'static str, no: &'static str) -> Response<Body> {
    let (status, text) = if holds { (StatusCode::OK, yes) } else { (StatusCode::SERVICE_UNAVAILABLE, no) };
    reply::body(status, TEXT, Bytes::from_static(text.as_bytes()))
}

fn welcome(shared: &Shared) -> Response<Body> {
    let services: Vec<String> =
        shared.descriptors.newest.borrow().services().map(|known| known.service.name().to_owned()).collect();
    let text = json!({
        "name": "mcp gateway",
        "version": env!("CARGO_PKG_VERSION"),
        "ready": shared.state.is_ready(),
        "grpc": { "services": services, "reflection": true },
        "http": { "tasks": "/v1/tasks", "services": "/v1/services" },
        "descriptors": descriptors(shared),
        "probes": ["/livez", "/readyz", "/startupz"],
        "metrics": "/metrics",
    });
    reply::json(StatusCode::OK, format!("{text:#}\n").into())
}

/// Every thread is asked; each knows its own calls.
async fn upstreams(shared: &Shared) -> Response<Body> {
    let text = json!({ "threads": shared.inspector.views().await });
    reply::json(StatusCode::OK, format!("{text:#}\n").into())
}

/// What came of asking services for their descriptors.
fn descriptors(shared: &Shared) -> Vec<serde_json::Value> {
    let views = shared.descriptors.view().into_iter().map(|view| {
        json!({
            "service": view.key.service,
            "version": view.key.version,
            "instances": view.instances,
            "services": view.services,
            "digest": view.digest.map(|digest| format!("{digest:016x}")),
            "failures": view.failures,
            "error": view.error,
        })
    });
    views.collect()
}

/// Gathering takes a while, so it runs on the control plane.
async fn metrics(shared: &Shared) -> Response<Body> {
    match shared.control.spawn_blocking(mcp_chassis::metrics::text).await {
        Ok(text) => reply::body(StatusCode::OK, HeaderValue::from_static(mcp_chassis::metrics::TEXT_TYPE), text),
        Err(panic) => reply::json_error(&Error::internal(panic)),
    }
}

/// The gateway's own gRPC services, and the handle by which it says whether it is healthy.
///
/// # Errors
/// A descriptor set cannot be decoded: a fault of the program.
pub(crate) fn own_services() -> Result<(Reporter, tonic::service::Routes), tonic_reflection::server::Error> {
    let (reporter, health) = tonic_health::server::health_reporter();
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(mcp_proto::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let routes = tonic::service::Routes::new(health)
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?)
        .prepare();
    Ok((reporter, routes))
}

/// True when a gRPC path leads to the gateway's health, which is for everybody.
pub(crate) fn is_health(path: &str) -> bool {
    path.starts_with(OWN[0])
}

/// True when a gRPC path leads to the gateway itself.
pub(crate) fn is_own(path: &str) -> bool {
    OWN.iter().any(|prefix| path.starts_with(prefix))
}

/// True for a path that no route may take away: of the gateway's own interfaces, or nobody could mend a wrong route.
pub(crate) fn is_reserved(path: &str) -> bool {
    path.starts_with(PLATFORM)
        || is_own(path)
        || PLATFORM_PATHS
            .iter()
            .any(|own| path.strip_prefix(own).is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', ':'])))
}

/// Answers a call of one of the gateway's own gRPC services.
pub(crate) async fn own(core: &Core, request: Request<Inbound>) -> Response<Body> {
    let Ok(response) = core.own.clone().call(request).await;
    response.map(Body::Own)
}
