//! JSON values as CEL sees them, and back.
//!
//! A JSON number without a fraction is an `int`, any other a `double`: a count is a count, however it was written.

use std::{borrow::Cow, collections::HashMap};

use cel::common::{
    types::{
        CelBool, CelBytes, CelDouble, CelDuration, CelInt, CelList, CelMap, CelMapKey, CelNull, CelString,
        CelTimestamp, CelUInt,
    },
    value::Val,
};
use serde_json::{Map, Number, Value};

/// A value of an expression; it may borrow text from the JSON it was made of.
pub(super) type Boxed<'a> = Box<dyn Val + 'a>;

/// Whole doubles up to here are exact.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

/// What takes more than this as JSON does not come out of an expression, in bytes.
pub(crate) const RESULT_BYTES_MAX: usize = 4 << 20;
/// Deepest nesting of a result.
const RESULT_DEPTH_MAX: usize = 64;

/// The CEL value of some JSON.
pub(super) fn from_json(value: Cow<'_, Value>) -> Boxed<'_> {
    match value {
        Cow::Borrowed(value) => from_borrowed(value),
        Cow::Owned(Value::String(text)) => Box::new(CelString::from(text)),
        Cow::Owned(Value::Number(number)) => from_number(&number),
        // Only scalars are made for an expression; anything larger is borrowed from the run.
        Cow::Owned(_) => Box::new(CelNull),
    }
}

fn from_borrowed(value: &Value) -> Boxed<'_> {
    match value {
        Value::Null => Box::new(CelNull),
        Value::Bool(value) => Box::new(CelBool::from(*value)),
        Value::Number(number) => from_number(number),
        Value::String(text) => Box::new(CelString::from(text.as_str())),
        Value::Array(list) => Box::new(CelList::from(list.iter().map(from_borrowed).collect::<Vec<_>>())),
        Value::Object(map) => {
            let entries = map.iter().map(|(key, value)| (CelMapKey::from(key.as_str()), from_borrowed(value)));
            Box::new(CelMap::from(entries.collect::<HashMap<_, _>>()))
        }
    }
}

fn from_number<'a>(number: &Number) -> Boxed<'a> {
    if let Some(value) = number.as_i64() {
        return Box::new(CelInt::from(value));
    }
    if let Some(value) = number.as_u64() {
        return Box::new(CelUInt::from(value));
    }
    let value = number.as_f64().unwrap_or(f64::NAN);
    if value.fract() == 0.0 && value.abs() <= WHOLE_MAX {
        #[expect(clippy::cast_possible_truncation, reason = "whole, and in the range that is exact")]
        return Box::new(CelInt::from(value as i64));
    }
    Box::new(CelDouble::from(value))
}

/// The JSON of a result, or why it has none.
pub(super) fn to_json(value: &dyn Val) -> Result<Value, String> {
    Writer { bytes_left: RESULT_BYTES_MAX }.write(value, 0)
}

struct Writer {
    bytes_left: usize,
}

impl Writer {
    fn write(&mut self, value: &dyn Val, depth: usize) -> Result<Value, String> {
        if depth > RESULT_DEPTH_MAX {
            return Err(format!("the result is nested more than {RESULT_DEPTH_MAX} levels deep"));
        }
        self.take(8)?;
        if let Some(text) = value.downcast_ref::<CelString<'_>>() {
            return self.text(text.inner());
        }
        if let Some(list) = value.downcast_ref::<CelList<'_>>() {
            let list = list.inner().iter().map(|value| self.write(value.as_ref(), depth + 1));
            return list.collect::<Result<Vec<_>, _>>().map(Value::Array);
        }
        if let Some(map) = value.downcast_ref::<CelMap<'_>>() {
            let entries = map.inner().iter().map(|(key, value)| {
                let key = self.key(key)?;
                Ok((key, self.write(value.as_ref(), depth + 1)?))
            });
            return entries.collect::<Result<Map<_, _>, String>>().map(Value::Object);
        }
        scalar(value)
    }

    fn key(&mut self, key: &CelMapKey<'_>) -> Result<String, String> {
        let key = match key {
            CelMapKey::String(text) => text.inner().to_owned(),
            CelMapKey::Bool(value) => value.inner().to_string(),
            CelMapKey::Int(value) => value.inner().to_string(),
            CelMapKey::UInt(value) => value.inner().to_string(),
        };
        self.take(key.len())?;
        Ok(key)
    }

    fn text(&mut self, text: &str) -> Result<Value, String> {
        self.take(text.len())?;
        Ok(Value::String(text.to_owned()))
    }

    fn take(&mut self, bytes: usize) -> Result<(), String> {
        self.bytes_left = self
            .bytes_left
            .checked_sub(bytes)
            .ok_or_else(|| format!("the result has more than {RESULT_BYTES_MAX} bytes"))?;
        Ok(())
    }
}

fn scalar(value: &dyn Val) -> Result<Value, String> {
    if let Some(value) = value.downcast_ref::<CelBool>() {
        return Ok(Value::Bool(*value.inner()));
    }
    if let Some(value) = value.downcast_ref::<CelInt>() {
        return Ok(Value::from(*value.inner()));
    }
    if let Some(value) = value.downcast_ref::<CelUInt>() {
        return Ok(Value::from(*value.inner()));
    }
    if let Some(value) = value.downcast_ref::<CelDouble>() {
        let value = *value.inner();
        return Number::from_f64(value).map(Value::Number).ok_or_else(|| format!("`{value}` has no JSON form"));
    }
    if value.downcast_ref::<CelNull>().is_some() {
        return Ok(Value::Null);
    }
    if let Some(value) = value.downcast_ref::<CelTimestamp>() {
        return Ok(Value::String(value.inner().to_rfc3339()));
    }
    if let Some(value) = value.downcast_ref::<CelDuration>() {
        let millis = value.inner().num_milliseconds();
        let sign = if millis < 0 { "-" } else { "" };
        let millis = millis.unsigned_abs();
        return Ok(Value::String(format!("{sign}{}.{:03}s", millis / 1000, millis % 1000)));
    }
    if value.downcast_ref::<CelBytes<'_>>().is_some() {
        return Err("bytes have no JSON form; use `string(...)`".to_owned());
    }
    Err(format!("a `{}` has no JSON form", value.get_type().name()))
}

/// How much work it is to read or copy all of `value`, but no more than just over `most`.
pub(super) fn effort(value: &dyn Val, most: u64) -> u64 {
    /// Bytes of text that are as much work as one small value.
    const TEXT_BYTES: u64 = 64;
    let text = |bytes: usize| 1 + bytes as u64 / TEXT_BYTES;
    if let Some(value) = value.downcast_ref::<CelString<'_>>() {
        return text(value.inner().len());
    }
    if let Some(value) = value.downcast_ref::<CelBytes<'_>>() {
        return text(value.inner().len());
    }
    let mut sum = 1;
    if let Some(list) = value.downcast_ref::<CelList<'_>>() {
        for value in list.inner() {
            if sum > most {
                break;
            }
            sum += effort(value.as_ref(), most - sum.min(most));
        }
    } else if let Some(map) = value.downcast_ref::<CelMap<'_>>() {
        for value in map.inner().values() {
            if sum > most {
                break;
            }
            sum += 2 + effort(value.as_ref(), most - sum.min(most));
        }
    }
    sum
}
