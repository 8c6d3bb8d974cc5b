//! Which instance takes a call.

use tokio::time::Instant;

use super::{
    decide::{
        breaker::Pass,
        pair::{self, Candidate},
        spread::{self, Fitness},
        turns,
    },
    dice::Dice,
    endpoint::Endpoint,
    group::Group,
    policy::{Balancer, Policy, Priority},
};

/// Instances that are remembered for one call: more attempts than that no call makes.
const TRIED_MAX: usize = 16;

/// Instances that a call has been at.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tried {
    indices: [u32; TRIED_MAX],
    len: usize,
}

impl Tried {
    /// Adds one; at most [`TRIED_MAX`] are kept.
    pub(crate) fn add(&mut self, index: usize) {
        if let (Some(slot), Ok(index)) = (self.indices.get_mut(self.len), u32::try_from(index)) {
            *slot = index;
            self.len += 1;
        }
    }

    /// True when there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// They and those.
    pub(crate) fn and(mut self, others: &Self) -> Self {
        for index in &others.indices[..others.len] {
            self.add(*index as usize);
        }
        self
    }

    fn has(&self, index: usize) -> bool {
        self.indices[..self.len].iter().any(|tried| *tried as usize == index)
    }
}

/// What a call wants of an instance.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    /// How instances are compared.
    pub(crate) policy: &'a Policy,
    /// Who waits when not all fit.
    pub(crate) priority: Priority,
    /// False when an answer may take its time.
    pub(crate) measured: bool,
    /// The owner of this home comes first: any other would only pass the call on.
    pub(crate) home: Option<u16>,
    /// The place on the ring, when there is one.
    pub(crate) place: Option<u64>,
    /// Where it cannot go any more.
    pub(crate) tried: &'a Tried,
    /// The time.
    pub(crate) now: Instant,
}

/// The instance for a call, and how it may pass its breaker; `None` when none takes it.
///
/// An instance that takes it and is fit comes first: one that is not ejected, and to which the last connect did not
/// fail. Others are only taken when there is none, or so few that they would be crushed.
pub(crate) fn choose(group: &Group, wanted: Wanted<'_>, dice: &Dice) -> Option<(usize, Pass)> {
    let index = match &*group.endpoints {
        [_only] => wanted.takes(group, 0).then_some(0),
        _ => wanted.owner(group).or_else(|| wanted.quick(group, dice)).or_else(|| wanted.thorough(group, dice)),
    }?;
    Some((index, group.endpoints[index].admits(wanted.now, wanted.policy, (wanted.priority, wanted.measured))?))
}

