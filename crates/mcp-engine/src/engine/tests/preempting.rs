//! Stopping attempts for more urgent tasks.

use super::*;

fn urgent(id: u128, priority: i16) -> Submission {
    Submission { priority, placement: Some(Placement { preempt: true, ..Placement::default() }.into()), ..task(id) }
}

/// A worker with `tasks`, and no free slot.
fn full(tasks: &[Submission]) -> Rig {
    let mut rig = Rig::new();
    rig.join(1, u32::try_from(tasks.len()).unwrap());
    for task in tasks {
        rig.submit(task.clone());
    }
    rig
}

#[test]
fn the_attempt_of_the_lowest_priority_makes_room() {
    let with = |id, priority| Submission { priority, ..task(id) };
    let mut rig = full(&[with(1, 3), with(2, -1), with(3, 0)]);
    let victim = rig.running(TaskId(2));
    let id = rig.submit(urgent(4, 2));
    let attempts = AttemptCount { started: 1, failed: 0, lost: 0 };
    let retry = Record::Retry {
        task: victim.task,
        state: State::Pending,
        attempts,
        not_before: rig.now,
        failure: None,
        void: victim.token,
    };
    assert_eq!(rig.records()[1..], [retry]);
    assert_eq!(rig.effects.last(), Some(&Effect::CancelAttempt { worker: WorkerId(1), attempt: victim }));
    assert_eq!(rig.reasons(4)[0], Reason::MakingRoom { worker: WorkerId(1) });
    assert!(!rig.finish(1, victim, Outcome::Cancelled), "it does not count as lost");
    rig.submit(Submission { priority: 9, ..task(5) });
    rig.free(1, 1);
    assert_eq!(rig.assigned_tasks(), [4], "the slot is kept for it");
    assert_eq!(rig.state(id), Some(State::Running));
    rig.free(1, 2);
    assert_eq!(rig.assigned_tasks(), [5, 2]);
}

#[test]
fn a_task_that_would_be_stopped_at_once_is_not_started() {
    let mut rig = Rig::new();
    rig.now = 100_000;
    rig.submit(Submission { submitted_at: 1, ..task(1) });
    rig.submit(urgent(2, 1));
    rig.join(1, 1);
    assert_eq!(rig.assigned_tasks(), [2], "the other one comes first by its age");
    assert!(!rig.effects.iter().any(|effect| matches!(effect, Effect::CancelAttempt { .. })));
    assert_eq!(rig.done(2), [1]);
}

#[test]
fn nobody_is_stopped_for_a_task_of_the_same_priority_or_one_that_does_not_ask() {
    let mut rig = full(&[Submission { priority: 2, ..task(1) }]);
    rig.submit(urgent(2, 2));
    rig.submit(Submission { priority: 9, ..task(3) });
    assert_eq!(rig.engine.stats().running, 1);
    assert!(!rig.effects.iter().any(|effect| matches!(effect, Effect::CancelAttempt { .. })));
}

#[test]
fn what_runs_at_most_once_or_is_being_cancelled_is_not_stopped() {
    let mut rig = full(&[Submission { at_most_once: true, ..task(1) }, task(2)]);
    rig.apply(Command::Cancel(TaskId(2))).unwrap();
    rig.submit(urgent(3, 9));
    assert!(!rig.effects.iter().any(|effect| matches!(effect, Effect::CancelAttempt { .. })));
}

#[test]
fn one_attempt_is_stopped_for_each_task() {
    let mut rig = full(&[task(1), task(2)]);
    let stopped =
        |rig: &Rig| rig.effects.iter().filter(|effect| matches!(effect, Effect::CancelAttempt { .. })).count();
    rig.submit(urgent(3, 5));
    assert_eq!(stopped(&rig), 1);
    rig.pass(0);
    rig.apply(Command::Tick).unwrap();
    assert_eq!(stopped(&rig), 0, "room is being made");
    rig.apply(Command::Cancel(TaskId(3))).unwrap();
    rig.free(1, 1);
    assert_eq!(rig.assigned_tasks(), [2], "the slot is free for others again");
}

