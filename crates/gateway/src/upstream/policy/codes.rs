//! A set of gRPC statuses, written as a list of names.

use mcp_chassis::metrics::code_name;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use tonic::Code;

/// Statuses there are: 0 to 16.
const CODES: i32 = 17;

/// A set of gRPC statuses, for instance `["UNAVAILABLE", "INTERNAL"]`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Codes(u32);

impl Codes {
    /// True when the status is one of them.
    pub fn has(self, code: Code) -> bool {
        self.0 & (1 << code as u32) != 0
    }

    /// They, in the order of their numbers.
    pub fn iter(self) -> impl Iterator<Item = Code> {
        (0..CODES).map(Code::from_i32).filter(move |code| self.has(*code))
    }

    /// The status of this name.
    fn parse(name: &str) -> Option<Code> {
        (0..CODES).map(Code::from_i32).find(|code| code_name(*code) == name)
    }
}

impl<const N: usize> From<[Code; N]> for Codes {
    fn from(codes: [Code; N]) -> Self {
        codes.into_iter().collect()
    }
}

impl FromIterator<Code> for Codes {
    fn from_iter<I: IntoIterator<Item = Code>>(codes: I) -> Self {
        Self(codes.into_iter().fold(0, |set, code| set | 1 << code as u32))
    }
}

impl Serialize for Codes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter().map(code_name))
    }
}

impl<'de> Deserialize<'de> for Codes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::<String>::deserialize(deserializer)?
            .into_iter()
            .map(|name| {
                Self::parse(&name)
                    .ok_or_else(|| de::Error::custom(format!("`{name}` is not a gRPC status such as `UNAVAILABLE`")))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_written_by_name() {
        let codes = Codes::from([Code::Unavailable, Code::Unknown]);
        let text = serde_json::to_string(&codes).unwrap();
        assert_eq!(text, r#"["UNKNOWN","UNAVAILABLE"]"#);
        assert_eq!(serde_json::from_str::<Codes>(&text).unwrap(), codes);
        assert!(codes.has(Code::Unknown) && !codes.has(Code::Ok));
        let error = serde_json::from_str::<Codes>(r#"["unavailable"]"#).unwrap_err();
        assert!(error.to_string().contains("`unavailable` is not a gRPC status"), "{error}");
    }
}
