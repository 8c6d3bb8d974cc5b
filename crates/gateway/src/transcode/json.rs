//! proto3 JSON to messages and back, with errors that name the place.
//!
//! Answers hold every field that has a value or no way to be unset: lists, maps, numbers, texts and booleans are always
//! there, so that a program need not ask; messages and `optional` fields only when they are set. Names are lowerCamel,
//! enums are names, 64-bit integers are strings. Requests may use either form of a name, and no unknown one unless
//! [`Options`] say so.
//!
//! The type of a message in an `Any` may be another service's: it is looked for in the whole snapshot.

use bytes::Bytes;
use mcp_proto::{Code, Error, json::WholeNumbers};
use prost_reflect::{
    DeserializeOptions, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, ReflectMessage, SerializeOptions,
    Value, prost::Message,
};
use serde_json::error::Category;

use super::finite::Finite;
use crate::descriptors::Snapshot;

const STRICT: DeserializeOptions = DeserializeOptions::new().deny_unknown_fields(true);
const LENIENT: DeserializeOptions = DeserializeOptions::new().deny_unknown_fields(false);
const WRITE: SerializeOptions = SerializeOptions::new().skip_default_fields(false);

/// How prost-reflect begins the text of its error for a field that does not exist.
const UNKNOWN_FIELD: &str = "unrecognized field name '";

/// Between these it names a type of an `Any` that is not in the message's pool.
const MISSING_TYPE: (&str, &str) = ("message '", "' not found");

/// Types of other services that one message may need.
const TYPES_MAX: usize = 8;

/// How requests are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Options {
    /// True: fields, query parameters and names of enum values that the request does not have are passed over.
    pub(crate) ignore_unknown: bool,
}

impl Options {
    fn read(self) -> &'static DeserializeOptions {
        if self.ignore_unknown { &LENIENT } else { &STRICT }
    }
}

/// Reads JSON with the types that a snapshot knows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a> {
    /// Where types of an `Any` are looked for.
    pub(crate) snapshot: &'a Snapshot,
    /// What is refused.
    pub(crate) options: Options,
}

impl Reader<'_> {
    /// Reads a whole message.
    ///
    /// # Errors
    /// `MALFORMED_BODY` with line and column when it is not JSON, `UNKNOWN_FIELD`, or `INVALID_ARGUMENT` with the
    /// field.
    pub(crate) fn read(self, kind: MessageDescriptor, json: &[u8]) -> Result<DynamicMessage, Error> {
        self.read_at(kind, json, "", 0)
    }

    /// Reads what belongs into one field of a message.
    ///
    /// # Errors
    /// See [`read`](Self::read).
    pub(crate) fn read_field(self, field: &FieldDescriptor, json: &[u8]) -> Result<Value, Error> {
        match field.kind() {
            Kind::Message(kind) if !field.is_list() && !field.is_map() => {
                self.read_at(kind, json, field.name(), 0).map(Value::Message)
            }
            _ => {
                // Only messages can be read on their own, so the value goes into one.
                let prefix = format!("{{\"{}\":", field.json_name());
                let wrapped = [prefix.as_bytes(), json, b"}"].concat();
                let mut message = self.read_at(field.parent_message().clone(), &wrapped, "", prefix.len())?;
                Ok(message.get_field_mut(field).clone())
            }
        }
    }

    /// `root` is the path of the message in the request, `shift` how far its first line was moved to the right.
    fn read_at(self, kind: MessageDescriptor, json: &[u8], root: &str, shift: usize) -> Result<DynamicMessage, Error> {
        let mut wide = kind.clone();
        for _ in 0..TYPES_MAX {
            match self.try_read(&wide, json, root, shift) {
                Ok(message) if wide == kind => return Ok(message),
                Ok(message) => {
                    let bytes = message.encode_to_vec();
                    return DynamicMessage::decode(kind, bytes.as_slice()).map_err(Error::internal);
                }
                Err(unreadable) => {
                    let missing = unreadable.missing.as_deref();
                    let wider = missing.and_then(|missing| self.snapshot.widen(&wide, missing));
                    wide = wider.ok_or(unreadable.error)?;
                }
            }
        }
        Err(Error::invalid(root, format!("needs more than {TYPES_MAX} types of other services")))
    }

    fn try_read(
        self,
        kind: &MessageDescriptor,
        json: &[u8],
        root: &str,
        shift: usize,
    ) -> Result<DynamicMessage, Box<Unreadable>> {
        let mut json = serde_json::Deserializer::from_slice(json);
        let mut track = serde_path_to_error::Track::new();
        let tracked = serde_path_to_error::Deserializer::new(&mut json, &mut track);
        let read = DynamicMessage::deserialize_with_options(kind.clone(), tracked, self.options.read())
            .and_then(|message| json.end().map(|()| message));
        read.map_err(|error| {
            let path = match track.path().to_string() {
                path if path == "." => root.to_owned(),
                path if root.is_empty() => path,
                path => format!("{root}.{path}"),
            };
            Box::new(Unreadable { error: refusal(&error, &path, shift), missing: missing_type(&error) })
        })
    }
}

