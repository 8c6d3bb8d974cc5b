//! Limits on how many attempts run at a time.

use super::*;

fn at_most(limit: u32) -> QueueRules {
    QueueRules { concurrency_max: Some(limit), ..QueueRules::default() }
}

fn at_most_by_key(limit: u32) -> QueueRules {
    QueueRules { key_concurrency_max: Some(limit), ..QueueRules::default() }
}

#[test]
fn no_more_attempts_of_a_queue_run_than_may() {
    let mut rig = Rig::new();
    rig.set(at_most(2));
    rig.join(1, 9);
    (1..=4).for_each(|id| _ = rig.submit(task(id)));
    rig.submit(Submission { queue: queue("other"), ..task(5) });
    assert_eq!(rig.assigned_tasks(), [5], "other queues are free");
    assert_eq!(rig.engine.stats().running, 3);
    assert_eq!(rig.done(1), [3]);
    assert_eq!(rig.done(3), [4]);
}

#[test]
fn a_permit_comes_back_however_an_attempt_ends() {
    type End = fn(&mut Rig, RunningAttempt);
    let ends: [(&str, End); 7] = [
        ("succeeded", |rig, attempt| _ = rig.finish(1, attempt, Outcome::Succeeded)),
        ("failed", |rig, attempt| _ = rig.finish(1, attempt, failed(true))),
        ("failed for good", |rig, attempt| _ = rig.finish(1, attempt, failed(false))),
        ("stopped", |rig, attempt| {
            rig.apply(Command::Cancel(attempt.task)).unwrap();
            rig.finish(1, attempt, Outcome::Cancelled);
        }),
        ("not reported", |rig, _| rig.join(1, 1)),
        ("lost", |rig, _| {
            rig.lose(1);
            rig.pass(LEASE);
        }),
        ("silent", |rig, _| rig.pass(RUN_TIMEOUT + GRACE)),
    ];
    for (name, end) in ends {
        let mut rig = Rig::new();
        rig.set(at_most(1));
        rig.join(1, 1);
        rig.join(2, 1);
        let id = rig.submit(task(1));
        rig.submit(Submission { priority: 100, ..task(2) });
        let attempt = rig.running(id);
        end(&mut rig, attempt);
        assert_eq!(rig.assigned_tasks(), [2], "{name}");
        assert_eq!(rig.engine.queue_stats(&queue("q")).unwrap().running, 1, "{name}");
    }
}

#[test]
fn a_task_handed_back_has_its_permit_again_when_it_is_first() {
    let mut rig = Rig::new();
    rig.set(at_most(1));
    rig.join(1, 2);
    rig.submit(task(1));
    rig.submit(task(2));
    rig.hand_back(1, rig.running(TaskId(1)));
    assert_eq!(rig.assigned_tasks(), [1]);
}

#[test]
fn no_more_attempts_of_a_key_run_than_may() {
    let mut rig = Rig::new();
    rig.set(at_most_by_key(1));
    rig.join(1, 9);
    rig.submit_keyed(&[(1, "a"), (2, "a"), (3, "b"), (4, "a")]);
    rig.submit(task(5));
    rig.submit(task(6));
    assert_eq!(rig.engine.stats().running, 4, "tasks without a key have no such limit");
    assert_eq!(rig.done(3), [] as [u128; 0]);
    assert_eq!(rig.done(1), [2]);
    assert_eq!(rig.done(2), [4]);
}

#[test]
fn a_key_counts_over_every_kind_of_work() {
    let mut rig = Rig::new();
    rig.set(at_most_by_key(1));
    rig.join_as(1, WorkerSpec { processes: true, ..handler("h") }, 9, &[]);
    rig.submit_keyed(&[(1, "a")]);
    rig.submit(Submission { kind: WorkKind::Handler("h".into()), key: Some("a".into()), ..task(2) });
    assert_eq!(rig.assigned(), []);
    assert_eq!(rig.done(1), [2]);
}

