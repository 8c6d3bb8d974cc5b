//! How routes and policies are stored: as proto3 JSON, readable as it lies there. The version is not part of it; it is the
//! revision of the key.

use mcp_proto::gateway::v1::{Policy, Route};
use prost::Message;
use prost_reflect::{DeserializeOptions, DynamicMessage, SerializeOptions};

use crate::contract;

/// A route or a policy.
pub(crate) trait Record: Message + Default + Clone {
    /// Full name of its message.
    const MESSAGE: &'static str;
    /// What people call it.
    const KIND: &'static str;

    /// Its id.
    fn id(&self) -> &str;

    /// Its version and the time of its last write, for filling in.
    fn stamp(&mut self) -> (&mut u64, &mut Option<prost_types::Timestamp>);

    /// Gives it the id of the key under which it lies, and its version.
    fn place(&mut self, id: &str, version: u64);
}

impl Record for Route {
    const MESSAGE: &'static str = "mcp.gateway.v1.Route";
    const KIND: &'static str = "route";

    fn id(&self) -> &str {
        &self.id
    }

    fn stamp(&mut self) -> (&mut u64, &mut Option<prost_types::Timestamp>) {
        (&mut self.version, &mut self.update_time)
    }

    fn place(&mut self, id: &str, version: u64) {
        id.clone_into(&mut self.id);
        self.version = version;
    }
}

impl Record for Policy {
    const MESSAGE: &'static str = "mcp.gateway.v1.Policy";
    const KIND: &'static str = "policy";

    fn id(&self) -> &str {
        &self.id
    }

    fn stamp(&mut self) -> (&mut u64, &mut Option<prost_types::Timestamp>) {
        (&mut self.version, &mut self.update_time)
    }

    fn place(&mut self, id: &str, version: u64) {
        id.clone_into(&mut self.id);
        self.version = version;
    }
}

/// The stored form.
pub(crate) fn encode<R: Record>(record: &R) -> Vec<u8> {
    let mut bare = record.clone();
    *bare.stamp().0 = 0;
    let kind = contract::pool().get_message_by_name(R::MESSAGE).expect("it is one of ours");
    let message = DynamicMessage::decode(kind, &*bare.encode_to_vec()).expect("both types are the same message");
    let (mut json, options) = (Vec::new(), SerializeOptions::new().use_proto_field_name(true));
    let mut serializer = serde_json::Serializer::new(&mut json);
    message.serialize_with_options(&mut serializer, &options).expect("a message of ours is JSON");
    json
}

/// Reads the stored form of the record `id`.
///
/// # Errors
/// What is wrong with it, for people.
pub(crate) fn decode<R: Record>(id: &str, version: u64, json: &[u8]) -> Result<R, String> {
    let kind = contract::pool().get_message_by_name(R::MESSAGE).expect("it is one of ours");
    let mut reader = serde_json::Deserializer::from_slice(json);
    let options = DeserializeOptions::new().deny_unknown_fields(true);
    let message = DynamicMessage::deserialize_with_options(kind, &mut reader, &options)
        .and_then(|message| reader.end().map(|()| message))
        .map_err(|error| format!("is not readable: {error}"))?;
    let mut record = R::decode(&*message.encode_to_vec()).map_err(|error| format!("is not readable: {error}"))?;
    if record.id() != id && !record.id().is_empty() {
        return Err(format!("has the id `{}` under the key of `{id}`", record.id()));
    }
    record.place(id, version);
    Ok(record)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_readable_json_and_comes_back() {
        let route = Route { id: "a".into(), version: 7, priority: 3, policies: vec!["p".into()], ..Route::default() };
        let json = encode(&route);
        assert_eq!(String::from_utf8_lossy(&json), r#"{"id":"a","priority":3,"policies":["p"]}"#);
        assert_eq!(decode::<Route>("a", 7, &json), Ok(route));
        for (json, reason) in [
            (r#"{"id":"b"}"#, "under the key of"),
            (r#"{"nonsense":1}"#, "nonsense"),
            ("{", "not readable"),
            ("{} {}", "not readable"),
        ] {
            let found = decode::<Route>("a", 1, json.as_bytes()).unwrap_err();
            assert!(found.contains(reason), "{json}: {found}");
        }
    }
}