/// Why JSON could not be read.
struct Unreadable {
    error: Error,
    /// The type that was missing, if that is what it is.
    missing: Option<String>,
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

/// The type that an `Any` has and the pool has not.
fn missing_type(error: &serde_json::Error) -> Option<String> {
    let text = error.to_string();
    let (name, _) = text.strip_prefix(MISSING_TYPE.0)?.split_once(MISSING_TYPE.1)?;
    Some(name.to_owned())
}

/// Writes a message, or one field of it.
///
/// # Errors
/// `INTERNAL` when the message holds what JSON cannot, for instance a timestamp out of range or an `Any` of a type that
/// no service has.
pub(crate) fn write(
    snapshot: &Snapshot,
    message: &DynamicMessage,
    field: Option<&FieldDescriptor>,
) -> Result<Bytes, Error> {
    let mut wide = None;
    for _ in 0..TYPES_MAX {
        let message = wide.as_ref().unwrap_or(message);
        match try_write(message, field.map(FieldDescriptor::name)) {
            Ok(json) => return Ok(json.into()),
            Err(error) => {
                let missing = missing_type(&error);
                let Some(kind) = missing.and_then(|missing| snapshot.widen(&message.descriptor(), &missing)) else {
                    return Err(unwritable(error));
                };
                let bytes = message.encode_to_vec();
                wide = Some(DynamicMessage::decode(kind, bytes.as_slice()).map_err(Error::internal)?);
            }
        }
    }
    Err(Error::new(Code::Internal, format!("the answer needs more than {TYPES_MAX} types of other services")))
}

fn try_write(message: &DynamicMessage, field: Option<&str>) -> Result<Vec<u8>, serde_json::Error> {
    let field = field.and_then(|name| message.descriptor().get_field_by_name(name));
    match field {
        None => to_vec(message),
        Some(field) => match message.get_field(&field).as_ref() {
            Value::Message(inner) => to_vec(inner),
            _ => message
                .serialize_with_options(Finite(serde_json::value::Serializer), &WRITE)
                .and_then(|whole| mcp_proto::json::to_vec(&whole[field.json_name()])),
        },
    }
}

fn to_vec(message: &DynamicMessage) -> Result<Vec<u8>, serde_json::Error> {
    let mut json = serde_json::Serializer::with_formatter(Vec::with_capacity(256), WholeNumbers);
    message.serialize_with_options(Finite(&mut json), &WRITE)?;
    Ok(json.into_inner())
}

fn unwritable(error: serde_json::Error) -> Error {
    Error::new(Code::Internal, format!("the answer cannot be written as JSON: {error}")).with_source(error)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::descriptors::{Known, built_in};

    #[test]
    fn what_is_unknown_is_refused_or_passed_over() {
        let schema = built_in().unwrap();
        let service = schema.services["mcp.scheduler.v1.TaskService"].clone();
        let kind = schema.pool.get_message_by_name("mcp.scheduler.v1.ListTasksRequest").unwrap();
        let snapshot = Snapshot::new([Known { service, schema }]);
        let body = json!({"namespace": "n", "nonsense": {"a": [1]}, "states": ["TASK_STATE_PENDING", "NO_SUCH_STATE"]});
        let read = |ignore_unknown| {
            let reader = Reader { snapshot: &snapshot, options: Options { ignore_unknown } };
            reader.read(kind.clone(), body.to_string().as_bytes())
        };
        assert_eq!(read(false).unwrap_err().code(), Code::UnknownField);
        let message = read(true).unwrap();
        let written: serde_json::Value = serde_json::from_slice(&write(&snapshot, &message, None).unwrap()).unwrap();
        assert_eq!((&written["namespace"], &written["states"]), (&json!("n"), &json!(["TASK_STATE_PENDING"])));
    }
}
