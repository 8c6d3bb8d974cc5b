//! How many connections each address has.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

/// Bits of an IPv6 address that one subscriber chooses freely.
const SUBSCRIBER_BITS: u32 = 64;

/// The connections of each address. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct PerIp {
    /// 0: no limit.
    max: usize,
    counts: Arc<Mutex<HashMap<u128, usize>>>,
}

/// One connection of an address, until dropped.
#[derive(Debug)]
pub(crate) struct Place {
    per_ip: PerIp,
    network: u128,
}

impl PerIp {
    /// At most `max` connections of each; 0 is no limit.
    pub(crate) fn new(max: usize) -> Self {
        Self { max, counts: Arc::default() }
    }

    /// A place for one more, if there is one. The map has at most one entry for each open connection.
    pub(crate) fn enter(&self, address: IpAddr) -> Option<Place> {
        let network = match address.to_canonical() {
            IpAddr::V4(address) => u128::from(address.to_bits()),
            IpAddr::V6(address) => address.to_bits() >> SUBSCRIBER_BITS << SUBSCRIBER_BITS,
        };
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(network).or_default();
        if self.max != 0 && *count >= self.max {
            return None;
        }
        *count += 1;
        Some(Place { per_ip: self.clone(), network })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.per_ip.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.network) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.network);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_has_so_many_and_gets_them_back() {
        let per_ip = PerIp::new(2);
        let enter = |address: &str| per_ip.enter(address.parse().unwrap());
        let (one, two) = (enter("10.0.0.1").unwrap(), enter("::ffff:10.0.0.1").unwrap());
        assert!(enter("10.0.0.1").is_none());
        let other = enter("10.0.0.2");
        assert!(other.is_some());
        drop(one);
        let again = enter("10.0.0.1");
        assert!(again.is_some() && enter("10.0.0.1").is_none());
        drop((two, again, other));
        assert!(per_ip.counts.lock().unwrap().is_empty());
        let many = PerIp::new(0);
        let held: Vec<_> = (0..100).map(|_| many.enter("10.0.0.1".parse().unwrap())).collect();
        assert!(held.iter().all(Option::is_some));
    }
}
