//! Submitting and cancelling.

use super::*;

#[test]
fn a_submit_is_recorded_before_anything_else() {
    let mut rig = Rig::new();
    rig.join(1, 1);
    let id = rig.submit(task(1));
    let token = Token { epoch: EPOCH, sequence: 1 };
    let (worker, attempt) = (WorkerId(1), RunningAttempt { task: id, token });
    assert_eq!(
        rig.effects,
        [
            Effect::Persist(Record::Submitted { task: id, state: State::Pending }),
            Effect::Changed { task: id, state: State::Pending, attempt: 0, worker: None },
            Effect::Assign { worker, attempt, number: 1, run_timeout: RUN_TIMEOUT },
            Effect::Changed { task: id, state: State::Running, attempt: 1, worker: Some(worker) },
        ]
    );
}

#[test]
fn a_delayed_task_is_dispatched_when_it_is_due() {
    let mut rig = Rig::new();
    rig.join(1, 1);
    let id = rig.submit(Submission { not_before: 1_500, ..task(1) });
    assert_eq!(rig.records(), [Record::Submitted { task: id, state: State::Scheduled }]);
    assert_eq!((rig.state(id), rig.engine.next_timer()), (Some(State::Scheduled), Some(1_500)));
    rig.pass(499);
    assert_eq!(rig.assigned(), []);
    rig.pass(1);
    assert_eq!((rig.assigned_tasks(), rig.records()), (vec![1], vec![]), "what time alone changes needs no record");
}

#[test]
fn a_task_that_waits_too_long_for_its_first_attempt_fails() {
    let mut rig = Rig::new();
    let id = rig.submit(Submission { queue_timeout: Some(300), not_before: 1_100, ..task(1) });
    rig.pass(399);
    assert_eq!(rig.state(id), Some(State::Pending));
    rig.pass(1);
    assert_eq!(rig.ended(id), Some((State::Failed, Some(3003))));
    assert_eq!(rig.engine.next_timer(), None);
}

#[test]
fn the_queue_timeout_is_for_the_first_attempt_only() {
    let mut rig = Rig::new();
    rig.join(1, 1);
    let id = rig.submit(Submission { queue_timeout: Some(300), ..task(1) });
    rig.hand_back(1, rig.running(id)); // no slot is left
    rig.pass(10_000);
    assert_eq!(rig.state(id), Some(State::Pending));
}

#[test]
fn cancelling_a_waiting_task_ends_it_at_once() {
    for not_before in [0, 5_000] {
        let mut rig = Rig::new();
        let id = rig.submit(Submission { not_before, queue_timeout: Some(60_000), ..task(1) });
        assert_eq!(rig.apply(Command::Cancel(id)), Ok(Applied::Cancelling(State::Cancelled)));
        assert_eq!(rig.ended(id), Some((State::Cancelled, Some(3009))));
        assert_eq!((rig.engine.next_timer(), rig.engine.stats().tasks), (None, 0));
        assert_eq!(rig.apply(Command::Cancel(id)), Err(Refused::NotLive));
    }
}

#[test]
fn cancelling_a_retrying_task_ends_it_at_once() {
    let mut rig = Rig::new();
    rig.join(1, 1);
    let id = rig.submit(task(1));
    rig.finish(1, rig.running(id), failed(true));
    assert_eq!(rig.apply(Command::Cancel(id)), Ok(Applied::Cancelling(State::Cancelled)));
    assert_eq!(rig.ended(id), Some((State::Cancelled, Some(3009))));
}

#[test]
fn cancelling_a_running_task_asks_its_worker_once() {
    let mut rig = Rig::new();
    rig.join(1, 1);
    let id = rig.submit(task(1));
    let attempt = rig.running(id);
    assert_eq!(rig.apply(Command::Cancel(id)), Ok(Applied::Cancelling(State::Running)));
    assert_eq!(
        rig.effects,
        [Effect::Persist(Record::CancelRequested { task: id }), Effect::CancelAttempt { worker: WorkerId(1), attempt },]
    );
    assert_eq!(rig.apply(Command::Cancel(id)), Ok(Applied::Cancelling(State::Running)));
    assert_eq!(rig.effects, []);
}

