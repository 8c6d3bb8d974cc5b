//! Several partitions in one engine.

use super::*;

fn elsewhere(id: u128) -> Submission {
    Submission { partition: OTHER, queue: queue("elsewhere"), ..task(id) }
}

#[test]
fn only_what_is_open_takes_commands() {
    let mut rig = Rig::new();
    assert!(rig.engine.owns(PARTITION) && !rig.engine.owns(OTHER));
    assert_eq!(rig.apply(Command::Submit(elsewhere(1))), Err(Refused::NotOwned(OTHER)));
    assert_eq!(rig.engine.admits(rig.now, &[task(1), elsewhere(2)]), Err((1, Refused::NotOwned(OTHER))));
    let set = Command::SetQueue { queue: queue("x"), partition: OTHER, rules: QueueRules::default() };
    assert_eq!(rig.apply(set), Err(Refused::NotOwned(OTHER)));
    rig.engine.opened(OTHER, 2, rig.now);
    rig.submit(elsewhere(1));
}

#[test]
fn each_partition_counts_under_its_own_epoch() {
    let mut rig = Rig::new();
    rig.engine.opened(OTHER, EPOCH + 5, rig.now);
    rig.join(1, 9);
    let (here, there) = (rig.submit(task(1)), rig.submit(elsewhere(2)));
    assert_eq!(rig.running(here).token, Token { epoch: EPOCH, sequence: 1 });
    assert_eq!(rig.running(there).token, Token { epoch: EPOCH + 5, sequence: 2 });
    assert_eq!(rig.engine.view(there).unwrap().partition, OTHER);
}

#[test]
fn a_partition_is_restored_while_another_is_at_work() {
    let mut rig = Rig::new();
    rig.join_with(1, 9, &[]);
    let waiting = || RestoredTask { submission: elsewhere(1), ..restored(1, State::Pending) };
    rig.engine.restore(waiting());
    rig.submit(task(2));
    assert_eq!(rig.assigned_tasks(), [2]);
    let id = TaskId(1);
    assert_eq!(rig.apply(Command::Cancel(id)), Err(Refused::NotLive));
    assert_eq!(rig.engine.explain(id), None);
    assert!(!rig.finish(1, older(1, 3), Outcome::Succeeded));
    assert_eq!(rig.effects, [], "nothing is said yet about an attempt that may still count");
    rig.hand_back(1, older(1, 3));
    assert_eq!(rig.effects, []);
    rig.join_with(2, 0, &[older(1, 3)]);
    assert_eq!(rig.effects, []);
    rig.now = 1_500;
    rig.engine.opened(OTHER, EPOCH, rig.now);
    rig.pass(LEASE - 1);
    assert_eq!(rig.state(id), Some(State::Pending));
    rig.apply(Command::AttemptsReported { worker: WorkerId(2), running: vec![older(1, 3), older(7, 7)] }).unwrap();
    assert_eq!(rig.running(id), older(1, 3));
    assert!(rig.effects.contains(&Effect::Revoke { worker: WorkerId(2), attempt: older(7, 7) }));
    assert_eq!(rig.engine.stats().free_slots, 8, "slots are as many as before");
}

#[test]
fn a_report_within_a_session_loses_nothing() {
    let mut rig = Rig::new();
    rig.join(1, 9);
    let ids = [rig.submit(task(1)), rig.submit(task(2))];
    let running = vec![rig.running(ids[0])];
    rig.apply(Command::AttemptsReported { worker: WorkerId(1), running: running.clone() }).unwrap();
    assert_eq!((rig.effects.len(), rig.engine.stats().running), (0, 2));
    rig.lose(1);
    rig.apply(Command::AttemptsReported { worker: WorkerId(1), running: vec![older(5, 5)] }).unwrap();
    assert_eq!(rig.effects, [], "who has no session says nothing");
}

