//! Ids that cross the wire.

use std::{fmt, str::FromStr};

use uuid::Uuid;

use crate::error::Error;

/// The id of a task: a UUIDv7, so that ids sort by submit time.
///
/// Sixteen bits of its random part are the hash of the task's home (namespace and queue), so that any id leads to
/// the partition that holds the task without a look-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TaskId(Uuid);

impl TaskId {
    /// The id of a task made at `unix_ms` (milliseconds since 1970, 48 bits) in the queue whose hash is `home`.
    ///
    /// `random` makes it unique; 46 of its bits are used. Ids made in the same millisecond sort by `counter`
    /// (12 bits), which the maker counts up.
    pub fn new(unix_ms: u64, counter: u16, home: u16, random: u64) -> Self {
        let mut bytes = [0; 16];
        bytes[..6].copy_from_slice(&unix_ms.to_be_bytes()[2..]);
        bytes[6..8].copy_from_slice(&(0x7000 | (counter & 0x0FFF)).to_be_bytes());
        bytes[8..].copy_from_slice(&random.to_be_bytes());
        bytes[8] = 0x80 | (bytes[8] & 0x3F);
        bytes[14..].copy_from_slice(&home.to_be_bytes());
        Self(Uuid::from_bytes(bytes))
    }

    /// The hash of a task's home. It is part of every id, so it never changes.
    pub fn home_of(namespace: &str, queue: &str) -> u16 {
        // FNV-1a, folded to 16 bits; a zero byte keeps ("a", "bc") and ("ab", "c") apart.
        let hash =
            namespace.bytes().chain([0]).chain(queue.bytes()).fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
            });
        let folded = hash ^ (hash >> 32);
        let [.., high, low] = (folded ^ (folded >> 16)).to_be_bytes();
        u16::from_be_bytes([high, low])
    }

    /// The hash of the home of this task.
    pub fn home(self) -> u16 {
        let bytes = self.0.as_bytes();
        u16::from_be_bytes([bytes[14], bytes[15]])
    }

    /// When the id was made, in milliseconds since 1970.
    pub fn unix_ms(self) -> u64 {
        self.0.as_u64_pair().0 >> 16
    }

    /// The id as a number, for stores and the engine.
    pub fn as_u128(self) -> u128 {
        self.0.as_u128()
    }

    /// The id that [`as_u128`](Self::as_u128) gave.
    pub fn from_u128(value: u128) -> Self {
        Self(Uuid::from_u128(value))
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl FromStr for TaskId {
    type Err = Error;

    /// # Errors
    /// `INVALID_ARGUMENT` for `task_id` when the text is not a UUID.
    fn from_str(text: &str) -> Result<Self, Error> {
        Uuid::try_parse(text)
            .map(Self)
            .map_err(|_| Error::invalid("task_id", "must be a UUID such as `018f3b1e-7c1a-7000-8000-0123456789ab`"))
    }
}

#[cfg(test)]
mod tests {
    use super::TaskId;

    #[test]
    fn an_id_is_a_uuid_v7_that_keeps_its_parts() {
        let id = TaskId::new(1_700_000_000_123, 77, 0xBEEF, u64::MAX);
        let uuid = uuid::Uuid::from_u128(id.as_u128());
        assert_eq!(uuid.get_version_num(), 7);
        assert_eq!(uuid.get_variant(), uuid::Variant::RFC4122);
        assert_eq!((id.unix_ms(), id.home()), (1_700_000_000_123, 0xBEEF));
        assert_eq!(id.to_string().parse::<TaskId>().unwrap(), id);
    }

    #[test]
    fn ids_sort_by_time_then_counter() {
        let home = TaskId::home_of("default", "default");
        let ids =
            [(5, 0), (5, 1), (5, 4095), (6, 0)].map(|(ms, counter)| TaskId::new(ms, counter, home, u64::MAX - ms));
        assert!(ids.is_sorted());
    }

    #[test]
    fn a_home_is_the_same_for_ever() {
        assert_eq!(TaskId::home_of("default", "default"), HOME_DEFAULT);
        assert_ne!(TaskId::home_of("a", "bc"), TaskId::home_of("ab", "c"));
    }

    /// Stored ids carry this; changing the hash would lose their tasks.
    const HOME_DEFAULT: u16 = 5351;
}
