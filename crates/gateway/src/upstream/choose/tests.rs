//! Choices among instances that are never called, on an artificial clock.

use std::{cell::Cell, collections::BTreeMap, rc::Rc, sync::Arc, time::Duration};

use mcp_coord::InstanceRecord;
use proptest::prelude::*;

use super::*;
use crate::{
    config::UpstreamSettings,
    metrics::{Instruments, UpstreamTally},
    upstream::{
        decide::{outcome::Outcome, ring},
        endpoint::Surroundings,
        policy::{Concurrency, Zone},
    },
};

const SECOND: Duration = Duration::from_secs(1);

fn record(index: usize, weight: u32, zone: &str) -> Arc<InstanceRecord> {
    Arc::new(InstanceRecord {
        service: "service".into(),
        instance_id: index.to_string(),
        address: format!("127.0.0.1:{}", 1_000 + index),
        version: String::new(),
        zone: zone.into(),
        weight,
        grpc_services: Vec::new(),
        labels: BTreeMap::new(),
        registered_unix_ms: 0,
    })
}

/// Instances of these weights and zones, seen from the zone `here`.
fn group(members: &[(u32, &str)]) -> Rc<Group> {
    let surroundings = Surroundings {
        settings: Rc::new(UpstreamSettings::default()),
        instruments: Instruments::new(1, false),
        zone: "here".into(),
    };
    let endpoints = members.iter().enumerate().map(|(index, (weight, zone))| {
        Endpoint::new(&record(index, *weight, zone), surroundings.clone()).expect("the address is right")
    });
    Group::new(UpstreamTally::new(&Arc::default(), "s"), Instant::now()).with(endpoints.collect())
}

fn policy(balancer: Balancer) -> Policy {
    Policy { balancer, ..Policy::default() }
}

struct Chooser<'a> {
    group: &'a Group,
    policy: &'a Policy,
    dice: Dice,
    priority: Priority,
    now: Cell<Instant>,
}

impl<'a> Chooser<'a> {
    fn new(group: &'a Group, policy: &'a Policy) -> Self {
        Self { group, policy, dice: Dice::new(), priority: Priority::Normal, now: Cell::new(Instant::now()) }
    }

    fn choose(&self, place: Option<u64>, tried: &Tried) -> Option<usize> {
        let wanted = Wanted {
            policy: self.policy,
            priority: self.priority,
            measured: true,
            home: None,
            place,
            tried,
            now: self.now.get(),
        };
        choose(self.group, wanted, &self.dice).map(|(index, _)| index)
    }

    /// How many of so many calls each instance gets, when none lasts.
    fn counts(&self, calls: usize) -> Vec<usize> {
        let mut counts = vec![0; self.group.endpoints.len()];
        for _ in 0..calls {
            counts[self.choose(None, &Tried::default()).expect("one takes it")] += 1;
        }
        counts
    }

    /// Time passes.
    fn advance(&self, time: Duration) {
        self.now.set(self.now.get() + time);
    }

    /// Makes an instance fail until it is ejected.
    fn eject(&self, index: usize) {
        let endpoint = &self.group.endpoints[index];
        for _ in 0..self.policy.ejection.consecutive_failures {
            self.fail(index);
        }
        assert!(endpoint.ejected(self.now.get()).is_some());
    }

    fn fail(&self, index: usize) {
        let now = self.now.get();
        let peers = || self.group.ejected(now);
        self.group.endpoints[index].judge(Pass::Normal, Outcome::Failed, now, self.policy, peers);
    }
}

#[test]
fn round_robin_and_weights_share_the_calls_out() {
    let group = group(&[(300, ""), (100, ""), (100, "")]);
    let even = policy(Balancer::RoundRobin);
    assert_eq!(Chooser::new(&group, &even).counts(300), [100, 100, 100]);
    let weighted = policy(Balancer::Weighted);
    assert_eq!(Chooser::new(&group, &weighted).counts(500), [300, 100, 100]);
}

#[test]
fn the_less_busy_one_by_weight_is_taken() {
    let group = group(&[(100, ""), (300, "")]);
    for balancer in [Balancer::PeakEwma, Balancer::LeastRequest] {
        let policy = policy(balancer);
        let chooser = Chooser::new(&group, &policy);
        let mut counts = [0; 2];
        for _ in 0..400 {
            let index = chooser.choose(None, &Tried::default()).unwrap();
            group.endpoints[index].begin(Pass::Normal, true);
            counts[index] += 1;
        }
        assert!((95..=105).contains(&counts[0]), "{counts:?}");
        for (endpoint, count) in group.endpoints.iter().zip(counts) {
            (0..count).for_each(|_| endpoint.end(true));
        }
    }
}

#[test]
fn a_slow_one_is_avoided_and_one_that_fails_fast_too() {
    let group = group(&[(100, ""), (100, ""), (100, "")]);
    let policy = policy(Balancer::PeakEwma);
    let chooser = Chooser::new(&group, &policy);
    let now = chooser.now.get();
    group.endpoints[0].answered(SECOND / 2, now, &policy);
    chooser.fail(1);
    assert_eq!(chooser.counts(300)[1], 0, "a failure weighs more than half a second");
    assert!(chooser.counts(300)[2] > 150);
    chooser.advance(60 * SECOND);
    assert!(chooser.counts(300).iter().all(|count| *count > 50), "what was is forgotten");
}

