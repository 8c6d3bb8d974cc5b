//! Fair shares between keys, and priorities within them.

use super::*;

/// The keys of the next tasks, one slot at a time.
fn turns(rig: &mut Rig, count: usize) -> String {
    let mut keys = String::new();
    for _ in 0..count {
        rig.free(1, 1);
        for id in rig.assigned_tasks() {
            keys.push(char::from(b'a' + u8::try_from(id / 1_000).unwrap()));
            assert!(rig.finish(1, rig.running(TaskId(id)), Outcome::Succeeded));
        }
    }
    keys
}

/// Submits tasks of the key number `key` from 0.
fn fill(rig: &mut Rig, key: u128, count: u128) {
    let name = ["a", "b", "c"][usize::try_from(key).unwrap()];
    (0..count).for_each(|n| rig.submit_keyed(&[(key * 1_000 + n + 1, name)]));
}

#[test]
fn keys_take_turns_however_much_each_submits() {
    let mut rig = Rig::new();
    rig.join(1, 0);
    fill(&mut rig, 0, 100);
    fill(&mut rig, 1, 3);
    fill(&mut rig, 2, 3);
    let order = turns(&mut rig, 12);
    assert_eq!(order.matches('b').count(), 3, "{order}");
    assert!(order[..9].matches('c').count() == 3 && order.ends_with("aaa"), "{order}");
}

#[test]
fn weights_decide_the_shares() {
    let mut rig = Rig::new();
    let weights = [("a".into(), 3), ("b".into(), 1)].into();
    rig.set(QueueRules { weights, ..QueueRules::default() });
    rig.join(1, 0);
    fill(&mut rig, 0, 100);
    fill(&mut rig, 1, 100);
    let order = turns(&mut rig, 40);
    assert_eq!((order.matches('a').count(), order.matches('b').count()), (30, 10), "{order}");
    let weights = [("a".into(), 1), ("b".into(), 4)].into();
    rig.set(QueueRules { weights, ..QueueRules::default() });
    let order = turns(&mut rig, 40);
    assert!(order.matches('b').count().abs_diff(32) <= 1, "new weights count at once: {order}");
}

#[test]
fn a_key_that_was_idle_saved_nothing_up() {
    let mut rig = Rig::new();
    rig.join(1, 0);
    fill(&mut rig, 0, 200);
    fill(&mut rig, 1, 50);
    turns(&mut rig, 100);
    fill(&mut rig, 2, 20);
    let order = turns(&mut rig, 20);
    assert!(order.matches('c').count() <= 11, "it takes turns from now on: {order}");
}

#[test]
fn a_key_that_comes_and_goes_does_not_starve_the_others() {
    let mut rig = Rig::new();
    rig.join(1, 1);
    rig.submit_keyed(&[(1_001, "b"), (1, "a")]);
    for n in 1_001..1_010 {
        if rig.engine.view(TaskId(1)).is_some_and(|view| view.state == State::Running) {
            return;
        }
        // The only task of its key ends, and another one is there before the slot is.
        assert!(rig.finish(1, rig.running(TaskId(n)), Outcome::Succeeded));
        rig.submit_keyed(&[(n + 1, "b")]);
        rig.free(1, 1);
    }
    panic!("the key that waited had no turn");
}

#[test]
fn tasks_without_a_key_share_one_turn() {
    let mut rig = Rig::new();
    rig.join(1, 0);
    fill(&mut rig, 0, 10);
    (1..=10).for_each(|n| _ = rig.submit(task(2_000 + n)));
    let order = turns(&mut rig, 10);
    assert_eq!(order.matches('c').count(), 5, "{order}");
}

#[test]
fn fair_share_comes_before_priority_and_priority_orders_a_key() {
    let mut rig = Rig::new();
    let with = |id, key: &str, priority| Submission { key: Some(key.into()), priority, ..task(id) };
    for submission in [with(1, "a", 9), with(2, "a", 0), with(3, "a", 5), with(1_001, "b", -9), with(1_002, "b", 0)] {
        rig.submit(submission);
    }
    let mut order = Vec::new();
    rig.join(1, 0);
    for _ in 0..5 {
        rig.free(1, 1);
        order.extend(rig.assigned_tasks());
    }
    assert_eq!(order, [1, 1_002, 3, 1_001, 2]);
}

#[test]
fn a_key_that_is_kept_back_holds_up_no_other() {
    let mut rig = Rig::new();
    rig.set(QueueRules { key_concurrency_max: Some(1), ..QueueRules::default() });
    fill(&mut rig, 0, 50);
    fill(&mut rig, 1, 2);
    fill(&mut rig, 2, 1);
    rig.join(1, 9);
    assert_eq!(rig.engine.stats().running, 3);
    assert_eq!(rig.done(1_001), [1_002]);
}

#[test]
fn an_old_task_of_low_priority_does_not_starve() {
    let mut rig = Rig::new();
    rig.submit(Submission { priority: -2, ..task(1) });
    rig.now += 19_000;
    rig.submit(task(2));
    rig.now += 2_000;
    rig.submit(task(3));
    rig.submit(Submission { priority: 1, ..task(4) });
    rig.join(1, 4);
    assert_eq!(rig.assigned_tasks(), [4, 2, 1, 3]);
}

#[test]
fn the_place_comes_from_the_time_of_the_submit_also_after_a_restart() {
    let at = |id, submitted_at, priority| {
        let submission = Submission { submitted_at, priority, ..task(id) };
        RestoredTask { submission, ..restored(id, State::Pending) }
    };
    let mut rig = Rig::restored([at(1, 990, 0), at(2, 900, 0), at(3, 950, 1), at(4, 0, 0)]);
    rig.pass(LEASE);
    rig.join(1, 9);
    assert_eq!(rig.assigned_tasks(), [3, 2, 1, 4]);
}
