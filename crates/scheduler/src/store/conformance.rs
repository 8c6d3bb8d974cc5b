//! The clauses of [`Store`](super::Store) and [`PartitionStore`](super::PartitionStore) as functions. Every backend
//! runs all of them, through [`store_conformance!`](crate::store_conformance).
#![allow(missing_docs, clippy::unwrap_used, reason = "a test suite: every function is a named clause")]

use std::sync::Arc;

use bytes::Bytes;
use mcp_proto::{
    TaskId,
    scheduler::v1::{HandlerWork, LogLine, ProcessWork, TaskSpec, TaskState, task_spec::Work},
};
use prost::Message as _;

use super::{
    Error, Fixed, KeyRecord, ListQuery, Loaded, LogChunk, LogEnd, Moving, PartitionStore, SPEC_INLINE_MAX, States,
    Store, Stored, Write,
};

/// Makes one test for each clause. The expression gives a function that opens the same, at first empty, store each
/// time it is called, as a restart would.
#[macro_export]
macro_rules! store_conformance {
    ($module:ident, $make:expr) => {
        mod $module {
            $crate::store_conformance!(@clauses $make;
                a_commit_survives_a_reopening,
                an_older_opening_is_fenced,
                an_older_epoch_cannot_open,
                a_handle_moves_to_a_newer_epoch,
                a_finished_task_is_in_one_place,
                only_unfinished_tasks_are_loaded,
                keys_are_loaded_until_they_are_forgotten,
                a_large_spec_and_output_come_back_whole,
                lists_filter_by_state_queue_and_namespace,
                a_cursor_goes_on_where_the_page_ended,
                a_list_looks_at_a_bounded_number_of_records,
                logs_come_back_in_order_from_any_line,
                a_log_read_is_bounded,
                partitions_are_apart,
                a_sweep_removes_what_is_old_and_nothing_else,
                a_sweep_of_many_is_done_in_parts);
        }
    };
    (@clauses $make:expr; $($clause:ident),+) => {
        $(#[test] fn $clause() { $crate::store::conformance::$clause($make); })+
    };
}

/// Opens the store under test.
pub trait Make: FnMut() -> Arc<dyn Store> {}
impl<F: FnMut() -> Arc<dyn Store>> Make for F {}

pub fn a_commit_survives_a_reopening(mut make: impl Make) {
    let id = id(1, 1);
    {
        let store = make();
        let partition = store.open(0, 1).unwrap();
        partition.commit(&[submitted(id, "default", "a"), logs(id, 1, &["one", "two"])]).unwrap();
        partition.commit(&[]).unwrap();
    }
    let store = make();
    let partition = store.open(0, 2).unwrap();
    let task = partition.get(id).unwrap().unwrap();
    assert_eq!((task.id, task.moving.state()), (id, TaskState::Pending));
    assert_eq!(task.fixed.head().unwrap().queue, "a");
    assert_eq!(task.fixed.not_before(), 7);
    assert_eq!(&task.fixed.traceparent()[..], TRACEPARENT.as_bytes());
    assert_eq!(partition.log_end(id).unwrap(), LogEnd { seq: 2, bytes: 6, truncated: false });
}

pub fn an_older_opening_is_fenced(mut make: impl Make) {
    let store = make();
    let first = store.open(0, 5).unwrap();
    first.commit(&[submitted(id(1, 1), "n", "q")]).unwrap();
    let second = store.open(0, 6).unwrap();
    assert!(matches!(first.commit(&[submitted(id(1, 2), "n", "q")]), Err(Error::Fenced { epoch: 5, newest: 6 })));
    assert!(second.get(id(1, 2)).unwrap().is_none(), "the refused batch changed something");
    second.commit(&[submitted(id(1, 3), "n", "q")]).unwrap();
    let third = store.open(0, 6).unwrap();
    assert!(matches!(second.commit(&[finished(id(1, 1), TaskState::Failed, 9)]), Err(Error::Fenced { .. })));
    assert_eq!(third.get(id(1, 1)).unwrap().unwrap().moving.state(), TaskState::Pending);
    assert!(matches!(second.advance(9), Err(Error::Fenced { .. })));
}

pub fn an_older_epoch_cannot_open(mut make: impl Make) {
    {
        make().open(0, 8).unwrap();
    }
    let store = make();
    assert!(matches!(store.open(0, 7), Err(Error::Fenced { epoch: 7, newest: 8 })));
    store.open(0, 8).unwrap();
    store.open(1, 1).unwrap();
}

pub fn a_handle_moves_to_a_newer_epoch(mut make: impl Make) {
    {
        let store = make();
        let partition = store.open(0, 3).unwrap();
        assert!(matches!(partition.advance(2), Err(Error::Fenced { .. })));
        partition.advance(9).unwrap();
        partition.commit(&[submitted(id(1, 1), "n", "q")]).unwrap();
    }
    let store = make();
    assert!(matches!(store.open(0, 8), Err(Error::Fenced { epoch: 8, newest: 9 })));
    assert!(store.open(0, 9).unwrap().get(id(1, 1)).unwrap().is_some());
}

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
    let (fixed, whole) = Fixed::encode(spec.clone(), spec.encoded_len(), 0, "");
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

pub fn lists_filter_by_state_queue_and_namespace(mut make: impl Make) {
    let partition = make().open(0, 1).unwrap();
    let (a, b, c, d) = (id(1, 1), id(2, 1), id(3, 1), id(4, 1));
    let batch = [submitted(a, "n1", "x"), submitted(b, "n1", "y"), submitted(c, "n2", "x"), submitted(d, "n2", "y")];
    partition.commit(&batch).unwrap();
    partition
        .commit(&[
            Write::Finished { id: b, fixed: fixed("n1", "y"), moving: moving(TaskState::Failed) },
            Write::Finished { id: d, fixed: fixed("n2", "y"), moving: moving(TaskState::Succeeded) },
        ])
        .unwrap();
    let check = |states: States, namespace: Option<&str>, queue: Option<&str>, expected: &[TaskId]| {
        let query =
            ListQuery { states, namespace: namespace.map(str::to_owned), queue: queue.map(str::to_owned), ..query() };
        assert_eq!(ids(&*partition, &query), expected, "{query:?}");
    };
    check(States::ALL, None, None, &[d, c, b, a]);
    check(States::ALL, Some("n1"), None, &[b, a]);
    check(States::ALL, None, Some("x"), &[c, a]);
    check(States::ALL, Some("n2"), Some("y"), &[d]);
    check(States::NONE.with(TaskState::Failed), None, None, &[b]);
    check(States::NONE.with(TaskState::Failed).with(TaskState::Pending), None, None, &[c, b, a]);
    check(States::NONE.with(TaskState::Pending), Some("n1"), None, &[a]);
    check(States::NONE, None, None, &[]);
}

pub fn a_cursor_goes_on_where_the_page_ended(mut make: impl Make) {
    let partition = make().open(0, 1).unwrap();
    let all: Vec<_> = (0..10).map(|n| id(n, 1)).collect();
    partition.commit(&all.iter().map(|id| submitted(*id, "n", "q")).collect::<Vec<_>>()).unwrap();
    let first = partition.list(&ListQuery { limit: 4, ..query() }).unwrap();
    // What changes meanwhile: new ones, and both a listed and an unlisted one end.
    partition.commit(&[submitted(id(99, 1), "n", "q")]).unwrap();
    partition.commit(&[finished(all[9], TaskState::Failed, 1), finished(all[3], TaskState::Failed, 1)]).unwrap();
    let mut seen: Vec<_> = first.tasks.iter().map(|task| task.id).collect();
    let mut next = first.next;
    while next.is_some() {
        let page = partition.list(&ListQuery { before: next, limit: 4, ..query() }).unwrap();
        seen.extend(page.tasks.iter().map(|task| task.id));
        next = page.next;
    }
    assert_eq!(seen, all.into_iter().rev().collect::<Vec<_>>());
}

pub fn a_list_looks_at_a_bounded_number_of_records(mut make: impl Make) {
    let partition = make().open(0, 1).unwrap();
    let all: Vec<_> = (0..25).map(|n| id(n, 1)).collect();
    partition.commit(&all.iter().map(|id| submitted(*id, "n", "other")).collect::<Vec<_>>()).unwrap();
    partition.commit(&[submitted(id(0, 0), "n", "wanted")]).unwrap();
    let mut query = ListQuery { queue: Some("wanted".to_owned()), scan_max: 10, ..query() };
    let mut pages = Vec::new();
    loop {
        let page = partition.list(&query).unwrap();
        pages.push(page.tasks.len());
        query.before = page.next;
        if page.next.is_none() {
            break;
        }
    }
    assert_eq!(pages, [0, 0, 1]);
}

pub fn logs_come_back_in_order_from_any_line(mut make: impl Make) {
    let partition = make().open(0, 1).unwrap();
    let (id, other) = (id(1, 1), id(1, 2));
    partition.commit(&[logs(id, 1, &["a", "b"]), logs(other, 1, &["x"])]).unwrap();
    partition.commit(&[logs(id, 3, &["c"]), logs(id, 4, &["d", "e", "f"])]).unwrap();
    let all = ["a", "b", "c", "d", "e", "f"];
    for after in 0..=7 {
        let lines = partition.logs(id, after, 100).unwrap();
        let texts: Vec<_> = lines.iter().map(|line| line.text.as_str()).collect();
        let skipped = usize::try_from(after).unwrap().min(all.len());
        assert_eq!(texts, &all[skipped..], "after {after}");
        assert!(lines.iter().zip(after + 1..).all(|(line, seq)| line.seq == seq), "numbers after {after}");
    }
    assert_eq!(partition.log_end(id).unwrap().seq, 6);
    assert_eq!(partition.log_end(self::id(3, 3)).unwrap(), LogEnd::default());
}

pub fn a_log_read_is_bounded(mut make: impl Make) {
    let partition = make().open(0, 1).unwrap();
    let id = id(1, 1);
    let long = "x".repeat(16 * 1024);
    for first in 0..20 {
        partition.commit(&[logs(id, first * 10 + 1, &[long.as_str(); 10])]).unwrap();
    }
    assert_eq!(partition.logs(id, 5, 3).unwrap().iter().map(|line| line.seq).collect::<Vec<_>>(), [6, 7, 8]);
    let read = partition.logs(id, 0, usize::MAX).unwrap().len();
    assert!((60..=70).contains(&read), "{read} lines of 16 KiB in one read");
}

pub fn partitions_are_apart(mut make: impl Make) {
    let store = make();
    let (zero, one) = (store.open(0, 1).unwrap(), store.open(1, 1).unwrap());
    zero.commit(&[submitted(id(1, 1), "n", "q")]).unwrap();
    assert!(one.get(id(1, 1)).unwrap().is_none());
    one.commit(&[submitted(id(2, 1), "n", "q")]).unwrap();
    assert_eq!((ids(&*zero, &query()), ids(&*one, &query())), (vec![id(1, 1)], vec![id(2, 1)]));
}

pub fn a_sweep_removes_what_is_old_and_nothing_else(mut make: impl Make) {
    let partition = make().open(0, 1).unwrap();
    let (old, late, waiting, new) = (id(10, 1), id(11, 1), id(12, 1), id(900, 1));
    let batch: Vec<_> = [old, late, waiting, new].map(|id| submitted(id, "n", "q")).into();
    partition.commit(&batch).unwrap();
    partition.commit(&[logs(old, 1, &["gone"]), logs(late, 1, &["kept"])]).unwrap();
    let ends = [(old, 100), (late, 800), (new, 901)].map(|(id, at)| finished(id, TaskState::Succeeded, at));
    partition.commit(&ends).unwrap();
    let swept = partition.sweep(0, 500).unwrap();
    assert_eq!((swept.tasks, swept.more), (1, false));
    assert_eq!(ids(&*partition, &query()), [new, waiting, late]);
    assert!(partition.get(old).unwrap().is_none());
    assert!(partition.logs(old, 0, 10).unwrap().is_empty());
    assert_eq!(partition.logs(late, 0, 10).unwrap().len(), 1);
    assert_eq!(partition.sweep(0, 500).unwrap().tasks, 0);
    assert_eq!(partition.sweep(0, 801).unwrap().tasks, 1, "what finished late goes in its own time");
}

pub fn a_sweep_of_many_is_done_in_parts(mut make: impl Make) {
    let partition = make().open(0, 1).unwrap();
    let all: Vec<_> = (0..3_500).map(|n| id(n / 10, u32::try_from(n).unwrap())).collect();
    for part in all.chunks(500) {
        let batch: Vec<_> = part
            .iter()
            .flat_map(|id| [submitted(*id, "n", "q"), logs(*id, 1, &["l"]), finished(*id, TaskState::Failed, 400)])
            .collect();
        partition.commit(&batch).unwrap();
    }
    let (mut rounds, mut tasks) = (0, 0);
    loop {
        let swept = partition.sweep(0, 1_000).unwrap();
        (rounds, tasks) = (rounds + 1, tasks + swept.tasks);
        if !swept.more {
            break;
        }
    }
    assert!(rounds > 1, "all {tasks} at once");
    assert_eq!(tasks, all.len());
    assert_eq!(ids(&*partition, &query()), []);
}

const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn id(unix_ms: u64, random: u32) -> TaskId {
    TaskId::new(unix_ms, 0, 0, u64::from(random) << 20)
}

fn fixed(namespace: &str, queue: &str) -> Fixed {
    let work = Work::Handler(HandlerWork { handler: "noop".to_owned(), input: None });
    let spec =
        TaskSpec { namespace: namespace.to_owned(), queue: queue.to_owned(), work: Some(work), ..TaskSpec::default() };
    let len = spec.encoded_len();
    Fixed::encode(spec, len, 7, TRACEPARENT).0
}

fn moving(state: TaskState) -> Moving {
    Moving { state: state.into(), ..Moving::default() }
}

fn submitted(id: TaskId, namespace: &str, queue: &str) -> Write {
    let fixed = fixed(namespace, queue);
    Write::Submitted { id, fixed, whole: None, moving: moving(TaskState::Pending), key: None }
}

fn finished(id: TaskId, state: TaskState, finish_ms: u64) -> Write {
    Write::Finished { id, fixed: fixed("n", "q"), moving: Moving { finish_ms, ..moving(state) } }
}

fn logs(id: TaskId, first: u64, texts: &[&str]) -> Write {
    let line = |(seq, text): (u64, &&str)| LogLine { seq, text: (*text).to_owned(), ..LogLine::default() };
    let lines: Vec<_> = (first..).zip(texts).map(line).collect();
    let bytes_total = lines.iter().map(|line| line.text.len() as u64).sum();
    Write::Logs { id, chunk: LogChunk { lines, bytes_total, truncated: false } }
}

fn query() -> ListQuery {
    ListQuery { states: States::ALL, namespace: None, queue: None, before: None, limit: 1_000, scan_max: 100_000 }
}

fn ids(partition: &dyn PartitionStore, query: &ListQuery) -> Vec<TaskId> {
    partition.list(query).unwrap().tasks.iter().map(|task| task.id).collect()
}

fn load(partition: &dyn PartitionStore, now: u64) -> (Vec<Stored>, Vec<KeyRecord>) {
    let (mut tasks, mut keys) = (Vec::new(), Vec::new());
    let visit = &mut |loaded| match loaded {
        Loaded::Unfinished(task) => tasks.push(*task),
        Loaded::Key(key) => keys.push(key),
    };
    partition.load(now, visit).unwrap();
    (tasks, keys)
}

fn unfinished(partition: &dyn PartitionStore) -> Vec<TaskId> {
    load(partition, 0).0.iter().map(|task| task.id).collect()
}

fn keys(partition: &dyn PartitionStore, now: u64) -> Vec<KeyRecord> {
    load(partition, now).1
}
