//! Events of services: instances that come, change and go, as this gateway's own watch tells.

use std::{collections::BTreeMap, sync::Arc};

use mcp_client::{Discovery, discovery::Instances};
use mcp_coord::InstanceRecord;
use mcp_proto::frame::BodyCodec;
use serde_json::json;

use super::{hub::Event, topic::SERVICES};

/// The instances by service and id.
type Known = BTreeMap<(String, String), Arc<InstanceRecord>>;

/// Tells of every change, for ever.
pub(crate) async fn follow(mut discovery: Discovery, publish: impl Fn(Event)) {
    discovery.synced().await;
    let mut known = known(&discovery.snapshot());
    loop {
        discovery.changed().await;
        let now = self::known(&discovery.snapshot());
        for event in changes(&known, &now) {
            publish(event);
        }
        known = now;
    }
}

fn known(instances: &Instances) -> Known {
    let key = |record: &Arc<InstanceRecord>| ((record.service.clone(), record.instance_id.clone()), Arc::clone(record));
    instances.all().iter().map(key).collect()
}

/// What has changed. Pure.
fn changes(before: &Known, after: &Known) -> Vec<Event> {
    let gone = before.iter().filter(|(key, _)| !after.contains_key(*key)).map(|(_, record)| event("removed", record));
    let put = after.iter().filter(|(key, record)| before.get(*key) != Some(*record));
    gone.chain(put.map(|(_, record)| event("put", record))).collect()
}

fn event(change: &str, record: &InstanceRecord) -> Event {
    let body = json!({
        "change": change,
        "service": record.service,
        "instanceId": record.instance_id,
        "address": record.address,
        "version": record.version,
        "zone": record.zone,
    });
    Event { topic: format!("{SERVICES}/{}", record.service), codec: BodyCodec::Json, body: body.to_string().into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_changes_and_goes_is_told() {
        let record = |id: &str, address: &str| {
            Arc::new(InstanceRecord {
                service: "s".into(),
                instance_id: id.into(),
                address: address.into(),
                version: String::new(),
                zone: String::new(),
                weight: 1,
                grpc_services: Vec::new(),
                labels: BTreeMap::new(),
                registered_unix_ms: 0,
            })
        };
        let before = known(&Instances::new([record("a", "1"), record("b", "1"), record("c", "1")]));
        let after = known(&Instances::new([record("b", "2"), record("c", "1"), record("d", "1")]));
        let told: Vec<String> = changes(&before, &after)
            .iter()
            .map(|event| {
                let body: serde_json::Value = serde_json::from_slice(&event.body).unwrap();
                format!("{} {} {}", event.topic, body["change"].as_str().unwrap(), body["instanceId"].as_str().unwrap())
            })
            .collect();
        assert_eq!(told, ["services/s removed a", "services/s put b", "services/s put d"]);
    }
}
