//! Between `serde_json::Value` and `google.protobuf.Value`.
//!
//! A protobuf number is a double, as in JavaScript: integers beyond ±2^53 lose their last digits on the way in. A
//! program that needs such numbers whole sends them as text. On the way out, a double without a fraction and within
//! ±2^53 becomes an integer, so that `3` stays `3` and does not turn into `3.0`.

use prost_types::{ListValue, NullValue, Struct, value::Kind};
use serde_json::{Map, Number, Value};

/// Largest integer up to which every integer has a double of its own: 2^53.
pub const INTEGER_EXACT_MAX: i64 = 1 << 53;

/// Deepest nesting of a value that may travel. A decoder of protobuf messages gives up at 100 nested messages, and a
/// level of an object is three of them; what surrounds the value needs some, too.
pub const DEPTH_MAX: usize = 30;

/// True when lists and objects are nested deeper than [`DEPTH_MAX`], so that the other end could not decode the value.
pub fn is_too_deep(json: &Value) -> bool {
    fn exceeds(json: &Value, left: usize) -> bool {
        match json {
            Value::Array(items) => left == 0 || items.iter().any(|item| exceeds(item, left - 1)),
            Value::Object(fields) => left == 0 || fields.values().any(|field| exceeds(field, left - 1)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
        }
    }
    exceeds(json, DEPTH_MAX)
}

/// The protobuf form of a JSON value.
pub fn to_value(json: Value) -> prost_types::Value {
    let kind = match json {
        Value::Null => Kind::NullValue(NullValue::NullValue.into()),
        Value::Bool(flag) => Kind::BoolValue(flag),
        // Without serde_json's arbitrary precision every number has a double.
        Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or(f64::NAN)),
        Value::String(text) => Kind::StringValue(text),
        Value::Array(items) => Kind::ListValue(ListValue { values: items.into_iter().map(to_value).collect() }),
        Value::Object(fields) => Kind::StructValue(Struct {
            fields: fields.into_iter().map(|(name, field)| (name, to_value(field))).collect(),
        }),
    };
    prost_types::Value { kind: Some(kind) }
}

/// The JSON form of a protobuf value. What JSON cannot say (an unset kind, NaN, infinities) becomes `null`.
pub fn from_value(value: prost_types::Value) -> Value {
    match value.kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::BoolValue(flag)) => Value::Bool(flag),
        Some(Kind::NumberValue(number)) => from_double(number),
        Some(Kind::StringValue(text)) => Value::String(text),
        Some(Kind::ListValue(list)) => Value::Array(list.values.into_iter().map(from_value).collect()),
        Some(Kind::StructValue(fields)) => Value::Object(
            fields.fields.into_iter().map(|(name, field)| (name, from_value(field))).collect::<Map<_, _>>(),
        ),
    }
}

fn from_double(number: f64) -> Value {
    #[expect(clippy::cast_precision_loss, reason = "2^53 is exact")]
    let limit = INTEGER_EXACT_MAX as f64;
    let is_negative_zero = number == 0.0 && number.is_sign_negative();
    if number.fract() == 0.0 && number.abs() <= limit && !is_negative_zero {
        #[expect(clippy::cast_possible_truncation, reason = "it is an integer within ±2^53")]
        return Value::Number((number as i64).into());
    }
    Number::from_f64(number).map_or(Value::Null, Value::Number)
}

#[cfg(test)]
mod tests {
    use prost_types::value::Kind;
    use serde_json::{Value, json};

    use super::{DEPTH_MAX, INTEGER_EXACT_MAX, from_value, is_too_deep, to_value};

    #[test]
    fn json_survives_both_ways() {
        let json = json!({
            "null": null, "yes": true, "text": "ä\u{0}", "zero": 0, "minus": -7, "part": 1.5, "tiny": 1e-9,
            "big": INTEGER_EXACT_MAX, "list": [1, [], {}, "x", null], "nested": {"a": {"b": [{"c": false}]}},
        });
        assert_eq!(from_value(to_value(json.clone())), json);
    }

    #[test]
    fn integers_beyond_two_to_the_53_lose_their_last_digits() {
        assert_eq!(from_value(to_value(json!(INTEGER_EXACT_MAX + 1))), json!(INTEGER_EXACT_MAX));
        let large = from_value(to_value(json!(u64::MAX)));
        assert_eq!(large.as_f64(), Some(18_446_744_073_709_551_615.0));
        assert!(!large.is_u64(), "it is no exact integer any more");
    }

    #[test]
    fn what_is_not_too_deep_can_be_decoded() {
        use mcp_proto::worker::v1::{AttemptResult, AttemptSuccess, OpenSessionRequest, attempt_result::Outcome};
        use prost::Message as _;

        let nested = |depth: usize| (0..depth).fold(json!(1), |inner, _| json!({ "in": inner }));
        assert!(!is_too_deep(&nested(DEPTH_MAX)));
        assert!(is_too_deep(&nested(DEPTH_MAX + 1)));
        assert!(is_too_deep(&(0..=DEPTH_MAX).fold(json!(1), |inner, _| json!([inner]))));

        let success = AttemptSuccess { output: Some(to_value(nested(DEPTH_MAX))) };
        let result = AttemptResult { outcome: Some(Outcome::Success(success)), ..AttemptResult::default() };
        let message = OpenSessionRequest { results: vec![result], ..OpenSessionRequest::default() };
        assert_eq!(OpenSessionRequest::decode(message.encode_to_vec().as_slice()), Ok(message));
    }

    #[test]
    fn what_json_cannot_say_becomes_null() {
        for kind in [None, Some(Kind::NumberValue(f64::NAN)), Some(Kind::NumberValue(f64::INFINITY))] {
            assert_eq!(from_value(prost_types::Value { kind }), Value::Null);
        }
        assert_eq!(from_value(prost_types::Value { kind: Some(Kind::NumberValue(-0.0)) }), json!(-0.0));
    }
}
