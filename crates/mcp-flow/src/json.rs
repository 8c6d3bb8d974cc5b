//! JSON values that are shared instead of copied.

use std::{ops::Deref, sync::Arc};

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A JSON value that costs a pointer to clone: an input, an output, an error.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Json(Arc<Value>);

impl Json {
    /// About how many bytes it takes as text.
    #[must_use]
    pub fn weight(&self) -> usize {
        weight(&self.0)
    }

    /// The value itself, copied only if it is shared.
    #[must_use]
    pub fn into_value(self) -> Value {
        Arc::unwrap_or_clone(self.0)
    }
}

impl From<Value> for Json {
    fn from(value: Value) -> Self {
        Self(Arc::new(value))
    }
}

impl Deref for Json {
    type Target = Value;

    fn deref(&self) -> &Value {
        &self.0
    }
}

/// What a number counts, whatever its digits.
const NUMBER_BYTES: usize = 8;
/// What an element counts on top of what it holds: quotes, comma, colon.
const ELEMENT_BYTES: usize = 4;

/// About how many bytes `value` takes as text.
pub(crate) fn weight(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => NUMBER_BYTES,
        Value::String(text) => text.len() + ELEMENT_BYTES,
        Value::Array(list) => list.iter().map(|value| weight(value) + ELEMENT_BYTES).sum::<usize>() + ELEMENT_BYTES,
        Value::Object(map) => {
            map.iter().map(|(key, value)| key.len() + weight(value) + ELEMENT_BYTES).sum::<usize>() + ELEMENT_BYTES
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn it_is_written_as_the_value_itself() {
        let json = Json::from(json!({"a": [1, 2.5, null, "x"]}));
        let text = serde_json::to_string(&json).unwrap();
        assert_eq!(text, r#"{"a":[1,2.5,null,"x"]}"#);
        assert_eq!(serde_json::from_str::<Json>(&text).unwrap(), json);
    }

    #[test]
    fn the_weight_is_near_the_length_of_the_text() {
        for value in [json!(null), json!("some text"), json!({"key": ["a", "b", 1, 2, 3]}), json!([[], {}, ""])] {
            let (text, weight) = (value.to_string().len(), weight(&value));
            assert!(weight >= text / 2 && weight <= text * 4 + 16, "{weight} for {text}: {value}");
        }
    }
}
