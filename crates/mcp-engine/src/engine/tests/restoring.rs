//! Taking over what the store holds.

use super::*;

#[test]
fn restored_tasks_wait_for_the_grace_and_new_ones_do_not() {
    let mut rig = Rig::restored([restored(1, State::Pending), restored(2, State::Scheduled)]);
    assert_eq!(rig.state(TaskId(2)), Some(State::Pending), "it came due in between");
    rig.join(1, 9);
    assert_eq!(rig.assigned(), []);
    rig.submit(task(3));
    assert_eq!(rig.assigned_tasks(), [3]);
    rig.pass(LEASE - 1);
    assert_eq!(rig.assigned(), []);
    rig.pass(1);
    assert_eq!(rig.assigned_tasks(), [1, 2]);
}

#[test]
fn the_first_dispatch_of_a_restored_task_makes_earlier_attempts_void() {
    let mut rig = Rig::restored([restored(1, State::Pending)]);
    rig.pass(LEASE);
    rig.join(1, 1);
    let id = TaskId(1);
    let (attempts, void) = (AttemptCount::default(), Token { epoch: EPOCH, sequence: 0 });
    let (state, not_before) = (State::Pending, 1_000);
    let record = Record::Retry { task: id, state, attempts, not_before, failure: None, void };
    assert_eq!(rig.effects[0], Effect::Persist(record));
    assert!(!rig.finish(2, older(1, 3), Outcome::Succeeded));
    rig.hand_back(1, rig.running(id));
    rig.free(1, 1);
    assert_eq!((rig.records(), rig.assigned_tasks()), (vec![], vec![1]), "once is enough");
}

#[test]
fn a_reported_attempt_goes_on_under_its_token() {
    // Also when the earlier owner thought it due and this one does not.
    let later = |state| {
        let mut task = restored(1, state);
        task.submission.not_before = 5_000;
        task
    };
    let cases =
        [restored(1, State::Pending), restored(1, State::Retrying), later(State::Scheduled), later(State::Retrying)];
    for case in cases {
        let mut rig = Rig::restored([case]);
        let id = TaskId(1);
        rig.join_with(1, 1, &[older(1, 3)]);
        let running = Effect::Changed { task: id, state: State::Running, attempt: 1, worker: Some(WorkerId(1)) };
        assert_eq!(rig.effects, [running]);
        assert_eq!(rig.running(id), older(1, 3));
        rig.pass(LEASE);
        assert!(rig.finish(1, older(1, 3), Outcome::Succeeded));
        assert_eq!(rig.ended(id), Some((State::Succeeded, None)));
    }
}

#[test]
fn a_reported_attempt_counts_as_long_as_no_other_was_sent_out() {
    let mut rig = Rig::restored([restored(1, State::Pending)]);
    rig.pass(100 * LEASE);
    rig.join_with(1, 0, &[older(1, 3)]);
    assert_eq!(rig.running(TaskId(1)), older(1, 3));
}

#[test]
fn a_result_that_comes_before_any_claim_counts() {
    let mut rig = Rig::restored([restored(1, State::Pending), restored(2, State::Pending)]);
    assert!(rig.finish(1, older(1, 3), Outcome::Succeeded));
    assert_eq!(rig.ended(TaskId(1)), Some((State::Succeeded, None)));
    assert!(rig.finish(1, older(2, 4), failed(true)));
    assert_eq!((rig.state(TaskId(2)), rig.engine.stats().workers), (Some(State::Retrying), 0));
}

#[test]
fn an_attempt_handed_back_before_any_claim_ends_the_wait() {
    let mut rig = Rig::restored([restored(1, State::Pending)]);
    rig.join(1, 1);
    rig.hand_back(2, older(1, 3));
    assert_eq!(rig.assigned_tasks(), [1]);
    assert!(matches!(&rig.records()[..], [Record::Retry { void, .. }] if *void == older(1, 3).token));
}

