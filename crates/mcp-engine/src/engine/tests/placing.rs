//! Which worker a task is given to.

use super::*;

fn cpu(cpu_millis: u64) -> Resources {
    Resources { cpu_millis, memory_bytes: 0 }
}

fn asking(id: u128, placement: Placement) -> Submission {
    Submission { placement: Some(placement.into()), ..task(id) }
}

fn request(cpu_millis: u64, strategy: Option<Strategy>) -> Placement {
    Placement { request: cpu(cpu_millis), strategy, ..Placement::default() }
}

fn with_cpu(cpu_millis: u64) -> WorkerSpec {
    WorkerSpec { capacity: cpu(cpu_millis), ..processes() }
}

fn labelled(key: &str, value: &str) -> WorkerSpec {
    WorkerSpec { labels: [(key.into(), value.into())].into(), ..processes() }
}

fn zone(operator: Operator, value: &str) -> Placement {
    let rule = LabelRule { key: "zone".into(), operator, values: vec![value.into()] };
    Placement { rules: vec![rule], ..Placement::default() }
}

/// To which worker the latest command gave a task.
fn taker(rig: &Rig) -> Option<u64> {
    rig.assigned().first().map(|(worker, _)| *worker)
}

#[test]
fn labels_lead_tasks_to_workers() {
    let mut rig = Rig::new();
    rig.join_as(1, labelled("zone", "us"), 9, &[]);
    rig.submit(asking(1, zone(Operator::In, "eu")));
    assert_eq!(rig.assigned(), []);
    rig.join_as(2, labelled("zone", "eu"), 2, &[]);
    assert_eq!(rig.assigned_tasks(), [1]);
    rig.submit(asking(2, zone(Operator::NotIn, "us")));
    assert_eq!(taker(&rig), Some(2));
    rig.submit(asking(3, zone(Operator::NotIn, "eu")));
    assert_eq!(taker(&rig), Some(1));
    rig.submit(asking(4, zone(Operator::In, "eu")));
    assert_eq!(rig.assigned(), [], "it has no slot left");
    rig.free(1, 1);
    assert_eq!(rig.assigned(), []);
    rig.free(2, 1);
    assert_eq!(rig.assigned_tasks(), [4]);
}

#[test]
fn tasks_that_ask_for_nothing_go_anywhere_but_to_tainted_workers() {
    let mut rig = Rig::new();
    let taints = [Taint { key: "gpu".into(), value: "yes".into() }].into();
    rig.join_as(1, WorkerSpec { taints, ..processes() }, 9, &[]);
    rig.submit(task(1));
    assert_eq!(rig.assigned(), []);
    let tolerations = vec![Toleration { key: "gpu".into(), value: None }];
    rig.submit(asking(2, Placement { tolerations, ..Placement::default() }));
    assert_eq!(taker(&rig), Some(1));
    rig.join_as(2, labelled("zone", "eu"), 1, &[]);
    assert_eq!(rig.assigned_tasks(), [1]);
}

#[test]
fn workers_get_no_more_than_they_have_room_for() {
    let mut rig = Rig::new();
    rig.join_as(1, with_cpu(1_000), 9, &[]);
    for id in 1..=3 {
        rig.submit(asking(id, request(400, None)));
    }
    rig.submit(asking(4, request(200, None)));
    rig.submit(asking(5, request(1_200, None)));
    rig.submit(task(6));
    assert_eq!(rig.engine.stats().running, 4, "two of 400, one of 200, and one that asks for nothing");
    let id = TaskId(1);
    assert!(rig.finish(1, rig.running(id), Outcome::Succeeded));
    assert_eq!(rig.assigned_tasks(), [3], "room counts as soon as the attempt is over; slots were free");
    rig.join_as(2, with_cpu(2_000), 1, &[]);
    assert_eq!(rig.assigned_tasks(), [5]);
}

#[test]
fn memory_counts_beside_cpu() {
    let mut rig = Rig::new();
    let of = |cpu_millis, memory_bytes| Resources { cpu_millis, memory_bytes };
    rig.join_as(1, WorkerSpec { capacity: of(1_000, 100), ..processes() }, 9, &[]);
    let asking_for = |id, request| asking(id, Placement { request, ..Placement::default() });
    rig.submit(asking_for(1, of(100, 80)));
    rig.submit(asking_for(2, of(100, 30)));
    rig.submit(asking_for(3, of(800, 20)));
    assert_eq!(rig.engine.stats().running, 2);
    assert_eq!(rig.state(TaskId(2)), Some(State::Pending));
}

#[test]
fn a_lost_attempt_gives_its_room_back() {
    let mut rig = Rig::new();
    rig.join_as(1, with_cpu(1_000), 9, &[]);
    let id = rig.submit(asking(1, request(700, None)));
    let attempt = rig.running(id);
    rig.lose(1);
    rig.join_as(1, with_cpu(1_000), 9, &[attempt]);
    rig.submit(asking(2, request(700, None)));
    assert_eq!(rig.assigned(), [], "it still runs the first");
    rig.join_as(1, with_cpu(1_000), 9, &[]);
    assert_eq!(rig.engine.stats().running, 1);
    rig.finish(1, rig.running(id), Outcome::Succeeded);
    assert_eq!(rig.engine.stats().running, 1);
}

