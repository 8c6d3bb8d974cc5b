//! Pages below `/admin`: what the gateway knows and does, for those who run it.
//!
//! Each is JSON, or HTML for a browser. They are for operators; turning the access log on and off is for administrators.

mod html;
mod part;

use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use mcp_proto::{Code, Error};
use serde_json::{Value, json};

use self::part::Part;
use crate::{
    body::Body,
    core::Shared,
    reply,
    routes::view::RouteView,
    security::{
        authorize::require,
        principal::{Principal, Role},
    },
};

/// Turns the access log on or off.
const ENABLED: &str = "enabled";

/// A page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AdminPage {
    /// `/admin`: what there is.
    Index,
    /// `/admin/routes`: the routes that are in force.
    Routes,
    /// `/admin/upstreams`: what each data-plane thread knows about the instances.
    Upstreams,
    /// `/admin/descriptors`: what services told about themselves.
    Descriptors,
    /// `/admin/connections`: callers' connections.
    Connections,
    /// `/admin/access-log`: whether requests are logged; a `POST` changes that.
    AccessLog,
}

/// Every page, its path, and what it is.
const PAGES: [(AdminPage, &str, &str); 6] = [
    (AdminPage::Index, "/admin", "these pages"),
    (AdminPage::Routes, "/admin/routes", "routes in force, in the order in which requests take them"),
    (AdminPage::Upstreams, "/admin/upstreams", "instances: latency, breaker, ejection, connections"),
    (AdminPage::Descriptors, "/admin/descriptors", "what services told about themselves, and what they did not"),
    (AdminPage::Connections, "/admin/connections", "callers' connections, by data-plane thread"),
    (AdminPage::AccessLog, "/admin/access-log", "whether requests are logged; POST ?enabled=true or false"),
];

impl AdminPage {
    /// The page at a path.
    pub(crate) fn at(path: &str) -> Option<Self> {
        let path = if path == "/admin/" { "/admin" } else { path };
        PAGES.iter().find(|(_, at, _)| *at == path).map(|(page, _, _)| *page)
    }

    fn title(self) -> &'static str {
        PAGES.iter().find(|(page, _, _)| *page == self).map_or("", |(_, path, _)| path)
    }
}

/// Answers a request for a page.
///
/// # Errors
/// `UNAUTHENTICATED`, `PERMISSION_DENIED`; `INVALID_ARGUMENT` for a wrong parameter.
pub(crate) async fn answer<B>(
    shared: &Shared,
    page: AdminPage,
    request: &Request<B>,
    principal: Option<&Principal>,
) -> Result<Response<Body>, Error> {
    let (method, query) = (request.method(), request.uri().query().unwrap_or_default());
    let changes = page == AdminPage::AccessLog && *method == Method::POST;
    let role = if changes { Role::Admin } else { Role::Operator };
    require(principal, role, page.title())?;
    if !changes && !matches!(*method, Method::GET | Method::HEAD) {
        return Ok(not_allowed(page, method));
    }
    let content = match page {
        AdminPage::Index => index(),
        AdminPage::Routes => routes(shared, Part::parse(query)?),
        AdminPage::Upstreams => json!({ "threads": shared.inspector.views().await }),
        AdminPage::Descriptors => json!({ "descriptors": descriptors(shared) }),
        AdminPage::Connections => {
            let Part { offset, limit } = Part::parse(query)?;
            let threads = shared.inspector.connections((offset, limit)).await;
            json!({ "offset": offset, "limit": limit, "threads": threads })
        }
        AdminPage::AccessLog => {
            if changes {
                let is_on = part::parameter(query, ENABLED).and_then(|text| text.parse().ok());
                let is_on = is_on.ok_or_else(|| Error::invalid(ENABLED, "must be `true` or `false`"))?;
                shared.access_log.turn(is_on);
                let by = principal.map_or("", |principal| &principal.name);
                tracing::info!(enabled = is_on, by, "access log switched");
            }
            json!({ ENABLED: shared.access_log.is_on(), "lost_lines": shared.access_log.lost() })
        }
    };
    let mut response = if wants_html(request) {
        let html = HeaderValue::from_static("text/html; charset=utf-8");
        reply::body(StatusCode::OK, html, html::page(page.title(), &content))
    } else {
        reply::json(StatusCode::OK, format!("{content:#}\n").into())
    };
    // What stands here changes all the time, and is not for everybody.
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(html::POLICY));
    Ok(response)
}

fn not_allowed(page: AdminPage, method: &Method) -> Response<Body> {
    let allowed = if page == AdminPage::AccessLog { "GET, HEAD, POST" } else { "GET, HEAD" };
    let error = Error::new(Code::HttpMethodNotAllowed, format!("this path has no method {method}, only {allowed}"));
    let mut response = reply::json_error(&error);
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
    response
}

/// A browser says so; a program that takes anything gets JSON.
fn wants_html<B>(request: &Request<B>) -> bool {
    let accept = request.headers().get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    accept.split(',').any(|kind| kind.split(';').next().unwrap_or_default().trim() == "text/html")
}

fn index() -> Value {
    let pages = PAGES.iter().map(|(_, path, what)| json!({ "path": path, "what": what }));
    json!({ "pages": pages.collect::<Vec<_>>() })
}

fn routes(shared: &Shared, part: Part) -> Value {
    let view = shared.routes.view();
    let routes = view.table.in_order().skip(part.offset).take(part.limit).map(|route| RouteView::of(route));
    let problems = view.problems.iter().map(|problem| {
        json!({
            "kind": problem.kind,
            "id": problem.id,
            "version": problem.version,
            "version_in_force": problem.version_in_force,
            "reason": problem.reason,
        })
    });
    json!({
        "total": view.table.len() + 1,
        "offset": part.offset,
        "limit": part.limit,
        "routes": routes.collect::<Vec<_>>(),
        "problems": problems.collect::<Vec<_>>(),
    })
}

/// What came of asking services for their descriptors.
pub(crate) fn descriptors(shared: &Shared) -> Vec<Value> {
    let views = shared.descriptors.view().into_iter().map(|view| {
        json!({
            "service": view.key.service,
            "version": view.key.version,
            "instances": view.instances,
            "instance": view.instance,
            "address": view.address,
            "services": view.services,
            "digest": view.digest.map(|digest| format!("{digest:016x}")),
            "failures": view.failures,
            "error": view.error,
        })
    });
    views.collect()
}
