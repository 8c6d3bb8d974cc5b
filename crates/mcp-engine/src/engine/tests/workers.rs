//! Sessions, leases, lost and found attempts.

use super::*;

#[test]
fn a_lost_worker_keeps_its_attempts_for_the_lease() {
    let mut rig = Rig::new();
    rig.join(1, 2);
    let id = rig.submit(task(1));
    let attempt = rig.running(id);
    rig.lose(1);
    assert_eq!((rig.effects.len(), rig.engine.next_timer()), (0, Some(rig.now + LEASE)));
    rig.submit(task(2));
    assert_eq!(rig.assigned(), [], "it has no free slots while it has no session");
    rig.pass(LEASE - 1);
    rig.join_with(1, 1, &[attempt]);
    assert_eq!(rig.running(id), attempt);
    assert_eq!(rig.assigned_tasks(), [2]);
    rig.pass(LEASE);
    assert_eq!(rig.engine.stats().running, 2);
}

#[test]
fn the_end_of_the_lease_gives_the_attempts_away() {
    let mut rig = Rig::new();
    rig.join(1, 2);
    let ids = [rig.submit(task(1)), rig.submit(task(2))];
    let stale = rig.running(ids[0]);
    rig.lose(1);
    rig.join(2, 1);
    rig.pass(LEASE);
    assert_eq!(rig.assigned_tasks(), [1]);
    let attempts = AttemptCount { started: 1, failed: 0, lost: 1 };
    let (state, not_before) = (State::Pending, rig.now);
    let first = Record::Retry { task: ids[0], state, attempts, not_before, failure: None, void: stale.token };
    assert_eq!(rig.records()[0], first);
    assert_eq!(rig.engine.stats().workers, 1, "the lost worker is forgotten");
    assert!(!rig.finish(1, stale, Outcome::Succeeded));
    rig.join_with(1, 0, &[stale]);
    assert_eq!(rig.effects, [Effect::Revoke { worker: WorkerId(1), attempt: stale }]);
    assert!(rig.finish(2, rig.running(ids[0]), Outcome::Succeeded));
}

#[test]
fn a_result_counts_while_the_lease_runs() {
    let mut rig = Rig::new();
    rig.join(1, 1);
    let id = rig.submit(task(1));
    let attempt = rig.running(id);
    rig.lose(1);
    rig.pass(LEASE - 1);
    assert!(rig.finish(1, attempt, Outcome::Succeeded));
    assert_eq!((rig.engine.stats().workers, rig.engine.next_timer()), (0, None));
}

#[test]
fn a_worker_that_runs_nothing_is_forgotten_with_its_session() {
    let mut rig = Rig::new();
    rig.join(1, 1);
    rig.lose(1);
    assert_eq!((rig.engine.stats().workers, rig.engine.next_timer()), (0, None));
    rig.lose(1);
}

#[test]
fn what_a_worker_does_not_report_is_requeued_at_once() {
    let mut rig = Rig::new();
    rig.join(1, 2);
    let ids = [rig.submit(task(1)), rig.submit(task(2))];
    let kept = rig.running(ids[1]);
    rig.join_with(1, 1, &[kept, kept]);
    assert_eq!(rig.running(ids[1]), kept);
    assert_eq!(rig.assigned_tasks(), [1], "it may get it again");
    assert_eq!(rig.engine.view(ids[0]).unwrap().attempts, AttemptCount { started: 2, failed: 0, lost: 1 });
}

#[test]
fn a_task_lost_too_often_fails() {
    let mut rig = Rig::new();
    let id = rig.submit(task(1));
    for lost in 1..=3 {
        rig.join(1, 1);
        assert_eq!(rig.state(id), Some(State::Running));
        rig.lose(1);
        rig.pass(LEASE);
        assert_eq!(rig.state(id), (lost <= 2).then_some(State::Pending));
    }
    assert_eq!(rig.ended(id), Some((State::Failed, Some(3008))));
}

#[test]
fn unknown_attempts_are_revoked() {
    let mut rig = Rig::new();
    rig.join(1, 1);
    let id = rig.submit(task(1));
    let current = rig.running(id);
    let (stale, unknown) = (older(1, 9), older(9, 1));
    rig.join_with(2, 0, &[current, stale, unknown]);
    let revoke = |attempt| Effect::Revoke { worker: WorkerId(2), attempt };
    assert_eq!(rig.effects, [revoke(current), revoke(stale), revoke(unknown)]);
    assert_eq!(rig.engine.view(id).unwrap().worker, Some(WorkerId(1)));
}

#[test]
fn the_order_to_stop_is_repeated_in_the_next_session() {
    let mut rig = Rig::new();
    rig.join(1, 1);
    let id = rig.submit(task(1));
    let attempt = rig.running(id);
    rig.apply(Command::Cancel(id)).unwrap();
    rig.lose(1);
    rig.join_with(1, 0, &[attempt]);
    assert_eq!(rig.effects, [Effect::CancelAttempt { worker: WorkerId(1), attempt }]);
}

#[test]
fn a_session_may_change_what_the_worker_serves() {
    let mut rig = Rig::new();
    rig.join(1, 1);
    rig.join_as(1, handler("h"), 1, &[]);
    rig.submit(task(1));
    assert_eq!(rig.assigned(), []);
    rig.submit(Submission { kind: WorkKind::Handler("h".into()), ..task(2) });
    assert_eq!(rig.assigned_tasks(), [2]);
}
