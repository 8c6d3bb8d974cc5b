//! Every limit, and going over it.

use super::*;

#[test]
fn a_full_queue_refuses_until_a_task_ends() {
    let mut rig = Rig::with(Config { queue_len_max: 2, ..config() });
    rig.join(1, 1);
    let first = rig.submit(task(1));
    rig.submit(task(2));
    assert_eq!(rig.apply(Command::Submit(task(3))), Err(Refused::QueueFull { retry_after: 1_000 }));
    rig.submit(Submission { queue: queue("other"), ..task(4) });
    rig.finish(1, rig.running(first), Outcome::Succeeded);
    rig.submit(task(5));
}

#[test]
fn the_number_of_tasks_and_queues_is_bounded() {
    let mut rig = Rig::with(Config { tasks_max: 3, queues_max: 2, ..config() });
    rig.submit(Submission { queue: queue("a"), ..task(1) });
    rig.submit(Submission { queue: queue("b"), ..task(2) });
    let third = Submission { queue: queue("c"), ..task(3) };
    assert_eq!(rig.apply(Command::Submit(third.clone())), Err(Refused::Full));
    rig.submit(Submission { queue: queue("a"), ..task(4) });
    assert_eq!(rig.apply(Command::Submit(Submission { queue: queue("a"), ..task(5) })), Err(Refused::Full));
    rig.apply(Command::Cancel(TaskId(2))).unwrap();
    rig.submit(third);
}

#[test]
fn the_oldest_idempotency_keys_go_first() {
    let mut rig = Rig::with(Config { idempotency_keys_max: 2, ..config() });
    for id in 1..=3 {
        rig.submit(Submission { idempotency: key(&format!("k{id}"), 1), ..task(id) });
        rig.now += 1;
    }
    assert_eq!(rig.engine.stats().idempotency_keys, 2);
    rig.submit(Submission { idempotency: key("k1", 1), ..task(4) });
}

#[test]
fn a_tick_fires_a_bounded_number_of_timers() {
    let mut rig = Rig::with(Config { timers_per_tick_max: 3, ..config() });
    for id in 1..=5 {
        let idempotency = key_for(&format!("k{id}"), 1, 2_000);
        rig.submit(Submission { not_before: 3_000, idempotency, ..task(id) });
    }
    rig.join(1, 9);
    rig.now = 3_000;
    let mut fired = Vec::new();
    while rig.engine.next_timer().is_some_and(|at| at <= rig.now) {
        rig.apply(Command::Tick).unwrap();
        fired.push((rig.assigned().len(), rig.engine.stats().idempotency_keys));
    }
    assert_eq!(fired, [(3, 5), (2, 4), (0, 1), (0, 0)]);
}

#[test]
fn the_end_of_a_lease_is_worked_off_in_pieces() {
    let mut rig = Rig::with(Config { timers_per_tick_max: 2, ..config() });
    rig.join(1, 5);
    (1..=5).for_each(|id| _ = rig.submit(task(id)));
    rig.lose(1);
    rig.now += LEASE;
    for left in [3, 1, 0] {
        rig.apply(Command::Tick).unwrap();
        assert_eq!(rig.engine.stats().running, left);
    }
    assert_eq!(rig.engine.stats().workers, 0);
}

#[test]
fn nothing_is_left_of_what_is_over() {
    let mut rig = Rig::new();
    for id in 0..50_u32 {
        let kind = WorkKind::Handler(format!("h{id}").into());
        let (queue, idempotency) = (queue(&format!("q{id}")), key_for("k", 1, 100));
        rig.submit(Submission { queue, kind, idempotency, run_timeout: 1_000 + u64::from(id), ..task(id.into()) });
        rig.join_as(1, handler(&format!("h{id}")), 1, &[]);
        assert!(rig.finish(1, rig.running(TaskId(id.into())), Outcome::Succeeded));
    }
    rig.lose(1);
    rig.pass(100);
    assert_eq!(rig.engine.stats(), crate::Stats::default());
    assert_eq!(rig.engine.terms.len(), 0);
    assert_eq!(rig.engine.board.pools().count(), 0);
    assert_eq!(rig.engine.next_timer(), None);
}

#[test]
fn a_batch_is_admitted_as_a_whole_or_not_at_all() {
    let mut rig = Rig::with(Config { queue_len_max: 2, queues_max: 2, tasks_max: 4, ..config() });
    let first = rig.submit(Submission { idempotency: key("k", 1), ..task(1) });
    let in_queue = |id, name: &str| Submission { queue: queue(name), ..task(id) };
    let with_key = |id, name: &str, hash| Submission { idempotency: key(name, hash), ..task(id) };
    let cases = [
        (vec![task(2)], Ok(())),
        (vec![task(2), task(3)], Err((1, Refused::QueueFull { retry_after: 1_000 }))),
        (vec![with_key(2, "k", 1), with_key(3, "k", 1), task(4)], Ok(())),
        (vec![with_key(2, "k", 2)], Err((0, Refused::IdempotencyConflict(first)))),
        (vec![with_key(2, "l", 1), with_key(3, "l", 1)], Ok(())),
        (vec![with_key(2, "l", 1), with_key(3, "l", 2)], Err((1, Refused::IdempotencyConflict(TaskId(2))))),
        (vec![in_queue(2, "a"), in_queue(3, "b")], Err((1, Refused::Full))),
        (vec![in_queue(2, "a"), in_queue(3, "a"), task(4)], Ok(())),
        (vec![in_queue(2, "a"), in_queue(3, "a"), task(4), with_key(5, "m", 1)], Err((3, Refused::Full))),
    ];
    for (batch, expected) in cases {
        assert_eq!(rig.engine.admits(rig.now, &batch), expected, "{batch:?}");
        if expected.is_ok() {
            let mut trial = Rig::with(Config { queue_len_max: 2, queues_max: 2, tasks_max: 4, ..config() });
            trial.submit(Submission { idempotency: key("k", 1), ..task(1) });
            assert!(batch.into_iter().all(|submission| trial.apply(Command::Submit(submission)).is_ok()));
        }
    }
}

#[test]
fn time_that_goes_back_does_no_harm() {
    let mut rig = Rig::new();
    rig.submit(Submission { not_before: 2_000, queue_timeout: Some(u64::MAX), run_timeout: u64::MAX, ..task(1) });
    rig.pass(1_000);
    rig.now = 5;
    rig.join(1, 1);
    assert_eq!(rig.assigned_tasks(), [1]);
    rig.apply(Command::Tick).unwrap();
    assert_eq!(rig.state(TaskId(1)), Some(State::Running));
}