#[test]
fn both_limits_hold_together() {
    let mut rig = Rig::new();
    rig.set(QueueRules { concurrency_max: Some(3), ..at_most_by_key(2) });
    rig.join(1, 9);
    rig.submit_keyed(&[(1, "a"), (2, "a"), (3, "a"), (4, "b"), (5, "b")]);
    let running = |rig: &Rig| (1..=5).filter(|id| rig.state(TaskId(*id)) == Some(State::Running)).collect::<Vec<_>>();
    assert_eq!(running(&rig), [1, 2, 4]);
    assert_eq!(rig.done(4), [5], "a permit of the queue goes to a key that has one");
    assert_eq!(rig.done(1), [3]);
}

#[test]
fn a_limit_that_is_lowered_stops_nothing_that_runs() {
    let mut rig = Rig::new();
    rig.join(1, 9);
    (1..=4).for_each(|id| _ = rig.submit(task(id)));
    rig.set(at_most(2));
    rig.submit(task(5));
    assert_eq!((rig.assigned(), rig.engine.stats().running), (vec![], 4));
    assert_eq!(rig.done(1), [] as [u128; 0]);
    assert_eq!(rig.done(2), [] as [u128; 0]);
    assert_eq!(rig.done(3), [5]);
    rig.submit(task(6));
    rig.submit(task(7));
    rig.set(at_most(3));
    assert_eq!(rig.assigned_tasks(), [6]);
    rig.set(QueueRules::default());
    assert_eq!(rig.assigned_tasks(), [7]);
}

#[test]
fn what_may_still_run_after_a_change_of_owners_counts() {
    let mut engine = Engine::new(config());
    engine.restore_queue(&queue("q"), PARTITION, QueueRules { concurrency_max: Some(3), ..at_most_by_key(1) });
    for (id, key) in [(1, "a"), (2, "b")] {
        let submission = Submission { key: Some(key.into()), ..task(id) };
        engine.restore(RestoredTask { submission, ..restored(id, State::Pending) });
    }
    engine.opened(PARTITION, EPOCH, 1_000);
    let mut rig = Rig { engine, now: 1_000, effects: Vec::new() };
    rig.join(1, 9);
    rig.submit_keyed(&[(3, "a"), (4, "c"), (5, "d")]);
    assert_eq!(rig.state(TaskId(3)), Some(State::Pending), "the key's permit may be in use");
    assert_eq!(rig.state(TaskId(4)), Some(State::Running));
    assert_eq!(rig.state(TaskId(5)), Some(State::Pending), "two may run, one runs");
    // One of them runs, and goes on; what nobody reports is free again after the grace.
    rig.join_with(2, 0, &[older(1, 3)]);
    assert_eq!(rig.engine.stats().running, 2);
    rig.pass(LEASE);
    assert_eq!(rig.assigned_tasks(), [5], "its key has waited for its turn while that of the other was kept back");
    assert!(rig.finish(2, older(1, 3), Outcome::Succeeded));
    assert_eq!(rig.assigned_tasks(), [2]);
    assert_eq!(rig.done(4), [3]);
}

#[test]
fn an_attempt_that_runs_is_taken_over_whatever_the_limit() {
    let mut engine = Engine::new(config());
    engine.restore_queue(&queue("q"), PARTITION, at_most(1));
    (1..=3).for_each(|id| engine.restore(restored(id, State::Pending)));
    engine.opened(PARTITION, EPOCH, 1_000);
    let mut rig = Rig { engine, now: 1_000, effects: Vec::new() };
    rig.join_with(1, 9, &[older(1, 1), older(2, 2), older(3, 3)]);
    assert_eq!(rig.engine.stats().running, 3);
    rig.submit(task(4));
    rig.pass(LEASE);
    for id in [1, 2] {
        assert!(rig.finish(1, older(id, u64::try_from(id).unwrap()), Outcome::Succeeded));
        assert_eq!(rig.assigned(), []);
    }
    assert!(rig.finish(1, older(3, 3), Outcome::Succeeded));
    assert_eq!(rig.assigned_tasks(), [4]);
}

#[test]
fn a_limit_of_none_starts_nothing() {
    let mut rig = Rig::new();
    rig.set(at_most(0));
    rig.join(1, 1);
    rig.submit(task(1));
    rig.pass(100_000);
    assert_eq!(rig.engine.stats().running, 0);
}
