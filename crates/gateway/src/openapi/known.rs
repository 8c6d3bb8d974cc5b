//! The JSON Schema of single values and of the well-known types, as proto3 JSON writes them. Pure.
//!
//! Source: <https://protobuf.dev/programming-guides/json/>.

use prost_reflect::Kind;
use serde_json::{Value, json};

/// What a float is in JSON when it is not a number.
const NOT_NUMBERS: [&str; 3] = ["NaN", "Infinity", "-Infinity"];

/// The schema of a value of this kind; `None` for messages and enums, which have one of their own.
pub(super) fn scalar(kind: &Kind) -> Option<Value> {
    Some(match kind {
        Kind::Double => float("double"),
        Kind::Float => float("float"),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => {
            json!({"type": "integer", "format": "int32", "minimum": i32::MIN, "maximum": i32::MAX})
        }
        Kind::Uint32 | Kind::Fixed32 => {
            json!({"type": "integer", "format": "uint32", "minimum": 0, "maximum": u32::MAX})
        }
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => {
            json!({"type": "string", "format": "int64", "pattern": "^-?[0-9]{1,19}$"})
        }
        Kind::Uint64 | Kind::Fixed64 => json!({"type": "string", "format": "uint64", "pattern": "^[0-9]{1,20}$"}),
        Kind::Bool => json!({"type": "boolean"}),
        Kind::String => json!({"type": "string"}),
        Kind::Bytes => json!({"type": "string", "contentEncoding": "base64"}),
        Kind::Message(_) | Kind::Enum(_) => return None,
    })
}

fn float(format: &str) -> Value {
    json!({"oneOf": [{"type": "number", "format": format}, {"type": "string", "enum": NOT_NUMBERS}]})
}

/// What the key of a map must be, since JSON knows only texts; `None` when any text will do.
pub(super) fn key(kind: &Kind) -> Option<Value> {
    Some(match kind {
        Kind::Bool => json!({"enum": ["true", "false"]}),
        Kind::String => return None,
        Kind::Uint32 | Kind::Fixed32 | Kind::Uint64 | Kind::Fixed64 => json!({"pattern": "^[0-9]{1,20}$"}),
        _ => json!({"pattern": "^-?[0-9]{1,19}$"}),
    })
}

/// The schema of a well-known type by its full name; `None` when it is none.
pub(super) fn message(name: &str) -> Option<Value> {
    let name = name.strip_prefix("google.protobuf.")?;
    Some(match name {
        "Timestamp" => json!({
            "type": "string", "format": "date-time",
            "description": "A moment by RFC 3339, with up to nine digits of a second.",
            "examples": ["2026-11-21T18:00:00Z"],
        }),
        "Duration" => json!({
            "type": "string", "pattern": "^-?[0-9]+(\\.[0-9]{1,9})?s$",
            "description": "Seconds, with up to nine digits behind the point.", "examples": ["1.500s"],
        }),
        "FieldMask" => json!({
            "type": "string", "description": "Names of fields, with commas between them.", "examples": ["name,owner.id"],
        }),
        "Struct" => json!({"type": "object", "additionalProperties": true, "description": "Any JSON object."}),
        "Value" => json!({"description": "Any JSON."}),
        "ListValue" => json!({"type": "array", "items": {}, "description": "Any JSON array."}),
        "Empty" => json!({"type": "object", "description": "Nothing."}),
        "Any" => json!({
            "type": "object", "required": ["@type"], "additionalProperties": true,
            "description": "A message of any type, named by `@type`. The fields of a message stand beside it; what is no \
                            object in JSON stands in `value`.",
            "properties": {"@type": {"type": "string", "examples": ["type.googleapis.com/google.protobuf.Duration"]}},
        }),
        _ => return wrapper(name),
    })
}

/// Wrappers are their value, and may be null.
fn wrapper(name: &str) -> Option<Value> {
    let kind = match name {
        "DoubleValue" => Kind::Double,
        "FloatValue" => Kind::Float,
        "Int64Value" => Kind::Int64,
        "UInt64Value" => Kind::Uint64,
        "Int32Value" => Kind::Int32,
        "UInt32Value" => Kind::Uint32,
        "BoolValue" => Kind::Bool,
        "StringValue" => Kind::String,
        "BytesValue" => Kind::Bytes,
        _ => return None,
    };
    let mut schema = scalar(&kind)?;
    match schema.get_mut("oneOf").and_then(Value::as_array_mut) {
        Some(kinds) => kinds.push(json!({"type": "null"})),
        None => schema["type"] = json!([schema["type"], "null"]),
    }
    Some(schema)
}

/// True for those that a query can set: JSON writes them as one value.
pub(super) fn is_one_value(name: &str) -> bool {
    let is_value =
        |name: &str| matches!(name, "Timestamp" | "Duration" | "FieldMask" | "Value") || wrapper(name).is_some();
    name.strip_prefix("google.protobuf.").is_some_and(is_value)
}
