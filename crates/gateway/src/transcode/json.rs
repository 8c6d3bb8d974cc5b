//! proto3 JSON to messages and back, with errors that name the place.
//!
//! Answers hold every field that has a value or no way to be unset: lists, maps, numbers, texts and booleans are always
//! there, so that a program need not ask; messages and `optional` fields only when they are set. Names are lowerCamel,
//! enums are names, 64-bit integers are strings. Requests may use either form of a name, and no unknown one.

use bytes::Bytes;
use mcp_proto::{Code, Error, json::WholeNumbers};
use prost_reflect::{
    DeserializeOptions, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, SerializeOptions, Value,
};
use serde_json::error::Category;

const READ: DeserializeOptions = DeserializeOptions::new().deny_unknown_fields(true);
const WRITE: SerializeOptions = SerializeOptions::new().skip_default_fields(false);

/// How prost-reflect begins the text of its error for a field that does not exist.
const UNKNOWN_FIELD: &str = "unrecognized field name '";

/// Reads a whole message.
///
/// # Errors
/// `MALFORMED_BODY` with line and column when it is not JSON, `UNKNOWN_FIELD`, or `INVALID_ARGUMENT` with the field.
pub(crate) fn read(kind: MessageDescriptor, json: &[u8]) -> Result<DynamicMessage, Error> {
    read_at(kind, json, "", 0)
}

/// Reads what belongs into one field of a message.
///
/// # Errors
/// See [`read`].
pub(crate) fn read_field(field: &FieldDescriptor, json: &[u8]) -> Result<Value, Error> {
    match field.kind() {
        Kind::Message(kind) if !field.is_list() && !field.is_map() => {
            read_at(kind, json, field.name(), 0).map(Value::Message)
        }
        _ => {
            // Only messages can be read on their own, so the value goes into one.
            let prefix = format!("{{\"{}\":", field.json_name());
            let wrapped = [prefix.as_bytes(), json, b"}"].concat();
            let mut message = read_at(field.parent_message().clone(), &wrapped, "", prefix.len())?;
            Ok(message.get_field_mut(field).clone())
        }
    }
}

/// `root` is the path of the message in the request, `shift` how far its first line was moved to the right.
fn read_at(kind: MessageDescriptor, json: &[u8], root: &str, shift: usize) -> Result<DynamicMessage, Error> {
    let mut json = serde_json::Deserializer::from_slice(json);
    let mut track = serde_path_to_error::Track::new();
    let tracked = serde_path_to_error::Deserializer::new(&mut json, &mut track);
    let read =
        DynamicMessage::deserialize_with_options(kind, tracked, &READ).and_then(|message| json.end().map(|()| message));
    read.map_err(|error| {
        let path = match track.path().to_string() {
            path if path == "." => root.to_owned(),
            path if root.is_empty() => path,
            path => format!("{root}.{path}"),
        };
        refusal(&error, &path, shift)
    })
}

/// The catalogue's error for what serde_json says.
fn refusal(error: &serde_json::Error, path: &str, shift: usize) -> Error {
    let column = if error.line() == 1 { error.column().saturating_sub(shift) } else { error.column() };
    let place = format!("line {} column {column}", error.line());
    let text = error.to_string();
    let reason = text.rsplit_once(" at line ").map_or(text.as_str(), |(reason, _)| reason);
    if error.classify() != Category::Data {
        return Error::new(Code::MalformedBody, format!("the body is not JSON: {reason} at {place}"));
    }
    if let Some(name) = reason.strip_prefix(UNKNOWN_FIELD).and_then(|rest| rest.strip_suffix('\'')) {
        let field = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        return Error::new(Code::UnknownField, format!("the request has no field `{field}` ({place})"))
            .with_violation(field, "is not a field of the request");
    }
    let field = if path.is_empty() { "body" } else { path };
    Error::new(Code::InvalidArgument, format!("`{field}`: {reason} ({place})")).with_violation(field, reason)
}

/// Writes a message, or one field of it.
///
/// # Errors
/// `INTERNAL` when the message holds what JSON cannot, for instance a timestamp out of range.
pub(crate) fn write(message: &DynamicMessage, field: Option<&FieldDescriptor>) -> Result<Bytes, Error> {
    let written = match field {
        None => to_vec(message),
        Some(field) => match message.get_field(field).as_ref() {
            Value::Message(inner) => to_vec(inner),
            _ => message
                .serialize_with_options(serde_json::value::Serializer, &WRITE)
                .and_then(|whole| mcp_proto::json::to_vec(&whole[field.json_name()])),
        },
    };
    written.map(Bytes::from).map_err(Error::internal)
}

fn to_vec(message: &DynamicMessage) -> Result<Vec<u8>, serde_json::Error> {
    let mut json = serde_json::Serializer::with_formatter(Vec::with_capacity(256), WholeNumbers);
    message.serialize_with_options(&mut json, &WRITE)?;
    Ok(json.into_inner())
}
