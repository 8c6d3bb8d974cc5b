//! How numbers look in our JSON: `42`, not `42.0`.
//!
//! `google.protobuf.Value` knows doubles only, so a whole number would come back from a task with a decimal point.

use std::io;

use serde::Serialize;
use serde_json::{Serializer, Value, ser::Formatter};

/// Whole numbers up to this are exact in a double.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

/// The number as an integer, when it is a whole one that a double holds exactly. Negative zero is not.
fn whole(number: f64) -> Option<i64> {
    let is_whole = number.fract() == 0.0 && number.abs() <= WHOLE_MAX && !(number == 0.0 && number.is_sign_negative());
    #[expect(clippy::cast_possible_truncation, reason = "checked to be whole and within 2^53")]
    is_whole.then_some(number as i64)
}

/// Compact JSON without needless decimal points.
#[derive(Debug, Clone, Copy, Default)]
pub struct WholeNumbers;

impl Formatter for WholeNumbers {
    fn write_f32<W: io::Write + ?Sized>(&mut self, writer: &mut W, value: f32) -> io::Result<()> {
        match whole(f64::from(value)) {
            Some(value) => self.write_i64(writer, value),
            None => serde_json::ser::CompactFormatter.write_f32(writer, value),
        }
    }

    fn write_f64<W: io::Write + ?Sized>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        match whole(value) {
            Some(value) => self.write_i64(writer, value),
            None => serde_json::ser::CompactFormatter.write_f64(writer, value),
        }
    }
}

/// Writes compact JSON without needless decimal points.
///
/// # Errors
/// Those of the value's own `Serialize`.
pub fn to_vec(value: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    let mut serializer = Serializer::with_formatter(Vec::with_capacity(256), WholeNumbers);
    value.serialize(&mut serializer)?;
    Ok(serializer.into_inner())
}

/// Makes each whole number within the value an integer.
pub fn with_whole_numbers(value: Value) -> Value {
    match value {
        Value::Number(number) if number.is_f64() => match number.as_f64().and_then(whole) {
            Some(whole) => whole.into(),
            None => Value::Number(number),
        },
        Value::Array(items) => items.into_iter().map(with_whole_numbers).collect(),
        Value::Object(fields) => fields
            .into_iter()
            .map(|(name, value)| (name, with_whole_numbers(value)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{to_vec, with_whole_numbers};

    #[test]
    fn whole_numbers_lose_their_point_and_others_keep_theirs() {
        let before = json!({"a": 42.0, "b": [1.5, -7.0, -0.0, 2.5e-7], "c": "1.0", "d": 9_007_199_254_740_992.0});
        let text = r#"{"a":42,"b":[1.5,-7,-0.0,2.5e-7],"c":"1.0","d":9007199254740992}"#;
        assert_eq!(String::from_utf8(to_vec(&before).unwrap()).unwrap(), text);
        assert_eq!(serde_json::to_string(&with_whole_numbers(before)).unwrap(), text);
    }

    #[test]
    fn the_numbers_stay_the_same() {
        let before: Value = serde_json::from_str(r#"[0.1, 3.0, 12345678901234567890]"#).unwrap();
        let after: Value = serde_json::from_slice(&to_vec(&before).unwrap()).unwrap();
        assert_eq!(after, with_whole_numbers(before));
    }
}