#[test]
fn what_is_void_on_record_counts_no_more() {
    let void = Some(older(1, 3).token);
    let mut rig = Rig::restored([RestoredTask { void, ..restored(1, State::Pending) }]);
    assert!(!rig.finish(1, older(1, 3), Outcome::Succeeded));
    rig.join_with(1, 0, &[older(1, 2), older(1, 3)]);
    let revoke = |attempt| Effect::Revoke { worker: WorkerId(1), attempt };
    assert_eq!(rig.effects, [revoke(older(1, 2)), revoke(older(1, 3))]);
    rig.join_with(2, 0, &[older(1, 4)]);
    assert_eq!(rig.running(TaskId(1)), older(1, 4));
}

#[test]
fn a_token_from_a_later_owner_is_not_believed() {
    let mut rig = Rig::restored([restored(1, State::Pending)]);
    for epoch in [EPOCH, EPOCH + 1] {
        let attempt = RunningAttempt { task: TaskId(1), token: Token { epoch, sequence: 1 } };
        assert!(!rig.finish(1, attempt, Outcome::Succeeded));
        rig.join_with(1, 0, &[attempt]);
        assert_eq!(rig.effects, [Effect::Revoke { worker: WorkerId(1), attempt }]);
    }
}

#[test]
fn a_token_that_is_older_than_its_task_is_not_believed() {
    let mut rig = Rig::new();
    let id = rig.submit(task(1));
    assert!(!rig.finish(1, older(1, 3), Outcome::Succeeded));
    rig.join_as(1, handler("h"), 0, &[older(1, 3)]);
    assert_eq!(rig.effects, [Effect::Revoke { worker: WorkerId(1), attempt: older(1, 3) }]);
    assert_eq!(rig.state(id), Some(State::Pending));
}

#[test]
fn a_restored_cancel_ends_its_task() {
    let cancelled = || RestoredTask { cancel_requested: true, ..restored(1, State::Retrying) };
    let id = TaskId(1);

    let mut rig = Rig::restored([cancelled()]);
    rig.join(1, 1);
    rig.pass(LEASE);
    assert_eq!(rig.ended(id), Some((State::Cancelled, Some(3009))));
    assert_eq!(rig.assigned(), [], "it never runs again");

    let mut rig = Rig::restored([cancelled()]);
    rig.join_with(1, 0, &[older(1, 3)]);
    let (worker, attempt) = (WorkerId(1), older(1, 3));
    assert!(rig.effects.contains(&Effect::CancelAttempt { worker, attempt }));
    assert!(rig.finish(1, attempt, Outcome::Cancelled));
    assert_eq!(rig.ended(id), Some((State::Cancelled, Some(3009))));

    let mut rig = Rig::restored([cancelled()]);
    assert_eq!(rig.apply(Command::Cancel(id)), Ok(Applied::Cancelling(State::Cancelled)));
}

#[test]
fn what_is_not_due_waits_for_its_time() {
    let not_due = |id, state, not_before| {
        let mut task = restored(id, state);
        task.submission.not_before = not_before;
        task
    };
    let tasks = [not_due(1, State::Scheduled, 1_200), not_due(2, State::Retrying, 1_300)];
    let mut rig = Rig::restored(tasks);
    rig.join(1, 9);
    assert_eq!((rig.state(TaskId(1)), rig.state(TaskId(2))), (Some(State::Scheduled), Some(State::Retrying)));
    rig.pass(200);
    assert_eq!(rig.assigned_tasks(), [1]);
    rig.pass(100);
    assert_eq!(rig.assigned_tasks(), [2]);
}

#[test]
fn the_queue_timeout_of_a_restored_task_waits_for_the_grace() {
    let overdue = || {
        let mut task = restored(1, State::Pending);
        task.submission.queue_timeout = Some(10);
        task.submission.not_before = 500;
        task
    };
    let mut rig = Rig::restored([overdue()]);
    rig.pass(LEASE);
    assert_eq!(rig.ended(TaskId(1)), Some((State::Failed, Some(3003))));

    let mut rig = Rig::restored([overdue()]);
    rig.join_with(1, 0, &[older(1, 3)]);
    rig.pass(LEASE);
    assert_eq!(rig.state(TaskId(1)), Some(State::Running));
}

