//! `google.api.HttpBody`: content of any type instead of JSON.

use bytes::Bytes;
use http::HeaderValue;
use prost_reflect::{DynamicMessage, Value};

/// Numbers of its fields, which every version of it has. Source: `google/api/httpbody.proto`.
const CONTENT_TYPE: u32 = 1;
const DATA: u32 = 2;

/// What content is that does not say what it is.
pub(crate) const UNKNOWN_TYPE: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// Puts content and its type into a message.
pub(crate) fn fill(message: &mut DynamicMessage, content_type: &str, data: Bytes) {
    // Those that an HttpBody of another shape has not are left out.
    message.try_set_field_by_number(CONTENT_TYPE, Value::String(content_type.to_owned())).unwrap_or_default();
    message.try_set_field_by_number(DATA, Value::Bytes(data)).unwrap_or_default();
}

/// The type and the content of a message.
pub(crate) fn content(message: &DynamicMessage) -> (HeaderValue, Bytes) {
    let content_type = match message.get_field_by_number(CONTENT_TYPE).as_deref() {
        Some(Value::String(text)) if !text.is_empty() => HeaderValue::from_str(text).unwrap_or(UNKNOWN_TYPE),
        _ => UNKNOWN_TYPE,
    };
    let data = match message.get_field_by_number(DATA).as_deref() {
        Some(Value::Bytes(data)) => data.clone(),
        _ => Bytes::new(),
    };
    (content_type, data)
}
