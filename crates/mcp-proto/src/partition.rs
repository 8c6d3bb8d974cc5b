//! Partitions: which part of the hashes of homes belongs to which, and how an owner is found.
//!
//! The hash of a home has 16 bits; with 2^n partitions its upper n bits are the partition. An instance says in a label
//! which partitions it owns, so that whoever calls it can go straight to the owner. That is a hint: an instance that is
//! not the owner passes the call on.

use std::fmt;

use crate::TaskId;

/// Metadata by which a call says whose partition it is about, without the body being read: `namespace/queue`, or the id
/// of a task or a workflow.
pub const KEY_METADATA: &str = "mcp-partition-key";

/// Label of an instance with the partitions that it owns, as [`OwnedPartitions`] prints them.
pub const OWNED_LABEL: &str = "mcp.partitions";

/// Most partitions that there may be.
pub const COUNT_MAX: u16 = 256;

/// True for a number of partitions that can be: a power of two, 1 to [`COUNT_MAX`].
pub const fn is_count(count: u16) -> bool {
    count.is_power_of_two() && count <= COUNT_MAX
}

/// The partition of a home's hash, of `count`, which must be a power of two.
pub const fn of_home(home: u16, count: u16) -> u16 {
    debug_assert!(is_count(count), "partitions come in powers of two");
    // In 32 bits, since with one partition all 16 are shifted out.
    #[expect(clippy::cast_possible_truncation, reason = "less than `count`")]
    let partition = ((home as u32) >> (16 - count.trailing_zeros())) as u16;
    partition
}

/// The hash of the home that a value of [`KEY_METADATA`] names; `None` when it names none.
pub fn home_of_key(key: &str) -> Option<u16> {
    match key.split_once('/') {
        Some((namespace, queue)) => Some(TaskId::home_of(namespace, queue)),
        None => key.parse().ok().map(TaskId::home),
    }
}

/// The partitions of one owner. Prints and parses as `count:first,second,…`, for instance `16:0,3,7`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnedPartitions {
    count: u16,
    bits: [u64; COUNT_MAX as usize / 64],
}

impl OwnedPartitions {
    /// None of `count`, which must be a power of two.
    pub const fn none_of(count: u16) -> Self {
        Self { count, bits: [0; COUNT_MAX as usize / 64] }
    }

    /// These and one more. One that is not below the count is left out.
    #[must_use]
    pub const fn with(mut self, partition: u16) -> Self {
        if partition < self.count {
            self.bits[partition as usize / 64] |= 1 << (partition % 64);
        }
        self
    }

    /// True when `partition` is one of them.
    pub const fn has(&self, partition: u16) -> bool {
        partition < self.count && self.bits[partition as usize / 64] & (1 << (partition % 64)) != 0
    }

    /// True when the partition of this home is one of them.
    pub const fn has_home(&self, home: u16) -> bool {
        self.has(of_home(home, self.count))
    }

    /// What a label says; `None` when it cannot be read.
    pub fn parse(text: &str) -> Option<Self> {
        let (count, list) = text.split_once(':')?;
        let count = count.parse().ok().filter(|count| is_count(*count))?;
        let mut owned = Self::none_of(count);
        for number in list.split(',').filter(|number| !number.is_empty()) {
            owned = owned.with(number.parse().ok().filter(|number| *number < count)?);
        }
        Some(owned)
    }
}

impl fmt::Display for OwnedPartitions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.count)?;
        let mut separator = "";
        for partition in (0..self.count).filter(|partition| self.has(*partition)) {
            write!(f, "{separator}{partition}")?;
            separator = ",";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{OwnedPartitions, home_of_key, is_count, of_home};
    use crate::TaskId;

    #[test]
    fn partitions_split_the_homes_into_equal_ranges() {
        for (home, count, expected) in
            [(0, 1, 0), (u16::MAX, 1, 0), (0x0FFF, 16, 0), (0x1000, 16, 1), (u16::MAX, 16, 15), (u16::MAX, 256, 255)]
        {
            assert_eq!(of_home(home, count), expected, "{home:#x} of {count}");
        }
        assert!(!is_count(0) && !is_count(3) && !is_count(512) && is_count(256));
    }

    #[test]
    fn a_key_names_a_queue_or_a_task() {
        let home = TaskId::home_of("shop", "mail");
        assert_eq!(home_of_key("shop/mail"), Some(home));
        assert_eq!(home_of_key(&TaskId::new(1, 2, home, 3).to_string()), Some(home));
        assert_eq!(home_of_key("neither"), None);
    }

    #[test]
    fn owned_partitions_print_and_parse() {
        let owned = OwnedPartitions::none_of(256).with(0).with(63).with(64).with(255);
        assert_eq!(owned.to_string(), "256:0,63,64,255");
        assert_eq!(OwnedPartitions::parse("256:0,63,64,255"), Some(owned));
        assert!(owned.has_home(0xFF00) && !owned.has_home(0xFE00));
        assert_eq!(OwnedPartitions::parse("16:"), Some(OwnedPartitions::none_of(16)));
        for wrong in ["", "16", "3:1", "16:16", "16:x", "-1:0"] {
            assert_eq!(OwnedPartitions::parse(wrong), None, "{wrong}");
        }
    }
}
