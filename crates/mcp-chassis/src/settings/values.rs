//! Single values: from text to what their key is, and between the two trees that hold them.

use config::{Value, ValueKind};
use serde_json::Value as Json;

use super::{Error, Origin};

/// A key with a value that is still text.
#[derive(Debug, Clone)]
pub(super) struct Text {
    pub(super) key: String,
    pub(super) value: String,
    pub(super) origin: Origin,
}

/// The JSON pointer of a key.
pub(super) fn pointer(key: &str) -> String {
    format!("/{}", key.replace('.', "/"))
}

/// Reads a text as what the default at its key is.
pub(super) fn typed(defaults: &Json, text: Text) -> Result<(String, Value, Origin), Error> {
    let Text { key, value, origin } = text;
    let is_key = |segment: &str| {
        !segment.is_empty() && segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
    };
    if !key.split('.').all(is_key) {
        return Err(Error::Malformed { origin, reason: format!("`{key}` is not a key such as `service.listen`") });
    }
    let default = defaults.pointer(&pointer(&key));
    let wrong = |expected: &str| Error::Key {
        key: key.clone(),
        origin: origin.clone(),
        reason: format!("found `{value}`, expected {expected}"),
    };
    let kind = match default {
        Some(Json::Bool(_)) => ValueKind::Boolean(value.parse().map_err(|_| wrong("`true` or `false`"))?),
        Some(Json::Number(number)) if number.is_f64() => {
            ValueKind::Float(value.parse().map_err(|_| wrong("a number"))?)
        }
        Some(Json::Number(_)) => match (value.parse(), value.parse()) {
            (Ok(number), _) => ValueKind::I64(number),
            (_, Ok(number)) => ValueKind::U64(number),
            _ => return Err(wrong("a whole number")),
        },
        Some(Json::Array(_)) => {
            let items = value.split(',').map(str::trim).filter(|item| !item.is_empty());
            ValueKind::Array(items.map(|item| Value::new(None, item)).collect())
        }
        Some(Json::Object(fields)) if !fields.is_empty() => {
            return Err(wrong("one of its keys instead of the section"));
        }
        Some(Json::Null) if value.is_empty() => ValueKind::Nil,
        _ => ValueKind::String(value),
    };
    Ok((key, Value::new(None, kind), origin))
}

pub(super) fn value_of(json: &Json) -> Value {
    let kind = match json {
        Json::Null => ValueKind::Nil,
        Json::Bool(value) => ValueKind::Boolean(*value),
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(value), _) => ValueKind::I64(value),
            (None, Some(value)) => ValueKind::U64(value),
            (None, None) => ValueKind::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(value) => ValueKind::String(value.clone()),
        Json::Array(items) => ValueKind::Array(items.iter().map(value_of).collect()),
        Json::Object(fields) => {
            ValueKind::Table(fields.iter().map(|(key, json)| (key.clone(), value_of(json))).collect())
        }
    };
    Value::new(None, kind)
}

pub(super) fn json_of(value: Value) -> Json {
    match value.kind {
        ValueKind::Nil => Json::Null,
        ValueKind::Boolean(value) => value.into(),
        ValueKind::I64(value) => value.into(),
        ValueKind::U64(value) => value.into(),
        ValueKind::Float(value) => value.into(),
        ValueKind::I128(value) => value.to_string().into(),
        ValueKind::U128(value) => value.to_string().into(),
        ValueKind::String(value) => value.into(),
        ValueKind::Array(items) => items.into_iter().map(json_of).collect(),
        ValueKind::Table(table) => Json::Object(table.into_iter().map(|(key, value)| (key, json_of(value))).collect()),
    }
}
