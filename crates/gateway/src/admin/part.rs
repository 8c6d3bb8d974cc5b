//! Which part of a long list is shown.

use mcp_proto::Error;

/// Entries of a part that says nothing else, and the most.
const LIMIT: usize = 100;
const LIMIT_MAX: usize = 1_000;

/// A part of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    /// Entries before it.
    pub(super) offset: usize,
    /// Most entries in it.
    pub(super) limit: usize,
}

impl Part {
    /// Reads `offset` and `limit` in a query.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` names what is no number, or too large.
    pub(super) fn parse(query: &str) -> Result<Self, Error> {
        let number = |name: &str, usual: usize| match parameter(query, name) {
            None => Ok(usual),
            Some(text) => {
                text.parse().map_err(|_| Error::invalid(name, format!("is `{text}`, must be a number from 0")))
            }
        };
        let part = Self { offset: number("offset", 0)?, limit: number("limit", LIMIT)? };
        if part.limit > LIMIT_MAX {
            return Err(Error::invalid("limit", format!("is {}, must be at most {LIMIT_MAX}", part.limit)));
        }
        Ok(part)
    }
}

/// The first value of a parameter in a query. What is percent-encoded stays so: no value here need be.
pub(super) fn parameter<'q>(query: &'q str, name: &str) -> Option<&'q str> {
    query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_bounded() {
        let parse = |query| Part::parse(query).map_err(|error| error.violations()[0].field.clone());
        assert_eq!(parse(""), Ok(Part { offset: 0, limit: LIMIT }));
        assert_eq!(parse("limit=1000&offset=7&x"), Ok(Part { offset: 7, limit: 1_000 }));
        assert_eq!(parse("limit=1001"), Err("limit".to_owned()));
        assert_eq!(parse("offset=-1"), Err("offset".to_owned()));
    }
}
