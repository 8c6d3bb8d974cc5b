//! How attempts end.

use super::*;

fn rig_running() -> (Rig, TaskId) {
    let mut rig = Rig::new();
    rig.join(1, 1);
    let id = rig.submit(task(1));
    (rig, id)
}

#[test]
fn a_result_is_recorded_then_acknowledged() {
    let (mut rig, id) = rig_running();
    let attempt = rig.running(id);
    assert!(rig.finish(1, attempt, Outcome::Succeeded));
    let attempts = AttemptCount { started: 1, failed: 0, lost: 0 };
    assert_eq!(
        rig.effects,
        [
            Effect::Persist(Record::Finished { task: id, state: State::Succeeded, attempts, failure: None }),
            Effect::Changed { task: id, state: State::Succeeded, attempt: 1, worker: None },
            Effect::Acknowledge { worker: WorkerId(1), attempt },
        ]
    );
    assert!(!rig.finish(1, attempt, Outcome::Succeeded));
    assert_eq!(rig.effects, [Effect::Acknowledge { worker: WorkerId(1), attempt }]);
    assert_eq!(rig.engine.next_timer(), None);
}

#[test]
fn only_the_newest_token_and_its_worker_count() {
    let (mut rig, id) = rig_running();
    let attempt = rig.running(id);
    let with = |sequence| RunningAttempt { token: Token { sequence, ..attempt.token }, ..attempt };
    for (worker, other) in [(2, attempt), (1, with(0)), (1, with(2)), (1, older(1, 1)), (1, older(2, 1))] {
        assert!(!rig.finish(worker, other, Outcome::Succeeded));
        assert_eq!(rig.effects, [Effect::Acknowledge { worker: WorkerId(worker), attempt: other }]);
        rig.hand_back(worker, other);
        assert_eq!(rig.effects, [Effect::Acknowledge { worker: WorkerId(worker), attempt: other }]);
    }
    rig.hand_back(1, attempt);
    rig.join(2, 1);
    assert_ne!(rig.running(id), attempt);
    assert!(!rig.finish(1, attempt, Outcome::Succeeded), "a late result");
    assert_eq!(rig.state(id), Some(State::Running));
}

#[test]
fn a_failed_attempt_is_tried_again_after_its_backoff_until_there_were_enough() {
    let (mut rig, id) = rig_running();
    for (number, wait) in [(1, 100), (2, 200)] {
        let attempt = rig.running(id);
        assert!(rig.finish(1, attempt, failed(true)));
        let Outcome::Failed(failure) = failed(true) else { unreachable!() };
        assert_eq!(
            rig.records(),
            [Record::Retry {
                task: id,
                state: State::Retrying,
                attempts: AttemptCount { started: number, failed: number, lost: 0 },
                not_before: rig.now + wait,
                failure: Some(failure),
                void: attempt.token,
            }]
        );
        rig.free(1, 1);
        rig.pass(wait - 1);
        assert_eq!((rig.state(id), rig.assigned()), (Some(State::Retrying), vec![]));
        rig.pass(1);
        assert_eq!(rig.assigned_tasks(), [1]);
    }
    assert!(rig.finish(1, rig.running(id), failed(true)));
    assert_eq!(rig.ended(id), Some((State::Failed, Some(3001))));
}

#[test]
fn a_failure_that_is_not_retryable_is_the_end() {
    let (mut rig, id) = rig_running();
    assert!(rig.finish(1, rig.running(id), failed(false)));
    assert_eq!(rig.ended(id), Some((State::Failed, Some(3001))));
}

#[test]
fn the_advice_of_a_worker_replaces_the_backoff_within_bounds() {
    for (advice, wait) in [(0, 0), (5, 5), (70_000, 70_000), (u64::MAX, 24 * 60 * 60 * 1_000)] {
        let (mut rig, id) = rig_running();
        let Outcome::Failed(failure) = failed(true) else { unreachable!() };
        let failure = Failure { retry_after: Some(advice), ..failure };
        assert!(rig.finish(1, rig.running(id), Outcome::Failed(failure)));
        assert_eq!(rig.engine.next_timer(), Some(rig.now + wait));
    }
}

#[test]
fn an_attempt_handed_back_counts_nothing() {
    let mut rig = Rig::new();
    rig.join(1, 1);
    let retry = RetryPolicy { max_attempts: 1, ..task(1).retry };
    let id = rig.submit(Submission { retry, ..task(1) });
    for number in 1..=9 {
        let attempt = rig.running(id);
        rig.hand_back(1, attempt);
        let attempts = AttemptCount { started: number, failed: 0, lost: 0 };
        let (state, not_before, void) = (State::Pending, rig.now, attempt.token);
        assert_eq!(
            rig.effects,
            [
                Effect::Persist(Record::Retry { task: id, state, attempts, not_before, failure: None, void }),
                Effect::Changed { task: id, state, attempt: number, worker: None },
                Effect::Acknowledge { worker: WorkerId(1), attempt },
            ]
        );
        rig.free(1, 1);
    }
}

#[test]
fn an_attempt_that_is_silent_for_too_long_counts_as_timed_out() {
    let (mut rig, id) = rig_running();
    let attempt = rig.running(id);
    rig.pass(RUN_TIMEOUT + GRACE - 1);
    assert_eq!(rig.state(id), Some(State::Running));
    rig.pass(1);
    assert_eq!(rig.state(id), Some(State::Retrying));
    assert!(rig.effects.contains(&Effect::CancelAttempt { worker: WorkerId(1), attempt }));
    assert!(matches!(&rig.records()[..], [Record::Retry { failure: Some(failure), .. }] if failure.code == 3002));
    assert!(!rig.finish(1, attempt, Outcome::Succeeded), "too late");
    assert_eq!(rig.engine.stats().free_slots, 0, "the slot is free when the worker says so");
}

#[test]
fn an_attempt_stopped_without_an_order_counts_as_lost() {
    let (mut rig, id) = rig_running();
    rig.free(1, 1);
    assert!(rig.finish(1, rig.running(id), Outcome::Cancelled));
    assert_eq!(rig.assigned_tasks(), [1]);
    assert_eq!(rig.engine.view(id).unwrap().attempts, AttemptCount { started: 2, failed: 0, lost: 1 });
}

#[test]
fn tokens_and_attempt_numbers_only_grow() {
    let (mut rig, id) = rig_running();
    let mut latest = (rig.running(id).token, 1);
    for turn in 0..6 {
        let attempt = rig.running(id);
        match turn % 3 {
            0 => rig.hand_back(1, attempt),
            1 => _ = rig.finish(1, attempt, failed(true)),
            _ => rig.join(1, 0),
        }
        if rig.state(id).is_none() {
            return;
        }
        rig.pass(1_000);
        rig.free(1, 1);
        let next = (rig.running(id).token, rig.engine.view(id).unwrap().attempts.started);
        assert!(next.0 > latest.0 && next.1 > latest.1);
        latest = next;
    }
}
