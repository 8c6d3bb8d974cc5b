//! What the gateway answers itself: probes, metrics, a welcome, what is registered as an OpenAPI document and a page that
//! shows it, and its own gRPC health and reflection.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use mcp_chassis::metrics::Format;
use mcp_proto::{Code, Error};
use serde_json::json;
use tonic_reflection::pb::{v1::server_reflection_server as v1, v1alpha::server_reflection_server as v1alpha};
use tower::Service as _;

use crate::{
    admin::{self, AdminPage},
    body::{Body, inbound::Inbound},
    core::{Core, Shared},
    frames,
    gate::Goal,
    metrics::{self, Instruments},
    openapi::page::File,
    reflect::service::Reflection,
    reply,
    security::principal::Principal,
};

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// gRPC services of the gateway itself, by how their paths begin.
const OWN: [&str; 3] =
    ["/grpc.health.v1.Health/", "/grpc.reflection.v1.ServerReflection/", "/grpc.reflection.v1alpha.ServerReflection/"];

/// Paths of the gateway's own services of the platform begin like this.
const PLATFORM: &str = "/mcp.gateway.v1.";

/// Paths of the same by HTTP/JSON, and everything below them.
const PLATFORM_PATHS: [&str; 4] = ["/v1/routes", "/v1/policies", "/v1/keys", "/v1/topics"];

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
    /// `/mcp/ws`: the wire frame over WebSocket.
    Frames,
    /// Below `/admin`: what the gateway knows and does.
    Admin(AdminPage),
    /// `/openapi.json`: everything that is registered, as an OpenAPI document.
    OpenApi,
    /// `/docs` and below: the page that shows it.
    Docs(File),
    /// `/docs/`: the page is at `/docs`, and its files are named from there.
    DocsFolder,
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
            frames::listen::PATH => Self::Frames,
            "/openapi.json" => Self::OpenApi,
            "/docs" => Self::Docs(File::Page),
            "/docs/" => Self::DocsFolder,
            "/docs/docs.css" => Self::Docs(File::Style),
            "/docs/docs.js" => Self::Docs(File::Script),
            "/docs/schemas.js" => Self::Docs(File::Schemas),
            "/docs/try.js" => Self::Docs(File::Try),
            _ => Self::Admin(AdminPage::at(path)?),
        })
    }

    /// Who may have it.
    pub(crate) fn goal(self, open_metrics: bool) -> Goal {
        match self {
            Self::Live | Self::Ready | Self::Started | Self::Frames => Goal::Open,
            Self::Metrics if open_metrics => Goal::Open,
            Self::Docs(_) | Self::DocsFolder => Goal::Everybody,
            Self::OpenApi => Goal::Reader,
            Self::Welcome | Self::Admin(_) | Self::Metrics => Goal::Known,
        }
    }
}

/// Answers a request for one of the gateway's own pages.
///
/// # Errors
/// `PERMISSION_DENIED`; those of [`admin::answer`].
pub(crate) async fn page<B>(
    shared: &Shared,
    page: Page,
    request: &Request<B>,
    principal: Option<&Principal>,
) -> Result<Response<Body>, Error> {
    let method = request.method();
    if !matches!(page, Page::Admin(_)) && !matches!(*method, Method::GET | Method::HEAD) {
        let error = Error::new(Code::HttpMethodNotAllowed, format!("this path has no method {method}, only GET"));
        let mut response = reply::json_error(&error);
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return Ok(response);
    }
    Ok(match page {
        Page::Welcome => welcome(shared),
        Page::Live => probe(true, "alive", ""),
        Page::Ready => probe(shared.state.is_ready(), "ready", "not ready"),
        Page::Started => probe(shared.state.is_started(), "started", "starting"),
        Page::Metrics => scrape(shared, request.headers().get(header::ACCEPT)).await,
        // It is opened where the connection is known.
        Page::Frames => reply::json_error(&Error::new(Code::PathNotFound, "a WebSocket is opened here")),
        Page::Admin(page) => admin::answer(shared, page, request, principal).await?,
        Page::OpenApi => shared.document.get().await?.answer(request.headers()),
        Page::Docs(file) => file.answer(request.headers()),
        Page::DocsFolder => to_docs(),
    })
}

fn to_docs() -> Response<Body> {
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
    response.headers_mut().insert(header::LOCATION, HeaderValue::from_static("../docs"));
    response
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
        "documentation": { "page": "/docs", "openapi": "/openapi.json" },
        "descriptors": admin::descriptors(shared),
        "probes": ["/livez", "/readyz", "/startupz"],
        "metrics": "/metrics",
        "admin": "/admin",
    });
    reply::json(StatusCode::OK, format!("{text:#}\n").into())
}

/// Gathering takes a while, so it runs on the control plane.
async fn scrape(shared: &Shared, accept: Option<&HeaderValue>) -> Response<Body> {
    let format = Format::accepted(accept);
    let (sheets, lost) = (Arc::clone(&shared.instruments.sheets), shared.access_log.lost());
    let gather = move || {
        mcp_chassis::metrics::expose(format, &Instruments::ON_SHEETS, |page| metrics::write(&sheets, lost, page))
    };
    match shared.control.spawn_blocking(gather).await {
        Ok(text) => reply::body(StatusCode::OK, HeaderValue::from_static(format.content_type()), text),
        Err(panic) => reply::json_error(&Error::internal(panic)),
    }
}

/// The gateway's own gRPC services, and the handle by which it says whether it is healthy.
pub(crate) fn own_services(reflection: &Reflection) -> (Reporter, tonic::service::Routes) {
    let (reporter, health) = tonic_health::server::health_reporter();
    let routes = tonic::service::Routes::new(health)
        .add_service(v1::ServerReflectionServer::new(reflection.clone()))
        .add_service(v1alpha::ServerReflectionServer::new(reflection.clone()))
        .prepare();
    (reporter, routes)
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
