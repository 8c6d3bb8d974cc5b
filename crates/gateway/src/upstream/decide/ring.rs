//! The ring of hashes: the same key leads to the same instance, and when instances come or go, only the keys of
//! those move.

use xxhash_rust::xxh3::xxh3_64;

/// Points of an instance of average weight.
const POINTS: f64 = 160.0;

/// Points of a ring at most, by so much as one for each instance allows.
const POINTS_MAX: usize = 65_536;

/// A ring of instances, each by its place in a list.
#[derive(Debug)]
pub(crate) struct Ring {
    /// Ascending by hash.
    points: Box<[(u64, u32)]>,
}

impl Ring {
    /// A ring of these keys and weights. An instance has points in proportion to its weight, at least one.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small positive number")]
    pub(crate) fn new<'a>(members: impl ExactSizeIterator<Item = (&'a str, u32)> + Clone) -> Self {
        let count = members.len().max(1);
        let total: f64 = members.clone().map(|(_, weight)| f64::from(weight)).sum();
        let each = POINTS.min(POINTS_MAX as f64 / count as f64);
        let mut points = Vec::new();
        for (index, (key, weight)) in (0_u32..).zip(members) {
            let share = if total > 0.0 { f64::from(weight) * count as f64 / total } else { 1.0 };
            let number = (each * share).round().max(1.0) as u32;
            let base = hash(key.as_bytes());
            points.extend((0..number).map(|point| (mix(base, point), index)));
        }
        points.sort_unstable();
        Self { points: points.into() }
    }

    /// The first instance from the place of `hash` on that fits; `None` when none does.
    pub(crate) fn find(&self, hash: u64, fits: impl Fn(usize) -> bool) -> Option<usize> {
        let start = self.points.partition_point(|(point, _)| *point < hash);
        let (before, after) = self.points.split_at(start);
        let mut last = None;
        after.iter().chain(before).map(|(_, index)| *index as usize).find(|index| {
            // Neighbours are often the same one.
            last.replace(*index) != Some(*index) && fits(*index)
        })
    }
}

/// The hash of a key: its place on the ring. The same in every gateway.
pub(crate) fn hash(key: &[u8]) -> u64 {
    xxh3_64(key)
}

fn mix(base: u64, point: u32) -> u64 {
    let mut bytes = [0; 12];
    bytes[..8].copy_from_slice(&base.to_le_bytes());
    bytes[8..].copy_from_slice(&point.to_le_bytes());
    xxh3_64(&bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEYS: u32 = 10_000;

    fn ring(members: &[(String, u32)]) -> Ring {
        Ring::new(members.iter().map(|(key, weight)| (key.as_str(), *weight)))
    }

    fn members(count: usize) -> Vec<(String, u32)> {
        (0..count).map(|index| (format!("service/{index}"), 100)).collect()
    }

    fn homes(members: &[(String, u32)]) -> Vec<usize> {
        let ring = ring(members);
        (0..KEYS).map(|key| ring.find(hash(&key.to_le_bytes()), |_| true).unwrap()).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20))]

        /// One more instance takes about its share of the keys, all of them from others and to it alone.
        #[test]
        fn a_new_instance_moves_its_share_of_the_keys_and_no_other(count in 2_usize..40) {
            let mut all = members(count);
            let before = homes(&all);
            all.push(("service/new".into(), 100));
            let after = homes(&all);
            let moved: Vec<_> = before.iter().zip(&after).filter(|(before, after)| before != after).collect();
            prop_assert!(moved.iter().all(|(_, after)| **after == count));
            let share = KEYS as usize / (count + 1);
            prop_assert!((share / 2..=share * 2).contains(&moved.len()), "{} of {share}", moved.len());
        }

        /// One that does not fit passes its keys on; all others stay where they are.
        #[test]
        fn one_that_is_away_moves_only_its_own_keys(count in 2_usize..40, away in 0_usize..40) {
            let (all, away) = (members(count), away % count);
            let before = homes(&all);
            let ring = ring(&all);
            for (key, home) in (0..KEYS).zip(before) {
                let now = ring.find(hash(&key.to_le_bytes()), |index| index != away).unwrap();
                prop_assert!(now != away && (home == away || now == home));
            }
        }
    }

    #[test]
    fn keys_are_spread_by_weight() {
        let mut all = members(4);
        all[0].1 = 300;
        let mut counts = [0_u32; 4];
        for home in homes(&all) {
            counts[home] += 1;
        }
        let shares = counts.map(|count| f64::from(count) / f64::from(KEYS));
        assert!((0.38..0.62).contains(&shares[0]), "{shares:?}");
        assert!(shares[1..].iter().all(|share| (0.09..0.25).contains(share)), "{shares:?}");
    }

    #[test]
    fn a_ring_of_nothing_has_nothing_and_many_instances_share_the_points() {
        assert_eq!(ring(&[]).find(1, |_| true), None);
        assert_eq!(ring(&members(3)).find(1, |_| false), None);
        assert!(ring(&members(5_000)).points.len() <= 2 * POINTS_MAX);
    }
}
