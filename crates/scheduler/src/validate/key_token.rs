//! Page tokens of lists that are in the order of keys.

use mcp_proto::{Code, Error};

/// First byte of a token; another layout gets another one.
const VERSION: u8 = 1;
/// Version and hash of the filters.
const HEAD_LEN: usize = 1 + 8;

/// Where a list goes on that is in the order of keys: after a key. Tied to the list's filters.
#[derive(Debug)]
pub(crate) struct KeyToken;

impl KeyToken {
    /// The token as text: hexadecimal digits, opaque to callers.
    pub(crate) fn encode(after: &[u8], filters: u64) -> String {
        let head = std::iter::once(VERSION).chain(filters.to_be_bytes());
        head.chain(after.iter().copied()).map(|byte| format!("{byte:02x}")).collect()
    }

    /// Reads a token that must belong to these filters; `None` for the first page.
    ///
    /// # Errors
    /// `INVALID_PAGE_TOKEN`.
    pub(crate) fn decode(text: &str, filters: u64) -> Result<Option<Vec<u8>>, Error> {
        if text.is_empty() {
            return Ok(None);
        }
        let head: Vec<u8> = std::iter::once(VERSION).chain(filters.to_be_bytes()).collect();
        let bytes = bytes_of(text).filter(|bytes| bytes.starts_with(&head));
        bytes.map(|bytes| Some(bytes[HEAD_LEN..].to_vec())).ok_or_else(|| {
            Error::new(Code::InvalidPageToken, "`page_token` was not made by this list with these filters")
                .with_violation("page_token", "must be the `next_page_token` of a page with the same filters")
        })
    }

    /// Hash of filters, the same in every replica and version (FNV-1a).
    pub(crate) fn hash(filters: &[&[u8]]) -> u64 {
        let bytes = filters.iter().flat_map(|filter| filter.iter().copied().chain([0xFF]));
        bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
    }
}

fn bytes_of(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.is_ascii() {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use mcp_proto::Code;

    use super::KeyToken;

    #[test]
    fn a_token_comes_back_for_its_own_filters_only() {
        let filters = KeyToken::hash(&[b"a", b"b"]);
        assert_ne!(filters, KeyToken::hash(&[b"ab", b""]));
        let text = KeyToken::encode(b"key\0\xFF", filters);
        assert_eq!(KeyToken::decode(&text, filters).unwrap().unwrap(), b"key\0\xFF");
        assert_eq!(KeyToken::decode("", filters).unwrap(), None);
        for (text, filters) in [(text.as_str(), 1), ("0", filters), ("zz", filters), (&text[2..], filters)] {
            assert_eq!(KeyToken::decode(text, filters).unwrap_err().code(), Code::InvalidPageToken, "{text}");
        }
    }
}
