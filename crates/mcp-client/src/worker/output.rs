//! What a task may give as its output.

use std::io;

use mcp_proto::{Code, Error};
use prost::Message as _;

use super::OUTPUT_BYTES_MAX;
use crate::value;

/// The wire form of an output; `None` for JSON's `null`, which is no output.
///
/// # Errors
/// `OUTPUT_INVALID` when it is larger than [`OUTPUT_BYTES_MAX`], as JSON text or on the wire, or nested deeper than
/// [`value::DEPTH_MAX`].
pub fn to_output(json: serde_json::Value) -> Result<Option<prost_types::Value>, Error> {
    if json.is_null() {
        return Ok(None);
    }
    if value::is_too_deep(&json) {
        let message = format!("the output is nested deeper than {}", value::DEPTH_MAX);
        return Err(Error::new(Code::OutputInvalid, message));
    }
    let mut length = Length(0);
    let written = serde_json::to_writer(&mut length, &json);
    if written.is_err() || length.0 > OUTPUT_BYTES_MAX {
        let message = format!("the output is larger than {OUTPUT_BYTES_MAX} bytes");
        return Err(Error::new(Code::OutputInvalid, message));
    }
    let output = value::to_value(json);
    let bytes = output.encoded_len();
    if bytes > OUTPUT_BYTES_MAX {
        let message = format!("the output takes {bytes} bytes on the wire, more than {OUTPUT_BYTES_MAX}");
        return Err(Error::new(Code::OutputInvalid, message));
    }
    Ok(Some(output))
}

/// Counts what is written.
struct Length(usize);

impl io::Write for Length {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{OUTPUT_BYTES_MAX, to_output};

    #[test]
    fn an_output_is_bounded_as_text_and_on_the_wire() {
        assert_eq!(to_output(Value::Null), Ok(None));
        let text = |bytes: usize| Value::String("x".repeat(bytes));
        // Two quotes as text, up to eight bytes of tags and lengths on the wire.
        assert!(to_output(text(OUTPUT_BYTES_MAX - 10)).is_ok());
        assert!(to_output(text(OUTPUT_BYTES_MAX - 1)).is_err());
        // Short as text, long on the wire.
        let digits = json!(vec![1; OUTPUT_BYTES_MAX / 4]);
        let message = to_output(digits).unwrap_err().message().to_owned();
        assert!(message.contains("on the wire"), "{message}");
    }
}
