//! Answers to browsers that call from other sites, by tower-http.

use std::{sync::Arc, time::Duration};

use http::{HeaderName, HeaderValue, Method};
use mcp_proto::gateway::v1::Cors;
use tower_http::cors::{AllowHeaders, AllowMethods, AllowOrigin, CorsLayer, ExposeHeaders};

use super::{
    form::Form,
    plain,
    plan::{Plan, Site, Subject},
    service::LocalService,
};
use crate::routes::violations::Violations;

/// Most entries of each list.
const ENTRIES_MAX: usize = 100;
/// Every site.
const ANY: &str = "*";

/// Answers what browsers ask before a call, and adds to every answer what they need to let a script have it.
#[derive(Debug)]
struct CorsPlan(CorsLayer);

/// Plans `settings.cors`.
pub(super) fn plan(subject: &Subject<'_>, wrong: &mut Violations) -> Vec<Arc<dyn Plan>> {
    let layer = subject.settings.cors.as_ref().and_then(|cors| layer(cors, wrong));
    layer.map(|layer| Arc::new(CorsPlan(layer)) as Arc<dyn Plan>).into_iter().collect()
}

impl Plan for CorsPlan {
    fn wrap(&self, inner: LocalService, _: &Site) -> LocalService {
        // A script may read errors too, so those that are refused below get their form here.
        let settled = LocalService::of(move |exchange| {
            let (inner, form) = (inner.clone(), Form::of(exchange.request.headers()));
            async move { Ok(inner.answer(exchange).await.unwrap_or_else(|refusal| form.refused(refusal))) }
        });
        plain::wrap(&self.0, settled, |body| body)
    }
}

fn layer(cors: &Cors, wrong: &mut Violations) -> Option<CorsLayer> {
    let before = wrong.len();
    let is_any = cors.allow_origins.iter().any(|origin| origin == ANY);
    wrong.check(!cors.allow_origins.is_empty(), "settings.cors.allow_origins", "must name a site, or `*`");
    let alone = !is_any || (cors.allow_origins.len() == 1 && !cors.allow_credentials);
    wrong.check(alone, "settings.cors.allow_origins", "must not have `*` together with other sites or credentials");
    let origins =
        list(&cors.allow_origins, "allow_origins", "a site such as `https://app.example.com`", wrong, |text| {
            let is_site =
                text == ANY || text.split_once("://").is_some_and(|(_, host)| !host.is_empty() && !host.contains('/'));
            HeaderValue::from_str(text).ok().filter(|_| is_site)
        });
    let methods = list(&cors.allow_methods, "allow_methods", "an HTTP method", wrong, |text| {
        Method::from_bytes(text.as_bytes()).ok()
    });
    let name = |text: &str| HeaderName::from_bytes(text.as_bytes()).ok();
    let headers = list(&cors.allow_headers, "allow_headers", "the name of a header", wrong, name);
    let exposed = list(&cors.expose_headers, "expose_headers", "the name of a header", wrong, name);
    let max_age = cors.max_age.map(|age| Duration::try_from(age).map_err(|_| "must not be negative".to_owned()));
    let max_age = max_age.and_then(|age| wrong.take("settings.cors.max_age", age));
    if wrong.len() > before {
        return None;
    }
    let layer = CorsLayer::new()
        .allow_origin(if is_any { AllowOrigin::any() } else { AllowOrigin::list(origins) })
        .allow_methods(if methods.is_empty() { AllowMethods::mirror_request() } else { AllowMethods::list(methods) })
        .allow_headers(if headers.is_empty() { AllowHeaders::mirror_request() } else { AllowHeaders::list(headers) })
        .expose_headers(ExposeHeaders::list(exposed))
        .allow_credentials(cors.allow_credentials);
    Some(max_age.into_iter().fold(layer, CorsLayer::max_age))
}

fn list<T>(
    texts: &[String],
    field: &str,
    expected: &str,
    wrong: &mut Violations,
    read: impl Fn(&str) -> Option<T>,
) -> Vec<T> {
    let field = format!("settings.cors.{field}");
    wrong.at_most(texts.len(), ENTRIES_MAX, &field);
    let mut values = Vec::new();
    for (index, text) in texts.iter().take(ENTRIES_MAX).enumerate() {
        let value = read(text).ok_or_else(|| format!("is `{text}`, must be {expected}"));
        values.extend(wrong.take(&format!("{field}[{index}]"), value));
    }
    values
}
