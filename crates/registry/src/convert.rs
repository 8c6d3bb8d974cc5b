//! Records of instances and their wire form.

use std::time::{Duration, UNIX_EPOCH};

use mcp_coord::{InstanceRecord, KeyValue};
use mcp_proto::registry::v1::Instance;

/// Most instances in one answer.
const INSTANCES_MAX: usize = 10_000;

/// The wire form of a record.
pub(crate) fn instance(record: InstanceRecord) -> Instance {
    let register_time = UNIX_EPOCH.checked_add(Duration::from_millis(record.registered_unix_ms)).map(Into::into);
    Instance {
        service: record.service,
        instance_id: record.instance_id,
        address: record.address,
        version: record.version,
        zone: record.zone,
        weight: record.weight,
        grpc_services: record.grpc_services,
        labels: record.labels,
        register_time,
    }
}

/// The record in a key's value. One that cannot be read is logged and left out: it must not hide the others.
pub(crate) fn record(entry: &KeyValue) -> Option<InstanceRecord> {
    match serde_json::from_slice(&entry.value) {
        Ok(record) => Some(record),
        Err(error) => {
            tracing::warn!(key = entry.key, %error, "instance record cannot be read");
            None
        }
    }
}

/// The wire form of records, in the order in which they are told, at most [`INSTANCES_MAX`].
pub(crate) fn instances(records: impl IntoIterator<Item = InstanceRecord>) -> Vec<Instance> {
    let mut found: Vec<Instance> = records.into_iter().map(instance).collect();
    found.sort_by(|a, b| (&a.service, &a.instance_id).cmp(&(&b.service, &b.instance_id)));
    if found.len() > INSTANCES_MAX {
        tracing::warn!(found = found.len(), told = INSTANCES_MAX, "too many instances for one answer");
        found.truncate(INSTANCES_MAX);
    }
    found
}
