//! The buckets of everybody who calls, a bounded number of them.
//!
//! Threads share them, because a caller's connections are spread over all threads. Each shard has a lock of its own that
//! is held for one look-up.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use super::{
    bucket::{FullAt, Rate, Taken},
    settings::{By, RateLimit},
};

/// Parts with a lock each.
const SHARDS: usize = 32;

/// When a shard is full, so many of its buckets are compared for the one to forget.
const SAMPLE: usize = 8;

/// Who calls, as far as limits go.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Caller<'a> {
    /// Where from.
    pub(crate) address: IpAddr,
    /// Who; empty when that is not known.
    pub(crate) principal: &'a str,
    /// The route that the call takes; empty for the default one.
    pub(crate) route: &'a str,
}

/// What became of a request under one limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Decision {
    /// Name of the limit.
    pub(crate) name: String,
    /// Requests in a window, and its length.
    pub(crate) quota: (u32, Duration),
    /// The bucket after the request.
    pub(crate) taken: Taken,
}

impl Decision {
    /// True when the request may go on.
    pub(crate) fn is_allowed(&self) -> bool {
        self.taken.retry_after.is_none()
    }
}

/// The buckets.
#[derive(Debug)]
pub(crate) struct Limiter {
    shards: [Mutex<HashMap<u64, FullAt>>; SHARDS],
    shard_len_max: usize,
    hasher: RandomState,
}

impl Limiter {
    /// At most `keys_max` buckets, rounded up to a multiple of the shards.
    pub(crate) fn new(keys_max: usize) -> Self {
        let shards = std::array::from_fn(|_| Mutex::default());
        Self { shards, shard_len_max: keys_max.div_ceil(SHARDS).max(1), hasher: RandomState::new() }
    }

    /// Takes a token from the caller's bucket under `limit`. `scope` keeps limits of the same name apart, for instance
    /// those of two routes. `now` is that of a clock that only goes on.
    pub(crate) fn check(&self, limit: &RateLimit, scope: &str, caller: Caller<'_>, now: Duration) -> Decision {
        let now = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        let key = match limit.by {
            By::Route => self.hasher.hash_one((scope, &limit.name, 0_u8, caller.route)),
            By::Principal => self.hasher.hash_one((scope, &limit.name, 1_u8, caller.principal)),
            By::Ip => self.hasher.hash_one((scope, &limit.name, 2_u8, network(caller.address))),
        };
        let shard = &self.shards[usize::try_from(key % SHARDS as u64).unwrap_or(0)];
        // A panic under the lock cannot leave a bucket half changed.
        let mut buckets = shard.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = Rate::of(limit).take(buckets.get(&key).copied().unwrap_or(0), now);
        if buckets.len() >= self.shard_len_max && !buckets.contains_key(&key) {
            forget_one(&mut buckets);
        }
        buckets.insert(key, taken.full_at);
        Decision { name: limit.name.clone(), quota: (limit.requests, limit.window), taken }
    }

    /// How many buckets there are.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().unwrap().len()).sum()
    }
}

/// Forgets the fullest of some buckets: a full one is as good as a new one.
fn forget_one(buckets: &mut HashMap<u64, FullAt>) {
    let fullest = buckets.iter().take(SAMPLE).min_by_key(|(_, full_at)| **full_at).map(|(key, _)| *key);
    if let Some(key) = fullest {
        buckets.remove(&key);
    }
}

/// The address, or of IPv6 the network that one subscriber has.
fn network(address: IpAddr) -> u128 {
    match address.to_canonical() {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits() >> 64 << 64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(by: By) -> RateLimit {
        RateLimit { by, requests: 1, window: Duration::from_secs(60), ..RateLimit::default() }
    }

    fn caller<'a>(address: &str, principal: &'a str, route: &'a str) -> Caller<'a> {
        Caller { address: address.parse().unwrap(), principal, route }
    }

    #[test]
    fn each_has_a_bucket_of_their_own() {
        let limiter = Limiter::new(1_000);
        let now = Duration::from_secs(1);
        let first = |by, scope: &str, caller| limiter.check(&limit(by), scope, caller, now).is_allowed();
        assert!(first(By::Ip, "", caller("10.0.0.1", "a", "r")));
        assert!(!first(By::Ip, "", caller("10.0.0.1", "b", "s")));
        assert!(!first(By::Ip, "", caller("::ffff:10.0.0.1", "b", "s")), "the same address, mapped");
        assert!(first(By::Ip, "", caller("10.0.0.2", "a", "r")));
        assert!(first(By::Ip, "other", caller("10.0.0.1", "a", "r")));
        assert!(first(By::Ip, "", caller("2001:db8::1", "a", "r")));
        assert!(!first(By::Ip, "", caller("2001:db8::2", "a", "r")), "one subscriber");
        assert!(first(By::Ip, "", caller("2001:db8:0:1::1", "a", "r")));
        assert!(first(By::Principal, "", caller("10.0.0.1", "a", "r")));
        assert!(!first(By::Principal, "", caller("10.0.0.2", "a", "s")));
        assert!(first(By::Route, "", caller("10.0.0.1", "a", "r")));
        assert!(!first(By::Route, "", caller("10.0.0.2", "b", "r")));
    }

    #[test]
    fn callers_without_end_take_room_with_an_end() {
        let limiter = Limiter::new(500);
        for index in 0..20_000_u32 {
            let caller = Caller { address: IpAddr::from(index.to_be_bytes()), principal: "", route: "" };
            assert!(limiter.check(&limit(By::Ip), "", caller, Duration::from_secs(1)).is_allowed());
        }
        assert!(limiter.len() <= 500_usize.div_ceil(SHARDS) * SHARDS, "{}", limiter.len());
    }
}
