//! Who gets which task when.

use super::*;

#[test]
fn higher_priority_goes_first_then_the_order_of_submitting() {
    let mut rig = Rig::new();
    for (id, priority) in [(1, 0), (2, 5), (3, 0), (4, -3), (5, 5)] {
        rig.submit(Submission { priority, ..task(id) });
    }
    rig.join(1, 4);
    assert_eq!(rig.assigned_tasks(), [2, 5, 1, 3]);
    rig.free(1, 1);
    assert_eq!(rig.assigned_tasks(), [4]);
}

#[test]
fn the_best_head_of_all_buckets_goes_first() {
    let mut rig = Rig::new();
    rig.submit(Submission { queue: queue("b"), ..task(1) });
    rig.submit(Submission { queue: queue("a"), ..task(2) });
    rig.submit(Submission { queue: queue("b"), ..task(3) });
    rig.submit(Submission { queue: queue("c"), priority: 1, ..task(4) });
    rig.join(1, 9);
    assert_eq!(rig.assigned_tasks(), [4, 1, 2, 3]);
}

#[test]
fn a_task_that_comes_back_keeps_its_place() {
    let mut rig = Rig::new();
    rig.join(1, 1);
    let first = rig.submit(task(1));
    rig.submit(task(2));
    rig.submit(task(3));
    rig.hand_back(1, rig.running(first));
    rig.free(1, 1);
    assert_eq!(rig.assigned_tasks(), [1]);
    rig.finish(1, rig.running(first), failed(true));
    rig.free(1, 1);
    assert_eq!(rig.assigned_tasks(), [2], "its backoff still runs");
    rig.pass(100);
    rig.free(1, 1);
    assert_eq!(rig.assigned_tasks(), [1]);
}

#[test]
fn a_worker_gets_only_what_it_serves() {
    let mut rig = Rig::new();
    rig.submit(Submission { kind: WorkKind::Handler("h".into()), ..task(1) });
    rig.submit(Submission { queue: queue("other"), ..task(2) });
    rig.submit(task(3));
    rig.join_as(1, WorkerSpec { queues: ["q".into()].into(), ..processes() }, 9, &[]);
    assert_eq!(rig.assigned_tasks(), [3]);
    rig.join_as(2, handler("g"), 9, &[]);
    assert_eq!(rig.assigned_tasks(), [] as [u128; 0]);
    rig.join_as(3, handler("h"), 9, &[]);
    assert_eq!(rig.assigned_tasks(), [1]);
    rig.join(4, 9);
    assert_eq!(rig.assigned_tasks(), [2]);
    rig.submit(Submission { kind: WorkKind::Handler("g".into()), ..task(4) });
    assert_eq!(rig.assigned().first().map(|(worker, _)| *worker), Some(2), "a bucket made later is served too");
}

#[test]
fn workers_take_turns() {
    let mut rig = Rig::new();
    for worker in 1..=3 {
        rig.join(worker, 2);
    }
    let mut order = Vec::new();
    for id in 1..=7 {
        rig.submit(task(id));
        order.extend(rig.assigned().iter().map(|(worker, _)| *worker));
    }
    assert_eq!(order, [1, 2, 3, 1, 2, 3]);
    rig.free(2, 1);
    assert_eq!(rig.assigned_tasks(), [7]);
}

#[test]
fn among_equals_the_one_that_waited_longest_comes_first() {
    let mut rig = Rig::new();
    (1..=3).for_each(|worker| rig.join(worker, 1));
    let mut order = Vec::new();
    for id in 1..=6 {
        rig.submit(task(id));
        let (worker, attempt) = rig.assigned()[0];
        rig.finish(worker, attempt, Outcome::Succeeded);
        rig.free(worker, 1);
        order.push(worker);
    }
    assert_eq!(order, [1, 2, 3, 1, 2, 3]);
}

#[test]
fn who_has_most_free_slots_comes_first() {
    let mut rig = Rig::new();
    rig.join(1, 1);
    rig.join(2, 3);
    let mut order = Vec::new();
    for id in 1..=4 {
        rig.submit(task(id));
        order.extend(rig.assigned().iter().map(|(worker, _)| *worker));
    }
    // Two with one slot each: the one that waited longer.
    assert_eq!(order, [2, 2, 1, 2]);
}

#[test]
fn no_worker_gets_more_than_its_slots() {
    let mut rig = Rig::new();
    rig.join(1, 2);
    (1..=5).for_each(|id| _ = rig.submit(task(id)));
    assert_eq!(rig.engine.stats().running, 2);
    let id = TaskId(1);
    rig.finish(1, rig.running(id), Outcome::Succeeded);
    assert_eq!(rig.assigned(), [], "the worker says itself when a slot is free");
    rig.free(1, 1);
    assert_eq!(rig.engine.stats().running, 2);
    rig.join(1, 0);
    assert_eq!(rig.engine.stats().running, 0, "a new session starts with its own count");
}

#[test]
fn slots_for_a_worker_without_a_session_do_not_count() {
    let mut rig = Rig::new();
    rig.free(1, 5);
    rig.join(1, 1);
    let id = rig.submit(task(1));
    rig.lose(1);
    rig.free(1, 5);
    rig.submit(task(2));
    assert_eq!((rig.engine.stats().free_slots, rig.engine.stats().running), (0, 1));
    rig.join_with(1, 1, &[rig.running(id)]);
    assert_eq!(rig.assigned_tasks(), [2]);
}