#[test]
fn attempts_on_record_count() {
    let attempts = AttemptCount { started: 2, failed: 2, lost: 0 };
    let mut rig = Rig::restored([RestoredTask { attempts, ..restored(1, State::Retrying) }]);
    rig.join_with(1, 0, &[older(1, 3)]);
    assert!(rig.finish(1, older(1, 3), failed(true)));
    assert_eq!(rig.ended(TaskId(1)), Some((State::Failed, Some(3001))));
}

#[test]
fn idempotency_keys_survive_a_restart() {
    let mut engine = Engine::new(config());
    let mut live = restored(2, State::Pending);
    live.submission.idempotency = key("live", 2);
    engine.restore(live);
    // The key went to a later task after its window; the earlier one is still unfinished.
    for id in [3, 4] {
        let mut twice = restored(id, State::Pending);
        twice.submission.idempotency = key("twice", 3);
        engine.restore(twice);
    }
    engine.remember(&queue("q"), PARTITION, key("finished", 1).unwrap(), TaskId(1), 1_500);
    engine.opened(PARTITION, EPOCH, 1_000);
    let mut rig = Rig { engine, now: 1_000, effects: Vec::new() };
    for (name, hash, first) in [("live", 2, 2), ("finished", 1, 1), ("twice", 3, 4)] {
        let again = Submission { idempotency: key(name, hash), ..task(9) };
        let first = Applied::Submitted { id: TaskId(first), deduplicated: true };
        assert_eq!(rig.apply(Command::Submit(again)), Ok(first));
    }
    rig.pass(500);
    rig.submit(Submission { idempotency: key("finished", 9), ..task(9) });
}

#[test]
fn finished_tasks_and_repeats_are_not_restored() {
    let tasks = [restored(1, State::Succeeded), restored(2, State::Pending), restored(2, State::Pending)];
    assert_eq!(Rig::restored(tasks).engine.stats().tasks, 1);
}

#[test]
fn after_an_orderly_close_only_what_may_run_waits() {
    let mut rig = Rig::new();
    rig.join(1, 1);
    (1..=3).for_each(|id| _ = rig.submit(task(id)));
    assert_eq!(rig.engine.perhaps_running(PARTITION), [TaskId(1)]);
    let mut engine = Engine::new(config());
    engine.closed_in_order(PARTITION, [TaskId(1)]);
    (1..=3).for_each(|id| engine.restore(restored(id, State::Pending)));
    engine.opened(PARTITION, EPOCH, 1_000);
    let mut rig = Rig { engine, now: 1_000, effects: Vec::new() };
    rig.join(1, 9);
    rig.pass(0);
    assert_eq!(rig.assigned_tasks(), [2, 3]);
    assert_eq!(rig.records(), [], "no attempt of them has to be made void");
    assert!(!rig.finish(2, older(2, 3), Outcome::Succeeded));
    assert_eq!(rig.engine.perhaps_running(PARTITION), [1, 2, 3].map(TaskId));
    rig.join_with(2, 0, &[older(1, 3)]);
    assert_eq!(rig.running(TaskId(1)), older(1, 3));
}

#[test]
fn a_close_without_a_word_lets_all_of_them_wait() {
    let mut engine = Engine::new(config());
    engine.closed_in_order(PARTITION, []);
    engine.close(PARTITION);
    engine.restore(restored(1, State::Pending));
    engine.opened(PARTITION, EPOCH, 1_000);
    let mut rig = Rig { engine, now: 1_000, effects: Vec::new() };
    rig.join(1, 9);
    rig.pass(LEASE - 1);
    assert_eq!(rig.assigned(), []);
    rig.pass(1);
    assert_eq!(rig.assigned_tasks(), [1]);
}
