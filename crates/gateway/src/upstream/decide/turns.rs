//! Whose turn it is: one after the other, evenly or by weight.

/// The next from `cursor` on that fits, round robin; `None` when none does. The cursor moves behind it.
pub(crate) fn next(cursor: &mut usize, count: usize, fits: impl Fn(usize) -> bool) -> Option<usize> {
    let index = (0..count).map(|step| cursor.wrapping_add(step) % count).find(|index| fits(*index))?;
    *cursor = (index + 1) % count;
    Some(index)
}

/// Smooth weighted round robin: each is taken as often as its weight says, and spread out as evenly as can be.
///
/// Everyone is paid its weight at each turn; the richest is taken and pays for all. Source: nginx.
#[derive(Debug, Default)]
pub(crate) struct Turns(Vec<f64>);

impl Turns {
    /// The next one of `count`; `weight` is 0 for those that do not fit. `None` when none does.
    pub(crate) fn next(&mut self, count: usize, weight: impl Fn(usize) -> f64) -> Option<usize> {
        self.0.resize(count, 0.0);
        let (mut total, mut best) = (0.0, None);
        for (index, credit) in self.0.iter_mut().enumerate() {
            let weight = weight(index);
            if weight <= 0.0 {
                *credit = 0.0; // who was away is owed nothing
                continue;
            }
            total += weight;
            *credit += weight;
            if best.is_none_or(|(_, most)| *credit > most) {
                best = Some((index, *credit));
            }
        }
        let (index, _) = best?;
        self.0[index] -= total;
        Some(index)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn everyone_has_a_turn() {
        let mut cursor = 0;
        let mut turn = |away: usize| next(&mut cursor, 3, |index| index != away);
        assert_eq!([turn(9), turn(9), turn(9), turn(9)], [0, 1, 2, 0].map(Some));
        assert_eq!([turn(1), turn(1), turn(1)], [2, 0, 2].map(Some));
        assert_eq!(next(&mut cursor, 3, |_| false), None);
        assert_eq!(next(&mut cursor, 0, |_| true), None);
    }

    #[test]
    fn a_heavy_one_does_not_have_all_its_turns_at_once() {
        let mut turns = Turns::default();
        let weights = [5.0, 1.0, 1.0];
        let order: Vec<_> = (0..7).filter_map(|_| turns.next(3, |index| weights[index])).collect();
        assert_eq!(order, [0, 0, 1, 0, 2, 0, 0]);
        assert_eq!(turns.next(3, |_| 0.0), None);
    }

    proptest! {
        /// After any number of turns, nobody is more than a round away from its share.
        #[test]
        fn weights_are_respected(weights in prop::collection::vec(1_u32..100, 1..10), rounds in 1_usize..500) {
            let mut turns = Turns::default();
            let mut counts = vec![0_u32; weights.len()];
            for _ in 0..rounds {
                counts[turns.next(weights.len(), |index| f64::from(weights[index])).unwrap()] += 1;
            }
            let total: u32 = weights.iter().sum();
            for (count, weight) in counts.iter().zip(&weights) {
                let share = rounds as f64 * f64::from(*weight) / f64::from(total);
                let off = (f64::from(*count) - share).abs();
                prop_assert!(off <= weights.len() as f64, "{counts:?} {weights:?}");
            }
        }
    }
}
