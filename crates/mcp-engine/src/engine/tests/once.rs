//! Tasks that run at most once.

use super::*;

fn once(id: u128) -> Submission {
    Submission { at_most_once: true, ..task(id) }
}

fn started(id: u128, sequence: u64) -> RestoredTask {
    let submission = once(id);
    RestoredTask { submission, started: Some(older(id, sequence).token), ..restored(id, State::Pending) }
}

#[test]
fn the_start_is_on_record_before_the_attempt_is_sent_out() {
    let mut rig = Rig::new();
    rig.join(1, 1);
    let id = rig.submit(once(1));
    let attempt = rig.running(id);
    let worker = WorkerId(1);
    assert_eq!(
        rig.effects,
        [
            Effect::Persist(Record::Submitted { task: id, state: State::Pending }),
            Effect::Changed { task: id, state: State::Pending, attempt: 0, worker: None },
            Effect::Persist(Record::Started { task: id, token: attempt.token, worker }),
            Effect::Assign { worker, attempt, number: 1, run_timeout: RUN_TIMEOUT },
            Effect::Changed { task: id, state: State::Running, attempt: 1, worker: Some(worker) },
        ]
    );
    assert!(rig.finish(1, attempt, Outcome::Succeeded));
    assert_eq!(rig.ended(id), Some((State::Succeeded, None)));
}

#[test]
fn whatever_becomes_of_the_attempt_it_is_the_only_one() {
    type End = fn(&mut Rig, RunningAttempt);
    let ends: [(&str, End, u32); 6] = [
        ("failed", |rig, attempt| _ = rig.finish(1, attempt, failed(true)), 3001),
        ("handed back", |rig, attempt| rig.hand_back(1, attempt), 3008),
        ("not reported", |rig, _| rig.join(1, 9), 3008),
        ("stopped without an order", |rig, attempt| _ = rig.finish(1, attempt, Outcome::Cancelled), 3008),
        ("silent", |rig, _| rig.pass(RUN_TIMEOUT + GRACE), 3008),
        (
            "lost",
            |rig, _| {
                rig.lose(1);
                rig.pass(LEASE);
            },
            3008,
        ),
    ];
    for (name, end, code) in ends {
        let mut rig = Rig::new();
        rig.join(1, 1);
        let id = rig.submit(once(1));
        let attempt = rig.running(id);
        end(&mut rig, attempt);
        assert_eq!(rig.ended(id), Some((State::Failed, Some(code))), "{name}");
    }
}

#[test]
fn a_cancel_ends_it_as_cancelled() {
    let mut rig = Rig::new();
    rig.join(1, 1);
    let id = rig.submit(once(1));
    rig.apply(Command::Cancel(id)).unwrap();
    rig.hand_back(1, rig.running(id));
    assert_eq!(rig.ended(id), Some((State::Cancelled, Some(3009))));
}

#[test]
fn an_attempt_on_record_may_be_reported_within_the_grace() {
    let mut rig = Rig::restored([started(1, 3), started(2, 4)]);
    rig.join_with(1, 9, &[older(1, 2), older(1, 3), older(1, 4)]);
    assert_eq!(rig.running(TaskId(1)), older(1, 3), "that one and no other");
    assert!(rig.finish(2, older(2, 4), Outcome::Succeeded));
    assert_eq!(rig.ended(TaskId(2)), Some((State::Succeeded, None)));
}

#[test]
fn an_attempt_on_record_that_nobody_reports_is_lost() {
    let mut rig = Rig::restored([started(1, 3)]);
    rig.join(1, 9);
    rig.pass(LEASE);
    let attempts = AttemptCount { started: 1, failed: 0, lost: 1 };
    assert_eq!(rig.assigned(), []);
    assert_eq!(rig.ended(TaskId(1)), Some((State::Failed, Some(3008))));
    assert!(matches!(&rig.records()[..], [Record::Finished { attempts: at, .. }] if *at == attempts));
}

#[test]
fn what_was_never_started_is_started_without_a_wait() {
    let submission = Submission { queue_timeout: Some(LEASE / 2), ..once(1) };
    let mut rig = Rig::restored([RestoredTask { submission, ..restored(1, State::Pending) }]);
    rig.join_with(1, 9, &[older(1, 3)]);
    assert_eq!(rig.effects, [Effect::Revoke { worker: WorkerId(1), attempt: older(1, 3) }], "nobody can run it");
    rig.pass(0);
    let token = Token { epoch: EPOCH, sequence: 1 };
    assert_eq!(rig.records(), [Record::Started { task: TaskId(1), token, worker: WorkerId(1) }]);
    assert_eq!(rig.assigned_tasks(), [1]);
}

#[test]
fn failures_that_are_never_tried_again_end_a_task() {
    let mut rig = Rig::new();
    rig.join(1, 9);
    let never = |id, names: &[&str]| {
        let never_retry = names.iter().map(|name| (*name).into()).collect();
        Submission { never_retry, ..task(id) }
    };
    rig.submit(never(1, &["OTHER", "EXIT"]));
    rig.submit(never(2, &["OTHER"]));
    rig.submit(never(3, &["RUN_TIMEOUT"]));
    assert!(rig.finish(1, rig.running(TaskId(1)), failed(true)));
    assert_eq!(rig.ended(TaskId(1)), Some((State::Failed, Some(3001))));
    assert!(rig.finish(1, rig.running(TaskId(2)), failed(true)));
    assert_eq!(rig.state(TaskId(2)), Some(State::Retrying));
    rig.pass(RUN_TIMEOUT + GRACE);
    assert_eq!(rig.state(TaskId(3)), None);
}

#[test]
fn one_attempt_is_never_to_retry() {
    let mut rig = Rig::new();
    rig.join(1, 1);
    let retry = RetryPolicy { max_attempts: 1, ..task(1).retry };
    let id = rig.submit(Submission { retry, ..task(1) });
    assert!(rig.finish(1, rig.running(id), failed(true)));
    assert_eq!(rig.ended(id), Some((State::Failed, Some(3001))));
}
