//! Limits on how many attempts start in a time.

use super::*;

fn rate(per_second: f64, burst: u32) -> Option<Rate> {
    Some(Rate { per_second, burst })
}

/// Lets time pass, and notes when each task is started.
fn starts(rig: &mut Rig, millis: Millis) -> Vec<(Millis, u128)> {
    let until = rig.now + millis;
    let mut starts = Vec::new();
    while let Some(at) = rig.engine.next_timer().filter(|at| *at <= until) {
        rig.now = rig.now.max(at);
        rig.apply(Command::Tick).unwrap();
        starts.extend(rig.assigned_tasks().into_iter().map(|id| (rig.now, id)));
    }
    rig.now = until;
    starts
}

#[test]
fn attempts_start_at_the_rate_of_their_queue() {
    let mut rig = Rig::new();
    rig.set(QueueRules { rate: rate(10.0, 3), ..QueueRules::default() });
    rig.join(1, 99);
    (1..=3).for_each(|id| _ = rig.submit(task(id)));
    assert_eq!(rig.engine.stats().running, 0, "nothing is saved up");
    assert_eq!(starts(&mut rig, 500), [(1_100, 1), (1_200, 2), (1_300, 3)]);
    assert_eq!(rig.engine.next_timer(), Some(1_100 + RUN_TIMEOUT + GRACE), "no timer when nothing waits");
    rig.now = 5_000;
    (4..=8).for_each(|id| _ = rig.submit(task(id)));
    assert_eq!(rig.engine.stats().running, 6, "three were saved up");
    assert_eq!(starts(&mut rig, 200), [(5_100, 7), (5_200, 8)]);
}

#[test]
fn attempts_start_at_the_rate_of_their_key() {
    let mut rig = Rig::new();
    rig.set(QueueRules { key_rate: rate(1.0, 1), ..QueueRules::default() });
    rig.join(1, 99);
    rig.now = 2_000; // one token for each key by now
    rig.submit_keyed(&[(1, "a"), (2, "a"), (3, "b"), (4, "b")]);
    rig.submit(task(5));
    assert_eq!(rig.engine.stats().running, 3, "the first of each, and the one without a key");
    assert_eq!(starts(&mut rig, 1_000), [(3_000, 2), (3_000, 4)]);
}

#[test]
fn both_rates_hold_together() {
    let mut rig = Rig::new();
    rig.set(QueueRules { rate: rate(10.0, 1), key_rate: rate(2.0, 1), ..QueueRules::default() });
    rig.join(1, 99);
    rig.now = 11_000;
    rig.submit_keyed(&[(1, "a"), (2, "a"), (3, "b")]);
    assert_eq!(rig.engine.stats().running, 1);
    assert_eq!(starts(&mut rig, 1_000), [(11_100, 3), (11_500, 2)]);
}

#[test]
fn a_key_gains_nothing_by_going_away() {
    let mut rig = Rig::new();
    rig.set(QueueRules { key_rate: rate(1.0, 2), ..QueueRules::default() });
    rig.join(1, 99);
    rig.now = 10_000;
    rig.submit_keyed(&[(1, "a"), (2, "a")]);
    rig.done(1);
    rig.done(2);
    assert_eq!(rig.engine.stats().tasks, 0);
    rig.submit_keyed(&[(3, "a")]);
    assert_eq!(rig.assigned(), []);
    assert_eq!(starts(&mut rig, 1_000), [(11_000, 3)]);
}

#[test]
fn many_tasks_behind_one_gate_share_one_timer() {
    let mut rig = Rig::new();
    rig.set(QueueRules { rate: rate(0.1, 1), key_rate: rate(0.1, 1), ..QueueRules::default() });
    rig.join(1, 99);
    (1..=100).for_each(|id| rig.submit_keyed(&[(id, "a")]));
    assert_eq!(rig.engine.timers.len(), (0, 2));
}

#[test]
fn rates_start_empty_after_a_change_of_owners() {
    let mut engine = Engine::new(config());
    let rules = QueueRules { rate: rate(10.0, 100), key_rate: rate(5.0, 100), ..QueueRules::default() };
    engine.restore_queue(&queue("q"), PARTITION, rules);
    engine.opened(PARTITION, EPOCH, 50_000);
    let mut rig = Rig { engine, now: 50_000, effects: Vec::new() };
    rig.join(1, 99);
    rig.submit_keyed(&[(1, "a"), (2, "a")]);
    assert_eq!(starts(&mut rig, 1_000), [(50_200, 1), (50_400, 2)]);
}

#[test]
fn a_change_of_rules_keeps_what_was_saved_up() {
    let mut rig = Rig::new();
    let rules = QueueRules { rate: rate(10.0, 5), ..QueueRules::default() };
    rig.set(rules.clone());
    rig.join(1, 99);
    rig.now = 2_000;
    rig.set(QueueRules { dispatch: Dispatch::Paused { since: 2_000 }, ..rules.clone() });
    (1..=7).for_each(|id| _ = rig.submit(task(id)));
    assert_eq!(rig.engine.next_timer(), None, "who is paused waits for nothing");
    rig.set(rules);
    assert_eq!(rig.assigned_tasks(), [1, 2, 3, 4, 5]);
    rig.set(QueueRules { rate: rate(1.0, 5), ..QueueRules::default() });
    assert_eq!(starts(&mut rig, 2_000), [(3_000, 6), (4_000, 7)]);
}

#[test]
fn keys_that_are_gone_are_forgotten_when_their_bucket_is_full() {
    let mut rig = Rig::new();
    rig.set(QueueRules { key_rate: rate(1.0, 1), ..QueueRules::default() });
    rig.join(1, 99);
    rig.now = 2_000;
    for id in 1..=50 {
        rig.submit_keyed(&[(id, &format!("k{id}"))]);
        rig.done(id);
        rig.now += 100;
    }
    let known = rig.engine.board.parties.check().count();
    assert!(known <= 12, "those of the last second: {known}");
    rig.set(QueueRules::default());
    assert_eq!(rig.engine.board.parties.check().count(), 0);
    assert_eq!(rig.engine.queue_stats(&queue("q")), None);
}
