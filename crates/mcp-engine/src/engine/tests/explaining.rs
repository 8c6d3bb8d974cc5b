//! Why a task does not run.

use super::*;

fn next_change(rig: &Rig, id: u128) -> Option<Millis> {
    let Explanation { next_change, .. } = rig.engine.explain(TaskId(id)).unwrap();
    next_change
}

#[test]
fn waiting_for_a_time_is_explained() {
    let mut rig = Rig::new();
    rig.submit(Submission { not_before: 3_000, ..task(1) });
    assert_eq!(rig.reasons(1), [Reason::Delayed { until: 3_000 }]);
    assert_eq!(next_change(&rig, 1), Some(3_000));
    rig.join(1, 1);
    rig.submit(task(2));
    rig.finish(1, rig.running(TaskId(2)), failed(true));
    assert_eq!(rig.reasons(2), [Reason::BackingOff { until: 1_100, failed: 1, max_attempts: 3 }]);
    let rig = Rig::restored([restored(1, State::Pending)]);
    assert_eq!((rig.reasons(1), next_change(&rig, 1)), (vec![Reason::Grace { until: 2_000 }], Some(2_000)));
}

#[test]
fn a_lack_of_workers_is_explained() {
    let mut rig = Rig::new();
    rig.submit(Submission { queue_timeout: Some(700), ..task(1) });
    assert_eq!((rig.reasons(1), next_change(&rig, 1)), (vec![Reason::NoWorkers], Some(1_700)));
    rig.submit(task(2));
    rig.now = 1_200;
    rig.join_as(1, handler("h"), 1, &[]);
    rig.join_as(2, handler("g"), 1, &[]);
    rig.join_as(3, WorkerSpec { queues: ["x".into()].into(), ..processes() }, 1, &[]);
    let mismatches = vec![(Mismatch::Kind(WorkKind::Process), 2), (Mismatch::Queue, 1)];
    let no_match = Reason::NoWorkerMatches { workers: 3, mismatches, since: 1_000 };
    assert_eq!(rig.reasons(2), [no_match, Reason::Behind { tasks: 1, more: false }]);
    rig.join(4, 0);
    let busy = Reason::WorkersBusy { workers: 1, some: vec![WorkerId(4)], without_room: 0 };
    assert_eq!((rig.reasons(1), next_change(&rig, 2)), (vec![busy.clone()], None), "it runs nothing that has to end");
    assert_eq!(rig.reasons(2), [busy, Reason::Behind { tasks: 1, more: false }]);
    rig.now = 1_300;
    rig.lose(4);
    assert!(matches!(rig.reasons(1)[0], Reason::NoWorkerMatches { since: 1_300, .. }));
}

#[test]
fn a_lack_of_room_is_explained() {
    let mut rig = Rig::new();
    let capacity = Resources { cpu_millis: 500, memory_bytes: 0 };
    rig.join_as(1, WorkerSpec { capacity, ..processes() }, 3, &[]);
    let asking =
        |id| Submission { placement: Some(Placement { request: capacity, ..Placement::default() }.into()), ..task(id) };
    rig.submit(asking(1));
    rig.submit(asking(2));
    assert_eq!(rig.reasons(2), [Reason::WorkersBusy { workers: 1, some: vec![WorkerId(1)], without_room: 1 }]);
    rig.join(2, 9);
    let too_much = Placement { request: Resources { cpu_millis: 501, memory_bytes: 0 }, ..Placement::default() };
    rig.submit(Submission { placement: Some(too_much.into()), ..task(3) });
    let mismatches = vec![(Mismatch::Resources, 2)];
    assert_eq!(rig.reasons(3), [Reason::NoWorkerMatches { workers: 2, mismatches, since: 1_000 }]);
}

