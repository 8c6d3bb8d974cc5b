//! Clauses of tasks, and of what is loaded.

use bytes::Bytes;
use mcp_proto::{
    common::v1::Error as WireError,
    scheduler::v1::{ProcessWork, TaskSpec, TaskState, task_spec::Work},
};
use prost::Message as _;

use super::{
    Make,
    samples::{finished, fixed, id, ids, keys, moving, query, submitted, unfinished},
};
use crate::store::{FailedAttempt, Fixed, KeyRecord, Moving, SPEC_INLINE_MAX, Write};

pub fn a_finished_task_is_in_one_place(mut make: impl Make) {
    let partition = make().open(0, 1).unwrap();
    let id = id(1, 1);
    partition.commit(&[submitted(id, "n", "q")]).unwrap();
    let update = Moving { failed: 1, ..moving(TaskState::Retrying) };
    partition.commit(&[Write::Updated { id, fixed: fixed("n", "q"), moving: update }]).unwrap();
    assert_eq!(partition.get(id).unwrap().unwrap().moving.failed, 1);
    partition.commit(&[finished(id, TaskState::Succeeded, 50)]).unwrap();
    let task = partition.get(id).unwrap().unwrap();
    assert_eq!((task.moving.state(), task.moving.finish_ms), (TaskState::Succeeded, 50));
    assert_eq!(ids(&*partition, &query()), [id], "listed once");
    assert_eq!(unfinished(&*partition), []);
    // Submitted and finished in one batch is the same.
    let other = self::id(2, 2);
    partition.commit(&[submitted(other, "n", "q"), finished(other, TaskState::Cancelled, 60)]).unwrap();
    assert_eq!(ids(&*partition, &query()), [other, id]);
    assert_eq!(unfinished(&*partition), []);
}

pub fn only_unfinished_tasks_are_loaded(mut make: impl Make) {
    let all: Vec<_> = (0..100).map(|n| id(n, 1)).collect();
    {
        let store = make();
        let partition = store.open(0, 1).unwrap();
        partition.commit(&all.iter().map(|id| submitted(*id, "n", "q")).collect::<Vec<_>>()).unwrap();
        let ends: Vec<_> = all.iter().step_by(2).map(|id| finished(*id, TaskState::Succeeded, 500)).collect();
        partition.commit(&ends).unwrap();
    }
    let store = make();
    let partition = store.open(0, 1).unwrap();
    assert_eq!(unfinished(&*partition), all.into_iter().skip(1).step_by(2).collect::<Vec<_>>());
}

pub fn keys_are_loaded_until_they_are_forgotten(mut make: impl Make) {
    let partition = make().open(0, 1).unwrap();
    let key = |n: u64, forget_at| KeyRecord {
        task: id(n, 1),
        namespace: "n".to_owned(),
        queue: "q".to_owned(),
        key: format!("key {n}"),
        body_hash: n,
        forget_at,
    };
    let writes: Vec<_> = [key(1, 100), key(2, 200), key(3, 201)]
        .into_iter()
        .map(|key| Write::Submitted {
            id: key.task,
            fixed: fixed("n", "q"),
            whole: None,
            moving: moving(TaskState::Pending),
            key: Some(key),
        })
        .collect();
    partition.commit(&writes).unwrap();
    partition.commit(&[finished(id(3, 1), TaskState::Failed, 7)]).unwrap();
    assert_eq!(keys(&*partition, 99), [key(1, 100), key(2, 200), key(3, 201)]);
    assert_eq!(keys(&*partition, 200), [key(3, 201)]);
    assert_eq!(partition.sweep(200, 0).unwrap().keys, 2);
    assert_eq!(keys(&*partition, 0), [key(3, 201)]);
}

pub fn a_large_spec_and_output_come_back_whole(mut make: impl Make) {
    let partition = make().open(0, 1).unwrap();
    let id = id(1, 1);
    let stdin = Bytes::from(vec![7; 100 * SPEC_INLINE_MAX]);
    let process = ProcessWork { argv: vec!["cat".to_owned()], stdin: stdin.clone(), ..ProcessWork::default() };
    let spec = TaskSpec { queue: "q".to_owned(), work: Some(Work::Process(process)), ..TaskSpec::default() };
    let (fixed, whole) = Fixed::encode(spec.clone(), spec.encoded_len(), 0, "", None);
    assert!(fixed.is_brief() && fixed.len() < SPEC_INLINE_MAX);
    let moving = moving(TaskState::Pending);
    partition.commit(&[Write::Submitted { id, fixed: fixed.clone(), whole, moving, key: None }]).unwrap();
    assert_eq!(TaskSpec::decode(partition.spec(id).unwrap().unwrap()).unwrap(), spec);
    let Some(Work::Process(brief)) = partition.get(id).unwrap().unwrap().fixed.decode_spec().unwrap().work else {
        panic!("the brief has no work")
    };
    assert_eq!((brief.argv, brief.stdin.len()), (vec!["cat".to_owned()], 0));

    let output = Bytes::from(vec![9; 10 * SPEC_INLINE_MAX]);
    let end = Moving { output: Some(output.clone()), ..self::moving(TaskState::Succeeded) };
    partition.commit(&[Write::Finished { id, fixed, moving: end }]).unwrap();
    assert_eq!(partition.get(id).unwrap().unwrap().moving.output, Some(output));
    assert_eq!(TaskSpec::decode(partition.spec(id).unwrap().unwrap()).unwrap(), spec);
    assert!(partition.spec(self::id(9, 9)).unwrap().is_none());
}

