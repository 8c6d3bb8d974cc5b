//! Page tokens: where a list goes on, tied to its filters.

use mcp_proto::{Code, Error, TaskId};

/// First byte of a token; another layout gets another one.
const VERSION: u8 = 1;
/// Version, hash of the filters, id.
const LEN: usize = 1 + 8 + 16;

/// Where a list with these filters goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PageToken {
    /// Hash of the filters.
    pub(crate) filters: u64,
    /// The page has tasks older than this one.
    pub(crate) before: TaskId,
}

impl PageToken {
    /// The token as text: hexadecimal digits, opaque to callers.
    pub(crate) fn encode(self) -> String {
        let mut bytes = Vec::with_capacity(LEN);
        bytes.push(VERSION);
        bytes.extend_from_slice(&self.filters.to_be_bytes());
        bytes.extend_from_slice(&self.before.as_u128().to_be_bytes());
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Reads a token that must belong to these filters.
    ///
    /// # Errors
    /// `INVALID_PAGE_TOKEN`.
    pub(crate) fn decode(text: &str, filters: u64) -> Result<Self, Error> {
        let token = Self::parse(text).filter(|token| token.filters == filters);
        token.ok_or_else(|| {
            Error::new(Code::InvalidPageToken, "`page_token` was not made by this list with these filters")
                .with_violation("page_token", "must be the `next_page_token` of a page with the same filters")
        })
    }

    fn parse(text: &str) -> Option<Self> {
        if text.len() != LEN * 2 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let (version, rest) = text.split_at(2);
        let (filters, before) = rest.split_at(16);
        (u8::from_str_radix(version, 16).ok()? == VERSION).then_some(Self {
            filters: u64::from_str_radix(filters, 16).ok()?,
            before: TaskId::from_u128(u128::from_str_radix(before, 16).ok()?),
        })
    }
}

#[cfg(test)]
mod tests {
    use mcp_proto::{Code, TaskId};

    use super::PageToken;

    #[test]
    fn a_token_comes_back_for_its_own_filters_only() {
        let token = PageToken { filters: 77, before: TaskId::new(5, 6, 7, 8) };
        let text = token.encode();
        assert_eq!(PageToken::decode(&text, 77).unwrap(), token);
        let mut other_version = text.clone();
        other_version.replace_range(..2, "02");
        for (text, filters) in [(text.as_str(), 78), ("", 77), ("zz", 77), (&text[2..], 77), (&other_version, 77)] {
            assert_eq!(PageToken::decode(text, filters).unwrap_err().code(), Code::InvalidPageToken, "{text}");
        }
    }
}