#[test]
fn an_ejected_one_gets_nothing_until_it_returns_and_then_slowly() {
    for balancer in [Balancer::PeakEwma, Balancer::LeastRequest, Balancer::RoundRobin, Balancer::Weighted] {
        let group = group(&[(100, ""), (100, ""), (100, "")]);
        let policy = Policy { slow_start: 100 * SECOND, ..policy(balancer) };
        let chooser = Chooser::new(&group, &policy);
        chooser.advance(1_000 * SECOND);
        chooser.eject(0);
        assert_eq!(chooser.counts(300)[0], 0);
        let away = group.endpoints[0].ejected(chooser.now.get()).unwrap();
        chooser.advance(away + 10 * SECOND);
        let few = chooser.counts(3_000)[0];
        // By latency it is avoided for a while anyway: its failures were slow answers.
        let least = if policy.balancer == Balancer::PeakEwma { 0 } else { 20 };
        assert!((least..=450).contains(&few), "{few} of 3,000 calls after a tenth of the time: {:?}", policy.balancer);
        chooser.advance(100 * SECOND);
        let all = chooser.counts(3_000)[0];
        assert!((850..=1_150).contains(&all), "{all}: {:?}", policy.balancer);
    }
}

#[test]
fn the_last_one_and_more_than_the_share_are_never_ejected() {
    let group = group(&[(100, ""), (100, ""), (100, ""), (100, "")]);
    let policy = policy(Balancer::RoundRobin);
    let chooser = Chooser::new(&group, &policy);
    for index in 0..4 {
        (0..10).for_each(|_| chooser.fail(index));
    }
    assert_eq!(group.ejected(chooser.now.get()), (2, 4));
}

#[test]
fn when_too_few_are_fit_calls_spread_over_all() {
    let group = group(&[(100, ""), (100, ""), (100, ""), (100, "")]);
    let mut policy = policy(Balancer::RoundRobin);
    policy.ejection.percent_max = 100;
    let chooser = Chooser::new(&group, &policy);
    for index in 0..2 {
        chooser.eject(index);
    }
    assert_eq!(chooser.counts(400), [0, 0, 200, 200], "half of them is enough");
    chooser.eject(2);
    assert_eq!(chooser.counts(400), [100, 100, 100, 100]);
}

#[test]
fn an_open_breaker_refuses_even_when_there_is_no_other() {
    let group = group(&[(100, ""), (100, "")]);
    let mut policy = policy(Balancer::PeakEwma);
    policy.breaker.calls_min = 3;
    policy.ejection.consecutive_failures = 0;
    let chooser = Chooser::new(&group, &policy);
    (0..3).for_each(|_| chooser.fail(0));
    assert_eq!(chooser.counts(100), [0, 100]);
    (0..3).for_each(|_| chooser.fail(1));
    assert_eq!(chooser.choose(None, &Tried::default()), None);
    chooser.advance(policy.breaker.open);
    assert!(chooser.choose(None, &Tried::default()).is_some(), "probes go through");
}

#[test]
fn calls_stay_in_the_zone_while_it_is_well() {
    let group = group(&[(100, "here"), (100, "here"), (100, "there"), (100, "")]);
    let mut policy = policy(Balancer::PeakEwma);
    policy.zone = Zone { prefer: true, fit_percent_min: 60 };
    let chooser = Chooser::new(&group, &policy);
    let counts = chooser.counts(400);
    assert!(counts[0] > 100 && counts[1] > 100 && counts[2..] == [0, 0], "{counts:?}");
    chooser.eject(0);
    let counts = chooser.counts(400);
    assert!(counts[0] == 0 && counts[1..].iter().all(|count| *count > 50), "{counts:?}");
}

#[test]
fn a_full_instance_is_passed_over_and_low_priority_is_refused_first() {
    let group = group(&[(100, ""), (100, "")]);
    let mut policy = policy(Balancer::RoundRobin);
    policy.concurrency = Some(Concurrency { min: 10, max: 10, initial: 10, ..Concurrency::default() });
    let mut chooser = Chooser::new(&group, &policy);
    (0..9).for_each(|_| group.endpoints[0].begin(Pass::Normal, true));
    (0..7).for_each(|_| group.endpoints[1].begin(Pass::Normal, true));
    assert_eq!(chooser.counts(10), [0, 10]);
    chooser.priority = Priority::Low;
    assert_eq!(chooser.choose(None, &Tried::default()), None);
    chooser.priority = Priority::High;
    assert_eq!(chooser.counts(10), [5, 5]);
}

#[test]
fn an_instance_that_was_tried_is_not_chosen_again() {
    for balancer in [Balancer::PeakEwma, Balancer::RoundRobin, Balancer::Weighted] {
        let (group, policy) = (group(&[(100, ""), (100, ""), (100, "")]), policy(balancer));
        let chooser = Chooser::new(&group, &policy);
        let mut tried = Tried::default();
        let mut seen = Vec::new();
        while let Some(index) = chooser.choose(None, &tried) {
            tried.add(index);
            seen.push(index);
        }
        seen.sort_unstable();
        assert_eq!(seen, [0, 1, 2]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20))]

    /// The same key leads to the same instance; when that one is away, to another one, always the same.
    #[test]
    fn a_key_stays_with_its_instance(count in 2_usize..10, key in any::<u64>()) {
        let members = vec![(100, ""); count];
        let (group, policy) = (group(&members), policy(Balancer::RingHash { header: "x-user".into() }));
        let chooser = Chooser::new(&group, &policy);
        let place = Some(ring::hash(&key.to_le_bytes()));
        let home = chooser.choose(place, &Tried::default()).unwrap();
        let mut tried = Tried::default();
        tried.add(home);
        let next = chooser.choose(place, &tried).unwrap();
        for _ in 0..10 {
            prop_assert_eq!(chooser.choose(place, &Tried::default()), Some(home));
            prop_assert_eq!(chooser.choose(place, &tried), Some(next));
        }
        prop_assert_ne!(home, next);
    }
}