#[test]
fn closing_forgets_everything_of_a_partition_and_nothing_else() {
    let mut rig = Rig::new();
    rig.engine.opened(OTHER, 2, rig.now);
    let before = {
        rig.join(1, 2);
        rig.submit(task(1));
        (rig.engine.stats(), rig.running(TaskId(1)))
    };
    let set = |rules| Command::SetQueue { queue: queue("elsewhere"), partition: OTHER, rules };
    let slow = Some(Rate { per_second: 0.5, burst: 1 });
    rig.apply(set(QueueRules { key_rate: slow, rate: slow, ..QueueRules::default() })).unwrap();
    rig.submit(elsewhere(2));
    rig.submit(Submission { key: Some("a".into()), unique: Some("u".into()), ..elsewhere(3) });
    rig.submit(Submission { not_before: 9_000, idempotency: key("k", 1), ..elsewhere(4) });
    rig.pass(2_000);
    assert_eq!(rig.engine.stats().running, 2);
    let lost = rig.running(TaskId(2));
    assert_eq!(rig.engine.close(OTHER), 3);
    rig.engine.check();
    assert_eq!(rig.engine.close(OTHER), 0);
    assert_eq!(rig.engine.stats(), crate::Stats { free_slots: 0, ..before.0 });
    assert_eq!((rig.running(TaskId(1)), rig.engine.queues().count()), (before.1, 1));
    assert_eq!(rig.apply(Command::Cancel(TaskId(3))), Err(Refused::NotLive));
    // Its attempts are unknown from here on; the slot comes back when the worker says so.
    assert!(!rig.finish(1, lost, Outcome::Succeeded));
    rig.free(1, 1);
    assert_eq!(rig.engine.stats().free_slots, 1);
    rig.engine.opened(OTHER, 3, rig.now);
    rig.submit(Submission { unique: Some("u".into()), idempotency: key("k", 2), ..elsewhere(5) });
    assert_eq!(rig.running(TaskId(5)).token.epoch, 3);
}

#[test]
fn closing_while_restoring_forgets_too() {
    let mut rig = Rig::new();
    rig.engine.restore_queue(&queue("r"), OTHER, QueueRules { len_max: Some(5), ..QueueRules::default() });
    rig.engine.remember(&queue("s"), OTHER, key("k", 1).unwrap(), TaskId(8), 90_000);
    let submission = Submission { unique: Some("u".into()), ..elsewhere(1) };
    rig.engine.restore(RestoredTask { submission, ..restored(1, State::Retrying) });
    rig.engine.restore(RestoredTask { submission: elsewhere(2), ..restored(2, State::Pending) });
    rig.engine.check();
    assert_eq!(rig.engine.close(OTHER), 2);
    rig.engine.check();
    assert_eq!((rig.engine.queues().count(), rig.engine.stats()), (0, crate::Stats::default()));
}

#[test]
fn a_worker_without_a_session_is_forgotten_with_the_attempts_it_had() {
    let mut rig = Rig::new();
    rig.join(1, 1);
    rig.submit(task(1));
    rig.lose(1);
    assert_eq!(rig.engine.close(PARTITION), 1);
    rig.engine.check();
    assert_eq!((rig.engine.stats(), rig.engine.next_timer()), (crate::Stats::default(), None));
}

#[test]
fn room_that_closing_made_is_used_with_the_next_command() {
    let mut rig = Rig::new();
    rig.engine.opened(OTHER, 2, rig.now);
    let cpu = |cpu_millis| Resources { cpu_millis, memory_bytes: 0 };
    rig.join_as(1, WorkerSpec { capacity: cpu(1_000), ..processes() }, 9, &[]);
    let asking = Some(Placement { request: cpu(800), ..Placement::default() }.into());
    rig.submit(Submission { placement: asking.clone(), ..elsewhere(1) });
    rig.submit(Submission { placement: asking, ..task(2) });
    assert_eq!(rig.assigned(), []);
    rig.engine.close(OTHER);
    assert_eq!(rig.engine.next_timer(), Some(rig.now));
    rig.apply(Command::Tick).unwrap();
    assert_eq!(rig.assigned_tasks(), [2]);
}
