//! Names that one unfinished task of a queue has at a time.

use super::*;

fn named(id: u128, name: &str) -> Submission {
    Submission { unique: Some(name.into()), ..task(id) }
}

#[test]
fn a_submit_under_a_name_in_use_gets_the_task_that_has_it() {
    let mut rig = Rig::new();
    let first = rig.submit(named(1, "a"));
    let found = Ok(Applied::Submitted { id: first, deduplicated: true });
    assert_eq!(rig.apply(Command::Submit(named(2, "a"))), found);
    rig.submit(named(3, "b"));
    rig.submit(Submission { queue: queue("other"), ..named(4, "a") });
    rig.join(1, 9);
    assert_eq!(rig.apply(Command::Submit(named(5, "a"))), found, "also while it runs");
    rig.finish(1, rig.running(first), failed(true));
    assert_eq!(rig.apply(Command::Submit(named(6, "a"))), found, "and while it waits for its next attempt");
}

#[test]
fn a_name_is_free_with_the_end_of_its_task() {
    type End = fn(&mut Rig, TaskId);
    let ends: [End; 4] = [
        |rig, id| _ = rig.finish(1, rig.running(id), Outcome::Succeeded),
        |rig, id| _ = rig.finish(1, rig.running(id), failed(false)),
        |rig, id| {
            rig.apply(Command::Cancel(id)).unwrap();
            rig.finish(1, rig.running(id), Outcome::Cancelled);
        },
        |rig, id| {
            rig.hand_back(1, rig.running(id));
            rig.apply(Command::Cancel(id)).unwrap();
        },
    ];
    for end in ends {
        let mut rig = Rig::new();
        rig.join(1, 1);
        let first = rig.submit(named(1, "a"));
        end(&mut rig, first);
        rig.submit(named(2, "a"));
    }
}

#[test]
fn names_survive_a_restart() {
    let unfinished = RestoredTask { submission: named(1, "a"), ..restored(1, State::Retrying) };
    let mut rig = Rig::restored([unfinished]);
    let found = Ok(Applied::Submitted { id: TaskId(1), deduplicated: true });
    assert_eq!(rig.apply(Command::Submit(named(2, "a"))), found);
    assert!(rig.finish(1, older(1, 3), Outcome::Succeeded));
    rig.submit(named(3, "a"));
}

#[test]
fn the_idempotency_key_comes_before_the_name() {
    let mut rig = Rig::new();
    let first = rig.submit(Submission { idempotency: key("k", 1), ..task(1) });
    let second = rig.submit(named(2, "a"));
    let both = |hash| Submission { idempotency: key("k", hash), ..named(3, "a") };
    assert_eq!(rig.apply(Command::Submit(both(1))), Ok(Applied::Submitted { id: first, deduplicated: true }));
    assert_eq!(rig.apply(Command::Submit(both(2))), Err(Refused::IdempotencyConflict(first)));
    let other = Submission { idempotency: key("l", 1), ..named(4, "a") };
    assert_eq!(rig.apply(Command::Submit(other)), Ok(Applied::Submitted { id: second, deduplicated: true }));
}

#[test]
fn the_key_of_a_submit_that_finds_a_name_is_that_tasks_from_then_on() {
    let mut rig = Rig::new();
    let first = rig.submit(named(1, "a"));
    let again = |id, hash| Submission { idempotency: key("k", hash), ..named(id, "a") };
    let found = Ok(Applied::Submitted { id: first, deduplicated: true });
    assert_eq!(rig.engine.merges_into(rig.now, &again(2, 1)), Some(first));
    assert_eq!(rig.apply(Command::Submit(again(2, 1))), found);
    assert_eq!(rig.engine.merges_into(rig.now, &again(3, 1)), None, "its key leads to it");
    assert_eq!(rig.records(), [Record::Merged { task: first, submitted: TaskId(2) }]);
    assert_eq!(rig.apply(Command::Submit(again(3, 2))), Err(Refused::IdempotencyConflict(first)));
    rig.join(1, 1);
    rig.finish(1, rig.running(first), Outcome::Succeeded);
    assert_eq!(rig.apply(Command::Submit(again(4, 1))), found, "also when the name is free again");
    assert_eq!(rig.records(), []);
    // In one batch, too.
    let batch = [named(5, "b"), Submission { idempotency: key("l", 1), ..named(6, "b") }];
    let conflict = Submission { idempotency: key("l", 2), ..task(7) };
    assert_eq!(rig.engine.admits(rig.now, &batch), Ok(()));
    let refused = Err((2, Refused::IdempotencyConflict(TaskId(5))));
    assert_eq!(rig.engine.admits(rig.now, &[batch.as_slice(), &[conflict]].concat()), refused);
}

#[test]
fn a_name_in_use_is_found_in_a_batch_too() {
    let mut rig = Rig::with(Config { queue_len_max: 2, ..config() });
    rig.submit(named(1, "a"));
    let full = Refused::QueueFull { retry_after: 1_000 };
    let cases = [
        (vec![named(2, "a"), named(3, "b"), named(4, "b")], Ok(())),
        (vec![named(2, "b"), named(3, "c")], Err((1, full.clone()))),
        (vec![named(2, "b"), named(2, "c")], Ok(())),
        (vec![Submission { idempotency: key("k", 1), ..named(2, "a") }, task(3), task(4)], Err((2, full))),
    ];
    for (batch, expected) in cases {
        assert_eq!(rig.engine.admits(rig.now, &batch), expected, "{batch:?}");
    }
}