#[test]
fn how_a_cancelled_running_task_ends_depends_on_what_comes_of_its_attempt() {
    type End = fn(&mut Rig, RunningAttempt);
    let cases: [(&str, End, State); 8] = [
        ("cancelled", |rig, attempt| _ = rig.finish(1, attempt, Outcome::Cancelled), State::Cancelled),
        ("failed", |rig, attempt| _ = rig.finish(1, attempt, failed(true)), State::Cancelled),
        ("failed for good", |rig, attempt| _ = rig.finish(1, attempt, failed(false)), State::Cancelled),
        ("the work was done", |rig, attempt| _ = rig.finish(1, attempt, Outcome::Succeeded), State::Succeeded),
        ("handed back", |rig, attempt| rig.hand_back(1, attempt), State::Cancelled),
        ("not reported", |rig, _| rig.join(1, 1), State::Cancelled),
        ("silent", |rig, _| rig.pass(RUN_TIMEOUT + GRACE), State::Cancelled),
        (
            "lost",
            |rig, _| {
                rig.lose(1);
                rig.pass(LEASE);
            },
            State::Cancelled,
        ),
    ];
    for (name, end, expected) in cases {
        let mut rig = Rig::new();
        rig.join(1, 1);
        let id = rig.submit(task(1));
        let attempt = rig.running(id);
        rig.apply(Command::Cancel(id)).unwrap();
        end(&mut rig, attempt);
        assert_eq!(rig.ended(id).map(|(state, _)| state), Some(expected), "{name}");
    }
}

#[test]
fn a_repeat_under_an_idempotency_key_gets_the_first_task() {
    let mut rig = Rig::new();
    rig.join(1, 1);
    let first = rig.submit(Submission { idempotency: key("k", 1), ..task(1) });
    let again = |id| Command::Submit(Submission { idempotency: key("k", 1), ..task(id) });
    let deduplicated = Ok(Applied::Submitted { id: first, deduplicated: true });
    assert_eq!((rig.apply(again(2)), rig.effects.len()), (deduplicated.clone(), 0));
    rig.finish(1, rig.running(first), Outcome::Succeeded);
    assert_eq!(rig.apply(again(3)), deduplicated, "also when it is finished");
    let other = Submission { idempotency: key("k", 2), ..task(4) };
    assert_eq!(rig.apply(Command::Submit(other)), Err(Refused::IdempotencyConflict(first)));
    rig.submit(Submission { idempotency: key("k", 2), queue: queue("other"), ..task(5) });
}

#[test]
fn an_idempotency_key_is_forgotten_after_its_window() {
    let mut rig = Rig::new();
    rig.submit(Submission { idempotency: key_for("k", 1, 100), ..task(1) });
    rig.now += 100; // before any tick
    rig.submit(Submission { idempotency: key_for("k", 2, 100), ..task(2) });
    assert_eq!(rig.engine.stats().idempotency_keys, 1);
    rig.pass(100);
    assert_eq!(rig.engine.stats().idempotency_keys, 0);
}

#[test]
fn a_repeat_is_found_even_when_the_queue_is_full() {
    let mut rig = Rig::with(Config { queue_len_max: 1, ..config() });
    let first = rig.submit(Submission { idempotency: key("k", 1), ..task(1) });
    let again = Submission { idempotency: key("k", 1), ..task(2) };
    assert_eq!(rig.apply(Command::Submit(again)), Ok(Applied::Submitted { id: first, deduplicated: true }));
}

#[test]
fn the_same_submit_twice_makes_one_task() {
    let mut rig = Rig::new();
    let id = rig.submit(task(1));
    assert_eq!(rig.apply(Command::Submit(task(1))), Ok(Applied::Submitted { id, deduplicated: true }));
    assert_eq!(rig.engine.stats().tasks, 1);
}
