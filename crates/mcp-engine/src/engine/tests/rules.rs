//! Pausing, draining and resuming queues, and their depth.

use super::*;

#[test]
fn a_paused_queue_takes_in_but_hands_nothing_out() {
    let mut rig = Rig::new();
    rig.join(1, 9);
    let id = rig.submit(task(1));
    rig.set(QueueRules { dispatch: Dispatch::Paused { since: 1_000 }, ..QueueRules::default() });
    rig.submit(task(2));
    rig.submit_keyed(&[(3, "a")]);
    rig.finish(1, rig.running(id), failed(true));
    rig.pass(10_000);
    rig.free(1, 1);
    assert_eq!((rig.assigned(), rig.state(id)), (vec![], Some(State::Pending)));
    rig.submit(Submission { queue: queue("other"), ..task(4) });
    assert_eq!(rig.assigned_tasks(), [4]);
    rig.set(QueueRules::default());
    assert_eq!(rig.assigned_tasks(), [1, 3, 2], "keys take turns");
}

#[test]
fn a_pause_and_a_dispatch_never_cross() {
    let mut rig = Rig::new();
    rig.submit(task(1));
    rig.set(QueueRules { dispatch: Dispatch::Paused { since: 1_000 }, ..QueueRules::default() });
    rig.join(1, 9);
    assert_eq!(rig.assigned(), [], "what was first in line is not any more");
    rig.apply(Command::Cancel(TaskId(1))).unwrap();
    rig.set(QueueRules::default());
    assert_eq!(rig.assigned(), []);
}

#[test]
fn a_queue_that_is_drained_works_off_what_it_has() {
    let mut rig = Rig::new();
    let first = rig.submit(Submission { idempotency: key("k", 1), ..task(1) });
    rig.set(QueueRules { intake: Intake::Closed, ..QueueRules::default() });
    assert_eq!(rig.apply(Command::Submit(task(2))), Err(Refused::QueueClosed));
    assert_eq!(rig.engine.admits(rig.now, &[task(2)]), Err((0, Refused::QueueClosed)));
    let again = Submission { idempotency: key("k", 1), ..task(3) };
    assert_eq!(rig.apply(Command::Submit(again)), Ok(Applied::Submitted { id: first, deduplicated: true }));
    assert!(rig.engine.queue_stats(&queue("q")).unwrap().draining);
    rig.join(1, 1);
    assert_eq!(rig.assigned_tasks(), [1]);
    rig.set(QueueRules::default());
    rig.submit(task(2));
}

#[test]
fn a_queue_takes_no_more_than_its_depth_and_says_when_to_try_again() {
    let mut rig = Rig::with(Config { queue_len_max: 3, ..config() });
    rig.set(QueueRules { len_max: Some(1), ..QueueRules::default() });
    rig.submit(task(1));
    assert_eq!(rig.apply(Command::Submit(task(2))), Err(Refused::QueueFull { retry_after: 1_000 }));
    let rate = |per_second| Some(Rate { per_second, burst: 1 });
    for (per_second, retry_after) in [(100.0, 1_000), (0.1, 10_000), (0.0, 60_000)] {
        rig.set(QueueRules { len_max: Some(1), rate: rate(per_second), ..QueueRules::default() });
        assert_eq!(rig.apply(Command::Submit(task(2))), Err(Refused::QueueFull { retry_after }));
    }
    rig.set(QueueRules { len_max: Some(100), ..QueueRules::default() });
    rig.submit(task(2));
    rig.submit(task(3));
    let refused = rig.apply(Command::Submit(task(4)));
    assert_eq!(refused, Err(Refused::QueueFull { retry_after: 1_000 }), "the limit for every queue holds too");
}

#[test]
fn the_number_of_queues_with_rules_is_bounded() {
    let mut rig = Rig::with(Config { queues_max: 2, ..config() });
    let set = |name: &str, rules| Command::SetQueue { queue: queue(name), partition: PARTITION, rules };
    let limited = || QueueRules { concurrency_max: Some(1), ..QueueRules::default() };
    rig.apply(set("a", limited())).unwrap();
    rig.apply(set("b", limited())).unwrap();
    assert_eq!(rig.apply(set("c", limited())), Err(Refused::Full));
    rig.apply(set("c", QueueRules::default())).unwrap();
    rig.apply(set("b", limited())).unwrap();
    rig.apply(set("b", QueueRules::default())).unwrap();
    rig.apply(set("c", limited())).unwrap();
    rig.apply(set("a", QueueRules::default())).unwrap();
    rig.apply(set("c", QueueRules::default())).unwrap();
    assert_eq!(rig.engine.queues().count(), 0, "what has no rules and no tasks is forgotten");
}

#[test]
fn a_queue_tells_what_it_holds() {
    let mut rig = Rig::new();
    assert_eq!(rig.engine.queue_stats(&queue("q")), None);
    rig.join(1, 1);
    rig.submit(task(1));
    rig.now = 1_500;
    rig.submit(task(2));
    rig.now = 1_700;
    rig.submit_keyed(&[(3, "a")]);
    rig.submit(Submission { not_before: 9_000, ..task(4) });
    let stats = QueueStats {
        partition: PARTITION,
        waiting: 2,
        scheduled: 1,
        running: 1,
        oldest_due: Some(1_500),
        ..QueueStats::default()
    };
    assert_eq!(rig.engine.queue_stats(&queue("q")), Some(stats));
    rig.finish(1, rig.running(TaskId(1)), failed(true));
    rig.free(1, 1);
    let stats = QueueStats { waiting: 1, retrying: 1, oldest_due: Some(1_700), ..stats };
    assert_eq!(rig.engine.queues().collect::<Vec<_>>(), [(&queue("q"), stats)]);
    rig.done(2);
    rig.set(QueueRules { dispatch: Dispatch::Paused { since: 0 }, ..QueueRules::default() });
    let stats = rig.engine.queue_stats(&queue("q")).unwrap();
    assert_eq!((stats.oldest_due, stats.paused, stats.draining), (None, true, false));
}
