//! Names and numbers.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Time in milliseconds since 1970.
pub type Millis = u64;

/// Longest namespace or name of a schedule, in bytes.
const NAME_BYTES_MAX: usize = 255;

/// The part of the store that holds a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition(pub u16);

/// What a fire started, as a number: a task, or whatever else the program around starts. On record as 32 hexadecimal
/// digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId(pub u128);

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl Serialize for TaskId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TaskId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        u128::from_str_radix(&text, 16).map(Self).map_err(de::Error::custom)
    }
}

/// A schedule in its namespace. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "RawId", into = "RawId")]
pub struct ScheduleId {
    namespace: Arc<str>,
    name: Arc<str>,
}

/// An id as it is on record.
#[derive(Serialize, Deserialize)]
struct RawId {
    namespace: String,
    name: String,
}

impl ScheduleId {
    /// An id. `None` when a part is empty, longer than 255 bytes, or has a NUL in it, which separates parts of keys.
    pub fn new(namespace: &str, name: &str) -> Option<Self> {
        let fits = |part: &str| !part.is_empty() && part.len() <= NAME_BYTES_MAX && !part.contains('\0');
        (fits(namespace) && fits(name)).then(|| Self { namespace: namespace.into(), name: name.into() })
    }

    /// The namespace.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The name within the namespace.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where the store keeps the schedule: the parts with a NUL between them.
    pub fn key(&self) -> Vec<u8> {
        [self.namespace.as_bytes(), self.name.as_bytes()].join(&0)
    }
}

impl fmt::Display for ScheduleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl fmt::Debug for ScheduleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl TryFrom<RawId> for ScheduleId {
    type Error = &'static str;

    fn try_from(raw: RawId) -> Result<Self, Self::Error> {
        Self::new(&raw.namespace, &raw.name).ok_or("a schedule's namespace and name must be 1 to 255 bytes without NUL")
    }
}

impl From<ScheduleId> for RawId {
    fn from(id: ScheduleId) -> Self {
        Self { namespace: id.namespace.as_ref().to_owned(), name: id.name.as_ref().to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_takes_what_a_key_can_hold() {
        assert_eq!(ScheduleId::new("default", "nightly").unwrap().key(), b"default\0nightly");
        for (namespace, name) in [("", "a"), ("a", ""), ("a\0b", "c"), ("a", "\0"), ("a", &"x".repeat(256))] {
            assert_eq!(ScheduleId::new(namespace, name), None, "{namespace:?} {name:?}");
        }
        assert!(ScheduleId::new("a", &"x".repeat(255)).is_some());
    }

    #[test]
    fn ids_survive_the_record() {
        let id = ScheduleId::new("default", "nightly").unwrap();
        let text = serde_json::to_string(&id).unwrap();
        assert_eq!(text, r#"{"namespace":"default","name":"nightly"}"#);
        assert_eq!(serde_json::from_str::<ScheduleId>(&text).unwrap(), id);
        assert!(serde_json::from_str::<ScheduleId>(r#"{"namespace":"","name":"nightly"}"#).is_err());

        let task = TaskId(0x0123);
        let text = serde_json::to_string(&task).unwrap();
        assert_eq!(text, format!("\"{:0>32}\"", "123"));
        assert_eq!(serde_json::from_str::<TaskId>(&text).unwrap(), task);
    }
}