#[test]
fn room_is_made_where_the_task_fits() {
    let mut rig = Rig::new();
    let cpu = |cpu_millis| Resources { cpu_millis, memory_bytes: 0 };
    let asking = |id, request, priority, preempt| {
        let placement = Placement { request: cpu(request), preempt, ..Placement::default() };
        Submission { placement: Some(placement.into()), priority, ..task(id) }
    };
    rig.join_as(1, WorkerSpec { capacity: cpu(1_000), ..processes() }, 9, &[]);
    rig.submit(asking(1, 200, -5, false));
    rig.submit(asking(2, 800, -1, false));
    rig.submit(asking(3, 700, 0, true));
    assert_eq!(rig.state(TaskId(2)), Some(State::Pending), "stopping the first would not be enough");
    assert_eq!(rig.state(TaskId(1)), Some(State::Running));
    rig.submit(asking(4, 100, -9, false));
    assert_eq!(rig.assigned(), [], "nothing else until the room is used");
    assert_eq!(rig.state(TaskId(3)), Some(State::Pending), "the stopped one counts until it has ended");
    let stopped = RunningAttempt { task: TaskId(2), token: Token { epoch: EPOCH, sequence: 2 } };
    assert!(!rig.finish(1, stopped, Outcome::Cancelled));
    assert_eq!(rig.assigned_tasks(), [3, 4]);
}

/// A worker has a free slot and stops `victim` for task 2, since each of them asks for all of its cpu.
fn being_stopped(rig: &mut Rig, victim: Submission) -> RunningAttempt {
    let all = Resources { cpu_millis: 1_000, memory_bytes: 0 };
    let asking = |preempt| Some(Placement { request: all, preempt, ..Placement::default() }.into());
    rig.join_as(1, WorkerSpec { capacity: all, ..processes() }, 2, &[]);
    let victim = rig.submit(Submission { placement: asking(false), priority: -5, ..victim });
    let victim = rig.running(victim);
    rig.submit(Submission { placement: asking(true), ..task(2) });
    assert_eq!(rig.effects.last(), Some(&Effect::CancelAttempt { worker: WorkerId(1), attempt: victim }));
    victim
}

#[test]
fn a_stopped_attempt_that_is_reported_is_told_to_stop_once_more() {
    let mut rig = Rig::new();
    let victim = being_stopped(&mut rig, task(1));
    rig.apply(Command::AttemptsReported { worker: WorkerId(1), running: vec![victim] }).unwrap();
    // Were it revoked, the worker would drop it without a word, and its room would never come back.
    assert_eq!(rig.effects, [Effect::CancelAttempt { worker: WorkerId(1), attempt: victim }]);
    rig.finish(1, victim, Outcome::Cancelled);
    assert_eq!(rig.assigned_tasks(), [2]);
}

#[test]
fn the_room_of_a_stopped_attempt_comes_back_when_its_partition_moves_away() {
    let mut rig = Rig::new();
    rig.engine.opened(OTHER, EPOCH, 0);
    being_stopped(&mut rig, Submission { partition: OTHER, queue: queue("other"), ..task(1) });
    assert_eq!(rig.engine.close(OTHER), 1);
    rig.apply(Command::Tick).unwrap();
    assert_eq!(rig.assigned_tasks(), [2], "its worker tells the next owner how it ended");
}

#[test]
fn the_end_of_the_session_ends_the_making_of_room() {
    let mut rig = full(&[task(1)]);
    let id = rig.submit(urgent(2, 5));
    rig.lose(1);
    assert_eq!(rig.reasons(2)[0], Reason::NoWorkers);
    rig.join(2, 1);
    assert_eq!(rig.state(id), Some(State::Running));
}

#[test]
fn a_task_that_may_not_start_stops_nobody() {
    let mut rig = full(&[Submission { queue: queue("other"), ..task(1) }]);
    rig.set(QueueRules { dispatch: Dispatch::Paused { since: 0 }, ..QueueRules::default() });
    rig.submit(urgent(2, 5));
    assert_eq!(rig.engine.stats().running, 1);
    rig.set(QueueRules::default());
    assert_eq!(rig.engine.stats().running, 0);
    rig.set(QueueRules { dispatch: Dispatch::Paused { since: 0 }, ..QueueRules::default() });
    rig.free(1, 1);
    assert_eq!(rig.assigned_tasks(), [1], "who was kept back meanwhile does not block the slot");
}
