//! Which instance takes a call: of two drawn at random, the one where it costs less.

use std::{cell::Cell, rc::Rc};

use tokio::time::Instant;

use super::endpoint::Endpoint;

/// Instances that are tried for one call before it is given up. Only those to which nothing could be sent count.
pub(crate) const TRIES_MAX: usize = 4;

/// Random numbers that need no lock and no secrecy (xorshift64*).
#[derive(Debug)]
pub(crate) struct Dice(Cell<u64>);

impl Dice {
    /// Dice with a seed of their own.
    pub(crate) fn new() -> Self {
        Self(Cell::new(rand::random::<u64>() | 1))
    }

    /// A number below `bound`, which must not be 0.
    fn below(&self, bound: usize) -> usize {
        let mut state = self.0.get();
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        self.0.set(state);
        let high = state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32;
        usize::try_from((high * bound as u64) >> 32).expect("less than `bound`")
    }
}

/// Instances that a call cannot go to any more.
#[derive(Debug, Default)]
pub(crate) struct Tried {
    indices: [usize; TRIES_MAX],
    len: usize,
}

impl Tried {
    /// Adds one; at most [`TRIES_MAX`] are kept, and no call makes more tries.
    pub(crate) fn add(&mut self, index: usize) {
        if let Some(slot) = self.indices.get_mut(self.len) {
            *slot = index;
            self.len += 1;
        }
    }

    fn has(&self, index: usize) -> bool {
        self.indices[..self.len].contains(&index)
    }
}

/// Draws an instance that was not tried, `None` when none is left. The owner of `home` comes first, if the call has
/// one and the owner is known: any other would only pass the call on. One whose connect failed a moment ago is only
/// drawn when there is no other; it then says so at once.
pub(crate) fn pick(endpoints: &[Rc<Endpoint>], tried: &Tried, home: Option<u16>, dice: &Dice) -> Option<usize> {
    if let [_only] = endpoints {
        return (!tried.has(0)).then_some(0);
    }
    let now = Instant::now();
    let untried = |index: usize| !tried.has(index);
    let promising = |index: usize| untried(index) && endpoints[index].backing_off(now).is_none();
    let owner =
        home.and_then(|home| (0..endpoints.len()).find(|index| promising(*index) && endpoints[*index].owns(home)));
    if owner.is_some() {
        return owner;
    }
    draw(endpoints, promising, dice, now).or_else(|| draw(endpoints, untried, dice, now))
}

fn draw(endpoints: &[Rc<Endpoint>], eligible: impl Fn(usize) -> bool, dice: &Dice, now: Instant) -> Option<usize> {
    let count = (0..endpoints.len()).filter(|index| eligible(*index)).count();
    let nth = |n: usize| (0..endpoints.len()).filter(|index| eligible(*index)).nth(n);
    match count {
        0 => None,
        1 => nth(0),
        count => {
            let first = dice.below(count);
            let second = (first + 1 + dice.below(count - 1)) % count;
            let (first, second) = (nth(first)?, nth(second)?);
            let cheaper = endpoints[second].cost(now) < endpoints[first].cost(now);
            Some(if cheaper { second } else { first })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dice_reach_every_number_below_the_bound() {
        let dice = Dice::new();
        let mut seen = [0_u32; 5];
        for _ in 0..5_000 {
            seen[dice.below(5)] += 1;
        }
        assert!(seen.iter().all(|count| (800..1_200).contains(count)), "{seen:?}");
    }
}
