//! One line in the log for each request of a route: the layer `log`, which takes no settings.

use std::sync::Arc;

use mcp_proto::gateway::v1::Layer;
use tokio::time::Instant;

use super::{
    plan::{Plan, Site},
    service::LocalService,
};
use crate::routes::violations::Violations;

/// Logs under the target `access`, level INFO, when the head of the answer is known.
#[derive(Debug)]
struct LogPlan;

/// Plans the layer.
pub(super) fn plan(layer: &Layer, at: &str, wrong: &mut Violations) -> Option<Arc<dyn Plan>> {
    let is_bare = layer.settings.as_ref().is_none_or(|settings| settings.fields.is_empty());
    wrong.check(is_bare, at, "must be empty: this layer takes no settings");
    Some(Arc::new(LogPlan))
}

impl Plan for LogPlan {
    fn wrap(&self, inner: LocalService, _: &Site) -> LocalService {
        LocalService::of(move |exchange| {
            let (inner, started) = (inner.clone(), Instant::now());
            let (method, context) = (exchange.request.method().clone(), exchange.context.clone());
            // Without the query, which may hold what should not be logged.
            let path = exchange.request.uri().path().to_owned();
            async move {
                let answer = inner.answer(exchange).await;
                let status = answer
                    .as_ref()
                    .map_or_else(|refusal| refusal.error().code().http(), |response| response.status().as_u16());
                tracing::info!(
                    target: "access",
                    trace_id = %context.identity,
                    route = &*context.route.id,
                    method = method.as_str(),
                    path,
                    peer = %context.caller.address,
                    status,
                    duration_us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX),
                    "request"
                );
                answer
            }
        })
    }
}
