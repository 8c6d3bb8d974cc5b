//! Reads the value of one field from the text of a path or a query.

use prost_reflect::{DeserializeOptions, DynamicMessage, FieldDescriptor, Kind, Value};
use serde_json::{Value as Json, json};

const READ: DeserializeOptions = DeserializeOptions::new().deny_unknown_fields(true);

/// Reads a text as what the field holds: a number, a boolean, an enum by name or number, bytes in base64, and of the
/// well-known types those that JSON writes as a text, a number or a boolean. One element when the field is a list.
///
/// # Errors
/// What is wrong with the text, to follow the field's name.
pub(crate) fn read(field: &FieldDescriptor, text: &str) -> Result<Value, String> {
    if field.is_map() {
        return Err("is a map, which a query cannot set".into());
    }
    let json = as_json(&field.kind(), text)?;
    let json = if field.is_list() { json!([json]) } else { json };
    let object = json!({ field.json_name(): json });
    let mut message = DynamicMessage::deserialize_with_options(field.parent_message().clone(), object, &READ)
        .map_err(|error| format!("cannot be `{text}`: {error}"))?;
    Ok(message.get_field_mut(field).clone())
}

/// The text as the JSON that proto3 expects of such a field.
fn as_json(kind: &Kind, text: &str) -> Result<Json, String> {
    let string = || Json::String(text.to_owned());
    match kind {
        Kind::Bool => boolean(text),
        Kind::Enum(_) => Ok(text.parse::<i32>().map_or_else(|_| string(), Json::from)),
        Kind::Message(message) => match message.full_name() {
            "google.protobuf.BoolValue" => boolean(text),
            "google.protobuf.Value" => Ok(serde_json::from_str(text).unwrap_or_else(|_| string())),
            "google.protobuf.Timestamp"
            | "google.protobuf.Duration"
            | "google.protobuf.FieldMask"
            | "google.protobuf.DoubleValue"
            | "google.protobuf.FloatValue"
            | "google.protobuf.Int64Value"
            | "google.protobuf.UInt64Value"
            | "google.protobuf.Int32Value"
            | "google.protobuf.UInt32Value"
            | "google.protobuf.StringValue"
            | "google.protobuf.BytesValue" => Ok(string()),
            name => Err(format!("is a message (`{name}`); name one of its fields")),
        },
        Kind::String | Kind::Bytes => Ok(string()),
        _ if text.trim() != text || text.is_empty() => Err(format!("cannot be `{text}`: it is not a number")),
        _ => Ok(string()),
    }
}

fn boolean(text: &str) -> Result<Json, String> {
    match text {
        "true" => Ok(Json::Bool(true)),
        "false" => Ok(Json::Bool(false)),
        _ => Err(format!("cannot be `{text}`: it is `true` or `false`")),
    }
}