pub fn an_end_can_be_corrected(mut make: impl Make) {
    let partition = make().open(0, 1).unwrap();
    let id = id(1, 1);
    partition.commit(&[submitted(id, "n", "q"), submitted(self::id(2, 2), "n", "q")]).unwrap();
    let output = Some(Bytes::from(vec![9; 3 * SPEC_INLINE_MAX]));
    let end = Moving { output: output.clone(), finish_ms: 5, ..moving(TaskState::Failed) };
    partition.commit(&[Write::Finished { id, fixed: fixed("n", "q"), moving: end }]).unwrap();
    // Beside ordinary writes, which are to be there too.
    let mut task = partition.get(id).unwrap().unwrap();
    task.moving.replayed_as = "another".to_owned();
    let correction = Write::Finished { id, fixed: task.fixed.clone(), moving: task.moving.clone() };
    let batch = [submitted(self::id(3, 3), "n", "q"), correction, finished(self::id(2, 2), TaskState::Succeeded, 6)];
    partition.commit(&batch).unwrap();
    assert_eq!(partition.get(id).unwrap().unwrap(), task);
    assert_eq!(ids(&*partition, &query()), [self::id(3, 3), self::id(2, 2), id]);
    assert_eq!(unfinished(&*partition), [self::id(3, 3)]);
}

pub fn failures_and_tokens_are_kept(mut make: impl Make) {
    let id = id(1, 1);
    let mut update = Moving { started_epoch: 4, started_sequence: 9, ..moving(TaskState::Retrying) };
    for attempt in 1..=40 {
        let error = WireError { name: "TIMEOUT".to_owned(), message: format!("no. {attempt}"), ..WireError::default() };
        let (worker_id, start_ms, end_ms) = ("w".to_owned(), u64::from(attempt), u64::from(attempt) + 1);
        update.note_failure(FailedAttempt { attempt, error: Some(error), worker_id, start_ms, end_ms });
    }
    assert_eq!(update.failures.len(), 32);
    {
        let store = make();
        let partition = store.open(0, 1).unwrap();
        partition.commit(&[submitted(id, "n", "q")]).unwrap();
        partition.commit(&[Write::Updated { id, fixed: fixed("n", "q"), moving: update.clone() }]).unwrap();
    }
    let store = make();
    let partition = store.open(0, 1).unwrap();
    assert_eq!(partition.get(id).unwrap().unwrap().moving, update);
    let end = moving(TaskState::Failed).after(&update);
    partition.commit(&[Write::Finished { id, fixed: fixed("n", "q"), moving: end }]).unwrap();
    let kept = partition.get(id).unwrap().unwrap().moving;
    assert_eq!((kept.failures, kept.started_sequence), (update.failures, 9));
}

pub fn tasks_to_run_come_with_their_whole_spec(mut make: impl Make) {
    let partition = make().open(0, 1).unwrap();
    let (small, large, gone, ended) = (id(1, 1), id(2, 2), id(3, 3), id(4, 4));
    let process = ProcessWork { stdin: Bytes::from(vec![7; 5_000]), ..ProcessWork::default() };
    let spec = TaskSpec { queue: "q".to_owned(), work: Some(Work::Process(process)), ..TaskSpec::default() };
    let (brief, whole) = Fixed::encode(spec.clone(), spec.encoded_len(), 0, "", None);
    let apart =
        Write::Submitted { id: large, fixed: brief.clone(), whole, moving: moving(TaskState::Pending), key: None };
    partition.commit(&[submitted(small, "n", "q"), apart, submitted(ended, "n", "q")]).unwrap();
    partition.commit(&[finished(ended, TaskState::Failed, 1)]).unwrap();

    let found = partition.to_run(&[large, gone, small, ended], usize::MAX).unwrap();
    assert_eq!(found.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false, true, false]);
    let (first, third) = (found[0].clone().unwrap(), found[2].clone().unwrap());
    assert_eq!((TaskSpec::decode(first.spec).unwrap(), first.fixed), (spec, brief));
    assert_eq!((third.spec.clone(), third.fixed.clone()), (third.fixed.spec(), fixed("n", "q")));
    let many: Vec<_> = std::iter::repeat_n(large, 10).collect();
    assert_eq!(partition.to_run(&many, 12_000).unwrap().len(), 3, "ends once it is full");
    assert_eq!(partition.to_run(&many, 0).unwrap().len(), 1, "at least one");
}