#[test]
fn room_of_an_attempt_that_is_silent_is_free_when_its_worker_says_so() {
    let mut rig = Rig::new();
    rig.join_as(1, with_cpu(1_000), 9, &[]);
    let id = rig.submit(asking(1, request(700, None)));
    let attempt = rig.running(id);
    rig.pass(RUN_TIMEOUT + GRACE);
    rig.submit(asking(2, request(700, None)));
    rig.pass(200);
    assert_eq!(rig.engine.stats().running, 0);
    assert!(!rig.finish(1, attempt, Outcome::Cancelled));
    assert_eq!(rig.assigned_tasks(), [1]);
}

#[test]
fn strategies_choose_among_those_with_room() {
    let cases = [(Strategy::BinPack, 2), (Strategy::LeastLoaded, 3), (Strategy::Spread, 1)];
    for (strategy, expected) in cases {
        let mut rig = Rig::new();
        // 1: half full with one attempt; 2: nearly full with two; 3: nearly empty with three.
        for (worker, sizes) in [(1, vec![500]), (2, vec![350, 350]), (3, vec![10, 10, 10])] {
            rig.join_as(worker, with_cpu(1_000), u32::try_from(sizes.len()).unwrap(), &[]);
            for (n, size) in sizes.into_iter().enumerate() {
                rig.submit(asking(u128::from(worker) * 10 + n as u128, request(size, None)));
                assert_eq!(taker(&rig), Some(worker));
            }
        }
        (1..=3).for_each(|worker| rig.free(worker, 5));
        rig.submit(asking(1, request(200, Some(strategy))));
        assert_eq!(taker(&rig), Some(expected), "{strategy:?}");
    }
}

#[test]
fn a_task_that_does_not_fit_holds_up_no_smaller_one() {
    let mut rig = Rig::new();
    rig.join_as(1, with_cpu(1_000), 1, &[]);
    let first = rig.submit(asking(1, request(600, None)));
    rig.submit(asking(2, request(950, None)));
    rig.submit(asking(3, request(100, None)));
    rig.submit(task(4));
    rig.free(1, 1);
    assert_eq!(rig.assigned_tasks(), [3]);
    rig.free(1, 1);
    assert_eq!(rig.assigned_tasks(), [4]);
    rig.finish(1, rig.running(first), Outcome::Succeeded);
    rig.free(1, 1);
    assert_eq!(rig.assigned(), [], "100 are still in use");
    rig.done(3);
    assert_eq!(rig.state(TaskId(2)), Some(State::Running));
}

#[test]
fn nothing_is_left_of_placements_that_are_over() {
    let mut rig = Rig::new();
    for id in 0..50_u32 {
        rig.join_as(1, labelled("zone", &format!("z{id}")), 1, &[]);
        rig.submit(asking(id.into(), zone(Operator::In, &format!("z{id}"))));
        assert!(rig.finish(1, rig.running(TaskId(id.into())), Outcome::Succeeded));
    }
    rig.lose(1);
    assert_eq!(rig.engine.board.pools().count(), 0);
    assert_eq!(rig.engine.board.buckets.interned(), [(0, 0), (0, 0)]);
}

#[test]
fn labels_do_not_split_the_workers_of_tasks_that_ask_for_nothing() {
    let mut rig = Rig::new();
    (1..=20).for_each(|worker| rig.join_as(worker, labelled("host", &format!("h{worker}")), 1, &[]));
    rig.submit(task(1));
    let bases = rig.engine.board.pools().filter(|(_, pool)| !pool.is_shape).count();
    assert_eq!((bases, rig.engine.board.pools().count()), (1, 21));
}

#[test]
fn a_task_that_comes_back_does_not_take_its_room_from_one_that_waits() {
    let mut rig = Rig::new();
    let asking = |id| Submission { submitted_at: u64::try_from(id).unwrap(), ..asking(id, request(1_000, None)) };
    rig.join_as(1, with_cpu(1_000), 2, &[]);
    rig.submit(asking(2));
    rig.submit(asking(1));
    let lost = rig.running(TaskId(2));
    rig.finish(1, lost, Outcome::Cancelled);
    assert_eq!(rig.assigned_tasks(), [1], "it is the older one");
    assert_eq!(rig.state(TaskId(2)), Some(State::Pending));
}

#[test]
fn a_task_that_comes_back_is_served_before_a_younger_one() {
    let mut rig = Rig::new();
    let asking = |id| asking(id, request(1_000, None));
    rig.join_as(1, with_cpu(1_000), 2, &[]);
    rig.submit(asking(1));
    rig.submit(asking(2));
    let back = rig.running(TaskId(1));
    rig.hand_back(1, back);
    assert_eq!(rig.assigned_tasks(), [1]);
}