impl Wanted<'_> {
    /// True when the call can go there.
    fn takes(&self, group: &Group, index: usize) -> bool {
        !self.tried.has(index)
            && group.endpoints[index].admits(self.now, self.policy, (self.priority, self.measured)).is_some()
    }

    /// True when it should.
    fn fits(&self, group: &Group, index: usize) -> bool {
        let endpoint = &group.endpoints[index];
        endpoint.backing_off(self.now).is_none() && endpoint.ejected(self.now).is_none() && self.takes(group, index)
    }

    fn owner(&self, group: &Group) -> Option<usize> {
        let home = self.home?;
        (0..group.endpoints.len()).find(|index| group.endpoints[*index].owns(home) && self.fits(group, *index))
    }

    /// Draws two of all; `None` when not both fit, and a closer look is needed.
    fn quick(&self, group: &Group, dice: &Dice) -> Option<usize> {
        let is_pair = matches!(self.policy.balancer, Balancer::PeakEwma | Balancer::LeastRequest);
        if !is_pair || self.policy.zone.prefer || group.endpoints.len() < 2 {
            return None;
        }
        let (first, second) = pair::draw(group.endpoints.len(), dice);
        let both = self.fits(group, first) && self.fits(group, second);
        both.then(|| self.better(group, first, second, dice))
    }

    fn thorough(&self, group: &Group, dice: &Dice) -> Option<usize> {
        let (all, local) = self.fitness(group);
        let fits = |index: usize| self.fits(group, index);
        if spread::is_panic(all, self.policy.panic_percent) {
            let up = |index: usize| group.endpoints[index].backing_off(self.now).is_none() && self.takes(group, index);
            return self.balance(group, &up, dice).or_else(|| self.any(group, dice));
        }
        if spread::stays_local(local, &self.policy.zone) {
            let near = |index: usize| group.endpoints[index].is_local() && fits(index);
            let found = self.balance(group, &near, dice);
            if found.is_some() {
                return found;
            }
        }
        self.balance(group, &fits, dice).or_else(|| self.any(group, dice))
    }

    /// The last resort: any that takes it.
    fn any(&self, group: &Group, dice: &Dice) -> Option<usize> {
        self.balance(group, &|index| self.takes(group, index), dice)
    }

    /// How many of all and of the zone's own are fit.
    fn fitness(&self, group: &Group) -> (Fitness, Fitness) {
        let (mut all, mut local) = (Fitness::default(), Fitness::default());
        for endpoint in &group.endpoints {
            let is_fit = endpoint.ejected(self.now).is_none()
                && endpoint.backing_off(self.now).is_none()
                && endpoint.broken(self.now).is_none();
            all.all += 1;
            all.fit += usize::from(is_fit);
            if endpoint.is_local() {
                local.all += 1;
                local.fit += usize::from(is_fit);
            }
        }
        (all, local)
    }

    /// One of those that are eligible, as the policy says.
    fn balance(&self, group: &Group, eligible: &dyn Fn(usize) -> bool, dice: &Dice) -> Option<usize> {
        let endpoints = &group.endpoints;
        let share = |index: usize| self.share(&endpoints[index]);
        match (&self.policy.balancer, self.place) {
            (Balancer::RingHash { .. }, Some(place)) => group.ring().find(place, eligible),
            (Balancer::PeakEwma | Balancer::LeastRequest | Balancer::RingHash { .. }, _) => {
                self.pair(group, eligible, dice)
            }
            (Balancer::RoundRobin, _) if self.policy.slow_start.is_zero() => {
                let mut cursor = group.cursor.get();
                let index = turns::next(&mut cursor, endpoints.len(), eligible);
                group.cursor.set(cursor);
                index
            }
            (Balancer::RoundRobin, _) => {
                let weight = |index| if eligible(index) { share(index) } else { 0.0 };
                group.turns.borrow_mut().next(endpoints.len(), weight)
            }
            (Balancer::Weighted, _) => {
                let weight = |index: usize| {
                    if eligible(index) { f64::from(endpoints[index].weight()) * share(index) } else { 0.0 }
                };
                group.turns.borrow_mut().next(endpoints.len(), weight)
            }
        }
    }

    fn pair(&self, group: &Group, eligible: &dyn Fn(usize) -> bool, dice: &Dice) -> Option<usize> {
        let all = 0..group.endpoints.len();
        let nth = |n: usize| all.clone().filter(|index| eligible(*index)).nth(n);
        match all.clone().filter(|index| eligible(*index)).count() {
            0 => None,
            1 => nth(0),
            count => {
                let (first, second) = pair::draw(count, dice);
                Some(self.better(group, nth(first)?, nth(second)?, dice))
            }
        }
    }

    fn better(&self, group: &Group, first: usize, second: usize, dice: &Dice) -> usize {
        let candidate = |index: usize| {
            let endpoint = &group.endpoints[index];
            let cost = match self.policy.balancer {
                Balancer::LeastRequest => endpoint.busyness(),
                _ => endpoint.cost(self.now),
            };
            Candidate { cost, share: self.share(endpoint) }
        };
        if pair::takes_second(candidate(first), candidate(second), dice) { second } else { first }
    }

    fn share(&self, endpoint: &Endpoint) -> f64 {
        endpoint.share(self.now, self.policy.slow_start)
    }
}

#[cfg(test)]
mod tests;
