//! `mcp services`.

use std::{collections::BTreeMap, time::SystemTime};

use mcp_client::trace;
use mcp_proto::{
    Error,
    registry::v1::{
        DiscoverRequest, DiscoverResponse, Instance, WatchRequest, registry_service_client::RegistryServiceClient,
        watch_response::Change,
    },
};
use tonic::{Request, transport::Endpoint};

use super::context::Context;
use crate::{
    exit::{Exit, Failure},
    output::{json, print, table},
};

/// Instances by service and instance id, so that they stay sorted.
type Known = BTreeMap<(String, String), Instance>;

/// Shows the registered instances; with `watch`, again after every change.
pub(super) async fn run(context: &Context, service: Option<&str>, watch: bool) -> Result<Exit, Failure> {
    let service = service.unwrap_or_default().to_owned();
    if watch {
        context.within(follow(context, service)).await?;
        return Ok(Exit::Done);
    }
    let request = DiscoverRequest { service, ..DiscoverRequest::default() };
    let found = context.client.services(request).await.map_err(|error| context.failure(error))?;
    context.answer(&found, |found| table::instances(&found.instances, SystemTime::now()))?;
    Ok(Exit::Done)
}

async fn follow(context: &Context, service: String) -> Result<(), Failure> {
    let endpoint = Endpoint::from_shared(context.gateway.clone())
        .map_err(|error| Failure::usage(error.to_string(), "write for instance --gateway http://127.0.0.1:8080"))?;
    let mut request = Request::new(WatchRequest { service });
    trace::inject(request.metadata_mut());
    let mut registry = RegistryServiceClient::new(endpoint.connect_lazy());
    let answer = registry.watch(request).await.map_err(|status| context.failure(Error::from(status)))?;
    let mut changes = answer.into_inner();
    let mut known = Known::new();
    while let Some(response) = changes.message().await.map_err(|status| context.failure(status))? {
        apply(&mut known, response.change);
        let now = DiscoverResponse { instances: known.values().cloned().collect() };
        if context.is_json() {
            print::line(json::to_json(&now).to_string())?;
        } else {
            let time = humantime::format_rfc3339_seconds(SystemTime::now());
            print::line(format!("{time}\n{}\n", table::instances(&now.instances, SystemTime::now())))?;
        }
    }
    Err(Failure::new(Exit::Unreachable, "the gateway ended the watch", "run the command again"))
}

fn apply(known: &mut Known, change: Option<Change>) {
    let key = |instance: &Instance| (instance.service.clone(), instance.instance_id.clone());
    match change {
        Some(Change::Snapshot(all)) => {
            *known = all.instances.into_iter().map(|instance| (key(&instance), instance)).collect();
        }
        Some(Change::Put(instance)) => drop(known.insert(key(&instance), instance)),
        Some(Change::Removed(gone)) => drop(known.remove(&(gone.service, gone.instance_id))),
        None => {}
    }
}

#[cfg(test)]
mod tests {
    use mcp_proto::registry::v1::{Instance, InstanceRemoved, InstanceSnapshot, watch_response::Change};

    use super::{Known, apply};

    #[test]
    fn changes_add_up() {
        let instance =
            |id: &str| Instance { service: "s".to_owned(), instance_id: id.to_owned(), ..Instance::default() };
        let mut known = Known::new();
        apply(&mut known, Some(Change::Snapshot(InstanceSnapshot { instances: vec![instance("a"), instance("b")] })));
        apply(&mut known, Some(Change::Put(instance("c"))));
        let removed = InstanceRemoved { service: "s".to_owned(), instance_id: "a".to_owned() };
        apply(&mut known, Some(Change::Removed(removed)));
        assert_eq!(known.keys().map(|key| key.1.as_str()).collect::<Vec<_>>(), ["b", "c"]);
        apply(&mut known, Some(Change::Snapshot(InstanceSnapshot::default())));
        assert!(known.is_empty());
    }
}
