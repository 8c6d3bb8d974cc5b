//! What a request may ask for. Both backends refuse the same requests with [`Error::Invalid`].

use std::time::Duration;

use crate::model::Error;

/// Longest key, in bytes.
pub const KEY_BYTES_MAX: usize = 1024;

/// Largest value, in bytes (256 KiB). Coordination holds small records only.
pub const VALUE_BYTES_MAX: usize = 256 * 1024;

/// Shortest time of a lease. A backend may make it longer, never shorter.
pub const LEASE_TTL_MIN: Duration = Duration::from_secs(1);

/// Longest time of a lease.
pub const LEASE_TTL_MAX: Duration = Duration::from_secs(3600);

pub(crate) fn check_key(key: &str) -> Result<(), Error> {
    match key.len() {
        0 => Err(Error::Invalid { reason: "the key is empty".to_owned() }),
        1..=KEY_BYTES_MAX => Ok(()),
        len => Err(Error::Invalid { reason: format!("the key has {len} bytes, more than {KEY_BYTES_MAX}") }),
    }
}

/// A prefix may be empty: all keys.
pub(crate) fn check_prefix(prefix: &str) -> Result<(), Error> {
    if prefix.is_empty() { Ok(()) } else { check_key(prefix) }
}

pub(crate) fn check_value(value: &[u8]) -> Result<(), Error> {
    match value.len() {
        0..=VALUE_BYTES_MAX => Ok(()),
        len => Err(Error::Invalid { reason: format!("the value has {len} bytes, more than {VALUE_BYTES_MAX}") }),
    }
}

/// The time of a lease in whole seconds, rounded up.
pub(crate) fn lease_seconds(ttl: Duration) -> Result<u32, Error> {
    if !(LEASE_TTL_MIN..=LEASE_TTL_MAX).contains(&ttl) {
        let reason = format!("the lease of {ttl:?} is not within {LEASE_TTL_MIN:?} and {LEASE_TTL_MAX:?}");
        return Err(Error::Invalid { reason });
    }
    let up = u32::from(ttl.subsec_nanos() > 0);
    Ok(u32::try_from(ttl.as_secs()).expect("at most an hour") + up)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_lasts_whole_seconds_rounded_up() {
        assert_eq!(lease_seconds(LEASE_TTL_MIN).unwrap(), 1);
        assert_eq!(lease_seconds(Duration::from_millis(1001)).unwrap(), 2);
        assert_eq!(lease_seconds(LEASE_TTL_MAX).unwrap(), 3600);
    }
}
