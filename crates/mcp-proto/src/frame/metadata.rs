//! The strings beside a frame's body: credentials, deadline, trace.

use std::{borrow::Cow, fmt, time::Duration};

use bytes::Bytes;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{MapAccess, Visitor},
    ser::SerializeMap,
};

use crate::{Code, Error};

/// Most keys of one block.
pub const KEYS_MAX: usize = 64;

/// Largest block, in bytes of JSON.
pub const METADATA_BYTES_MAX: usize = u16::MAX as usize;

/// The pairs of a metadata block, in their order and each key once.
///
/// Read from a frame it borrows the frame's bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Metadata<'a> {
    pairs: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

impl<'a> Metadata<'a> {
    /// W3C trace context of the caller.
    pub const TRACEPARENT: &'static str = "traceparent";
    /// How long the caller waits, in milliseconds.
    pub const TIMEOUT_MS: &'static str = "timeout-ms";
    /// The same key means the same submission.
    pub const IDEMPOTENCY_KEY: &'static str = "idempotency-key";
    /// `Bearer` and an API key or a token.
    pub const AUTHORIZATION: &'static str = "authorization";
    /// `/package.Service/Method` of a [`Command::CALL`](super::Command::CALL).
    pub const METHOD: &'static str = "method";
    /// The topic of an event or of a message to publish.
    pub const TOPIC: &'static str = "topic";
    /// Which answer of its stream one is, counted from 1: where a client that came back may have seen it.
    pub const ANSWER: &'static str = "answer";

    /// No pairs.
    pub const fn new() -> Self {
        Self { pairs: Vec::new() }
    }

    /// Reads a block. An empty one has no pairs.
    ///
    /// # Errors
    /// `MALFORMED_BODY` when it is not a JSON object of at most [`KEYS_MAX`] strings, each key once.
    pub fn parse(block: &'a [u8]) -> Result<Self, Error> {
        if block.is_empty() {
            return Ok(Self::new());
        }
        serde_json::from_slice(block).map_err(|error| {
            Error::new(Code::MalformedBody, format!("the metadata is not a JSON object of strings: {error}"))
        })
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.pairs.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_ref())
    }

    /// Sets a key, in place of its former value if it had one.
    #[must_use]
    pub fn with(mut self, key: impl Into<Cow<'a, str>>, value: impl Into<Cow<'a, str>>) -> Self {
        self.set(key, value);
        self
    }

    /// Sets a key, in place of its former value if it had one.
    pub fn set(&mut self, key: impl Into<Cow<'a, str>>, value: impl Into<Cow<'a, str>>) {
        let (key, value) = (key.into(), value.into());
        match self.pairs.iter_mut().find(|(known, _)| *known == key) {
            Some(pair) => pair.1 = value,
            None => self.pairs.push((key, value)),
        }
    }

    /// The pairs in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|(key, value)| (key.as_ref(), value.as_ref()))
    }

    /// How many pairs there are.
    pub fn len(&self) -> usize {
        self.pairs.len()
    }

    /// True when there is none.
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// How long the caller waits ([`Self::TIMEOUT_MS`]).
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` when it is not a whole number.
    pub fn timeout(&self) -> Result<Option<Duration>, Error> {
        let Some(text) = self.get(Self::TIMEOUT_MS) else { return Ok(None) };
        match text.parse() {
            Ok(millis) => Ok(Some(Duration::from_millis(millis))),
            Err(_) => Err(Error::invalid(Self::TIMEOUT_MS, format!("is `{text}`, not a whole number of milliseconds"))),
        }
    }

    /// The pairs without a tie to the frame they were read from.
    pub fn into_owned(self) -> Metadata<'static> {
        let own = |text: Cow<'a, str>| Cow::Owned(text.into_owned());
        Metadata { pairs: self.pairs.into_iter().map(|(key, value)| (own(key), own(value))).collect() }
    }

    /// The block as it goes into a frame; empty without pairs.
    pub fn to_block(&self) -> Bytes {
        if self.is_empty() {
            return Bytes::new();
        }
        Bytes::from(serde_json::to_vec(self).expect("a map of strings is JSON"))
    }
}

impl Serialize for Metadata<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.pairs.len()))?;
        for (key, value) in &self.pairs {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

/// A string that is borrowed when the JSON has no escapes in it.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> Deserialize<'de> for Metadata<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Metadata<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of strings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut metadata = Metadata::new();
                while let Some((Text(key), Text(value))) = map.next_entry()? {
                    if metadata.len() == KEYS_MAX {
                        return Err(serde::de::Error::custom(format_args!("it has more than {KEYS_MAX} keys")));
                    }
                    if metadata.get(&key).is_some() {
                        return Err(serde::de::Error::custom(format_args!("`{key}` is there twice")));
                    }
                    metadata.pairs.push((key, value));
                }
                Ok(metadata)
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}
