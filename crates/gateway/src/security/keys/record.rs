//! A key and what is kept of it. Pure.

use std::{fmt, time::Duration};

use aws_lc_rs::{constant_time, digest};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};

use crate::security::principal::Grants;

/// How every key begins, so that it is recognised wherever it turns up.
pub(crate) const PREFIX: &str = "mcp_";

/// Random bytes of a key's id, and of its secret.
const ID_BYTES: usize = 8;
const SECRET_BYTES: usize = 32;

/// Random bytes that [`mint`] needs.
pub(crate) const RANDOM_BYTES: usize = ID_BYTES + SECRET_BYTES;

/// A hash, as kept: SHA-256 in hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hash(String);

impl Hash {
    /// The hash of a text.
    pub(crate) fn of(text: &str) -> Self {
        Self(hex(digest::digest(&digest::SHA256, text.as_bytes()).as_ref()))
    }

    /// True for the text that this is the hash of. It takes the same time for every text of a length.
    pub(crate) fn is_of(&self, text: &str) -> bool {
        constant_time::verify_slices_are_equal(self.0.as_bytes(), Self::of(text).0.as_bytes()).is_ok()
    }
}

/// A new key.
pub(crate) struct Minted {
    /// Its id, which is no secret.
    pub(crate) id: String,
    /// The whole key.
    pub(crate) text: String,
}

/// The secret part stays out of logs.
impl fmt::Debug for Minted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Minted").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Makes a key of random bytes.
pub(crate) fn mint(random: [u8; RANDOM_BYTES]) -> Minted {
    let (id, secret) = random.split_at(ID_BYTES);
    let id = hex(id);
    let text = format!("{PREFIX}{id}_{}", URL_SAFE_NO_PAD.encode(secret));
    Minted { id, text }
}

/// The id in a key; `None` when it does not look like one of ours.
pub(crate) fn id_of(key: &str) -> Option<&str> {
    let (id, _) = key.strip_prefix(PREFIX)?.split_once('_')?;
    is_id(id).then_some(id)
}

/// True for what can be the id of a key.
pub(crate) fn is_id(text: &str) -> bool {
    text.len() == 2 * ID_BYTES && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What is kept of a key, as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Its id.
    pub(crate) id: String,
    /// What people call it.
    pub(crate) name: String,
    /// Hash of the whole key.
    pub(crate) hash: Hash,
    /// What its bearer may do.
    pub(crate) roles: Grants,
    /// Who made it.
    #[serde(default)]
    pub(crate) created_by: String,
    /// When, in milliseconds since 1970.
    #[serde(default)]
    pub(crate) created_unix_ms: u64,
    /// When it ends, in milliseconds since 1970; `None`: when it is revoked.
    #[serde(default)]
    pub(crate) expires_unix_ms: Option<u64>,
}

impl Record {
    /// True once it has ended; `now` is counted from 1970.
    pub(crate) fn has_expired(&self, now: Duration) -> bool {
        self.expires_unix_ms.is_some_and(|at| u128::from(at) <= now.as_millis())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minted() -> Minted {
        let mut random = [0xfb; RANDOM_BYTES];
        random[0] = 0x0a;
        mint(random)
    }

    #[test]
    fn a_key_tells_its_id_and_nothing_else() {
        let key = minted();
        assert_eq!(key.id, "0afbfbfbfbfbfbfb");
        assert_eq!(id_of(&key.text), Some(key.id.as_str()));
        assert_eq!(key.text.len(), 4 + 16 + 1 + 43);
        assert!(!format!("{key:?}").contains(&key.text));
        for text in ["", "mcp_", "mcp_x_y", "mcp_0afbfbfbfbfbfbfb", "mcp_0AFBFBFBFBFBFBFB_x", "key_0afbfbfbfbfbfbfb_x"]
        {
            assert_eq!(id_of(text), None, "{text}");
        }
    }

    #[test]
    fn only_the_whole_key_has_its_hash() {
        let key = minted().text;
        let hash = Hash::of(&key);
        assert!(hash.is_of(&key));
        assert!(!hash.is_of(&key[..key.len() - 1]) && !hash.is_of("") && !hash.is_of(&key.to_uppercase()));
        assert!(!format!("{hash:?}").contains(&key[21..]));
    }

    #[test]
    fn a_record_is_readable_json_and_expires() {
        let json = r#"{"id":"0afbfbfbfbfbfbfb","name":"ci","hash":"00","roles":["operator@a"],"expires_unix_ms":5}"#;
        let record: Record = serde_json::from_str(json).unwrap();
        assert!(record.has_expired(Duration::from_millis(5)) && !record.has_expired(Duration::from_millis(4)));
        assert!(!Record { expires_unix_ms: None, ..record }.has_expired(Duration::MAX));
    }
}