#[test]
fn limits_are_explained_with_who_holds_the_permits() {
    let mut rig = Rig::new();
    let rules = QueueRules {
        dispatch: Dispatch::Paused { since: 900 },
        concurrency_max: Some(2),
        key_concurrency_max: Some(1),
        rate: Some(Rate { per_second: 1.0, burst: 2 }),
        key_rate: Some(Rate { per_second: 0.5, burst: 2 }),
        ..QueueRules::default()
    };
    rig.set(QueueRules { dispatch: Dispatch::Running, ..rules.clone() });
    rig.join(1, 9);
    rig.now = 11_000;
    rig.submit_keyed(&[(1, "a"), (2, "b")]);
    rig.now = 11_500;
    rig.set(rules);
    rig.submit_keyed(&[(3, "a")]);
    let holder = |id| Holder { task: TaskId(id), worker: WorkerId(1), since: 11_000 };
    let saturation = |limit, running, holders: &[u128]| Saturation {
        limit,
        running,
        perhaps_running: 0,
        since: 11_000,
        holders: holders.iter().map(|id| holder(*id)).collect(),
    };
    let expected = [
        Reason::QueuePaused { since: 900 },
        Reason::QueueConcurrency(saturation(2, 2, &[1, 2])),
        Reason::QueueRate { next_token: 12_000 },
        Reason::KeyConcurrency { key: "a".into(), saturation: saturation(1, 1, &[1]) },
    ];
    assert_eq!((rig.reasons(3), next_change(&rig, 3)), (expected.to_vec(), Some(12_000)));
    rig.done(1);
    rig.set(QueueRules { key_rate: Some(Rate { per_second: 0.5, burst: 1 }), ..QueueRules::default() });
    rig.submit_keyed(&[(4, "a"), (5, "a")]);
    let reasons = [Reason::KeyRate { key: "a".into(), next_token: 13_500 }, Reason::Behind { tasks: 1, more: false }];
    assert_eq!(rig.reasons(5), reasons);
}

#[test]
fn what_may_run_counts_in_the_explanation() {
    let mut engine = Engine::new(config());
    engine.restore_queue(&queue("q"), PARTITION, QueueRules { concurrency_max: Some(1), ..QueueRules::default() });
    engine.restore(restored(1, State::Pending));
    engine.opened(PARTITION, EPOCH, 1_000);
    let mut rig = Rig { engine, now: 1_000, effects: Vec::new() };
    rig.join(1, 1);
    rig.submit(task(2));
    let expected = Saturation { limit: 1, running: 0, perhaps_running: 1, since: 1_000, holders: Vec::new() };
    assert_eq!(rig.reasons(2), [Reason::QueueConcurrency(expected)]);
    assert_eq!(next_change(&rig, 2), Some(1_000 + LEASE), "what may run is given up then");
}

#[test]
fn the_next_change_is_when_the_first_holder_has_to_end() {
    let mut rig = Rig::new();
    rig.set(QueueRules { concurrency_max: Some(2), ..QueueRules::default() });
    rig.join(1, 2);
    rig.submit(Submission { run_timeout: 9_000, ..task(1) });
    rig.join(2, 1);
    rig.now = 1_500;
    rig.submit(Submission { run_timeout: 700, ..task(2) });
    rig.submit(task(3));
    assert_eq!(next_change(&rig, 3), Some(1_500 + 700 + GRACE));
    let mut rig = Rig::new();
    rig.join(1, 1);
    rig.submit(task(1));
    rig.submit(task(2));
    assert!(matches!(rig.reasons(2)[0], Reason::WorkersBusy { .. }));
    assert_eq!(next_change(&rig, 2), Some(1_000 + RUN_TIMEOUT + GRACE));
}

#[test]
fn the_order_is_explained() {
    let mut rig = Rig::new();
    rig.join(1, 0);
    rig.submit_keyed(&[(1, "a"), (2, "a"), (3, "a"), (4, "b")]);
    let busy = Reason::WorkersBusy { workers: 1, some: vec![WorkerId(1)], without_room: 0 };
    assert_eq!(rig.reasons(3), [busy.clone(), Reason::Behind { tasks: 2, more: false }]);
    assert_eq!(rig.reasons(4), [busy, Reason::FairShare { keys: 1, more: false }]);
}

#[test]
fn a_running_task_is_explained() {
    let mut rig = Rig::new();
    rig.join(1, 1);
    let id = rig.submit(task(1));
    let running = Reason::Running { worker: WorkerId(1), since: 1_000, deadline: 1_000 + RUN_TIMEOUT + GRACE };
    assert_eq!(rig.reasons(1), std::slice::from_ref(&running));
    rig.apply(Command::Cancel(id)).unwrap();
    assert_eq!(rig.reasons(1), [Reason::Cancelling { worker: Some(WorkerId(1)) }, running]);
    rig.lose(1);
    assert_eq!(next_change(&rig, 1), Some(1_000 + LEASE), "the lease ends before the deadline");
    assert_eq!(rig.engine.explain(TaskId(9)), None);
    let cancelled = RestoredTask { cancel_requested: true, ..restored(1, State::Pending) };
    let rig = Rig::restored([cancelled]);
    assert_eq!(rig.reasons(1), [Reason::Cancelling { worker: None }, Reason::Grace { until: 2_000 }]);
}
