//! `mcp health`: the gateway's readiness, and whether each service is registered.

use std::{collections::BTreeMap, time::Duration};

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper_util::{client::legacy::Client as HttpClient, rt::TokioExecutor};
use mcp_proto::registry::v1::DiscoverRequest;
use serde_json::json;
use tokio::time::timeout;

use super::context::Context;
use crate::{
    exit::{Exit, Failure},
    output::{json, print, table},
};

/// Services that a working cluster has.
const SERVICES: [&str; 4] = ["gateway", "registry", "scheduler", "worker"];
/// How long the gateway may take to say whether it is ready, without `--timeout`.
const READY_LIMIT: Duration = Duration::from_secs(5);
/// Most of the gateway's answer that is read.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Shows the gateway's readiness and the number of instances of each service.
pub(super) async fn run(context: &Context) -> Result<Exit, Failure> {
    // Behind TLS, the call below tells as much.
    let is_ready = if context.gateway.starts_with("https:") {
        Ok(true)
    } else {
        timeout(context.timeout.unwrap_or(READY_LIMIT), gateway_ready(&context.gateway))
            .await
            .unwrap_or_else(|_| Err("no answer".to_owned()))
    };
    let is_ready = is_ready.map_err(|why| {
        Failure::new(
            Exit::Unreachable,
            format!("the gateway at {} cannot be reached: {why}", context.gateway),
            "start one with `mcp dev`, or name one with --gateway URL or MCP_GATEWAY",
        )
    })?;
    let found = context.client.services(DiscoverRequest::default()).await;
    let counts = match &found {
        Ok(found) => count(found.instances.iter().map(|instance| instance.service.as_str())),
        Err(_) => BTreeMap::new(),
    };
    let services = SERVICES.map(|service| (service, counts.get(service).copied().unwrap_or_default()));
    let is_ready = is_ready && (found.is_ok() || context.gateway.starts_with("http:"));
    let is_whole = is_ready && services.iter().all(|(_, count)| *count > 0);
    if context.is_json() {
        let services = services.map(|(service, instances)| json!({"service": service, "instances": instances}));
        let document = json!({"ready": is_whole, "gateway": {"url": context.gateway, "ready": is_ready},
            "services": services, "error": found.as_ref().err().map(mcp_proto::Error::to_json)});
        print::line(json::pretty(&document))?;
    } else {
        let mut rows = table::plain(&["SERVICE", "INSTANCES", "STATE"]);
        for (service, instances) in services {
            rows.add_row([service.to_owned(), instances.to_string(), state(instances > 0).to_owned()]);
        }
        print::line(table::text(rows))?;
        print::line(format!("gateway {} is {}", context.gateway, state(is_ready)))?;
    }
    if let Err(error) = found {
        print::note(context.failure(error).text());
    } else if !is_whole {
        print::note("mcp: not everything is ready\n  next: start what is missing, or wait a moment and ask again");
    }
    Ok(if is_whole { Exit::Done } else { Exit::Failed })
}

fn state(is_ready: bool) -> &'static str {
    if is_ready { "ready" } else { "not ready" }
}

fn count<'a>(services: impl Iterator<Item = &'a str>) -> BTreeMap<&'a str, usize> {
    services.fold(BTreeMap::new(), |mut counts, service| {
        *counts.entry(service).or_default() += 1;
        counts
    })
}

/// Asks `/readyz`. An error says why there was no answer.
async fn gateway_ready(gateway: &str) -> Result<bool, String> {
    let client = HttpClient::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let uri = format!("{}/readyz", gateway.trim_end_matches('/')).parse().map_err(|error| format!("{error}"))?;
    let answer = client.get(uri).await.map_err(|error| error.to_string())?;
    let is_ready = answer.status().is_success();
    // Read to its end, so that the connection closes in order.
    drop(Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await);
    Ok(is_ready)
}
