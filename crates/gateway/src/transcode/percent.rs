//! Percent-decoding of paths and queries.

use std::borrow::Cow;

/// Which part of a URL a text comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// One segment of a path: everything is decoded.
    Segment,
    /// Several segments: an encoded `/` stays encoded, since it does not separate segments.
    Segments,
    /// A name or a value of a query: `+` is a space.
    Query,
}

/// Decodes a text; `None` when an escape is broken or the result is not UTF-8.
pub(crate) fn decode(text: &str, mode: Mode) -> Option<Cow<'_, str>> {
    let escaped = |byte: u8| byte == b'%' || (mode == Mode::Query && byte == b'+');
    if !text.bytes().any(escaped) {
        return Some(Cow::Borrowed(text));
    }
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'%' => {
                let byte = hex(*bytes.get(at + 1)?)? << 4 | hex(*bytes.get(at + 2)?)?;
                if byte == b'/' && mode == Mode::Segments {
                    decoded.extend_from_slice(&bytes[at..at + 3]);
                } else {
                    decoded.push(byte);
                }
                at += 3;
            }
            b'+' if mode == Mode::Query => {
                decoded.push(b' ');
                at += 1;
            }
            byte => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8(decoded).ok().map(Cow::Owned)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_decoded() {
        for (text, mode, expected) in [
            ("plain", Mode::Segment, Some("plain")),
            ("a%20b", Mode::Segment, Some("a b")),
            ("a+b", Mode::Segment, Some("a+b")),
            ("a+b%2B", Mode::Query, Some("a b+")),
            ("a%2Fb", Mode::Segment, Some("a/b")),
            ("x/a%2fb%20", Mode::Segments, Some("x/a%2fb ")),
            ("%C3%A9", Mode::Segment, Some("é")),
            ("%", Mode::Segment, None),
            ("%4", Mode::Segment, None),
            ("%zz", Mode::Segment, None),
            ("%ff", Mode::Segment, None),
        ] {
            assert_eq!(decode(text, mode).as_deref(), expected, "{text}");
        }
    }
}
