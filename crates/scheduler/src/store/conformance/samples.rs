//! What the clauses write and read.

use bytes::Bytes;
use mcp_proto::{
    TaskId,
    scheduler::v1::{HandlerWork, LogLine, TaskSpec, TaskState, task_spec::Work},
};
use prost::Message as _;

use crate::store::{
    Entry, Fixed, KeyRecord, ListQuery, Loaded, LogChunk, Moving, PartitionStore, States, Stored, Table, Write,
};

pub(super) const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

pub(super) fn id(unix_ms: u64, random: u32) -> TaskId {
    TaskId::new(unix_ms, 0, 0, u64::from(random) << 20)
}

pub(super) fn fixed(namespace: &str, queue: &str) -> Fixed {
    let work = Work::Handler(HandlerWork { handler: "noop".to_owned(), input: None });
    let spec = TaskSpec {
        namespace: namespace.to_owned(),
        queue: queue.to_owned(),
        name: format!("task of {queue}"),
        labels: [("of".to_owned(), queue.to_owned()), ("kind".to_owned(), "test".to_owned())].into(),
        work: Some(work),
        ..TaskSpec::default()
    };
    let len = spec.encoded_len();
    Fixed::encode(spec, len, 7, TRACEPARENT, None).0
}

pub(super) fn moving(state: TaskState) -> Moving {
    Moving { state: state.into(), ..Moving::default() }
}

pub(super) fn submitted(id: TaskId, namespace: &str, queue: &str) -> Write {
    let fixed = fixed(namespace, queue);
    Write::Submitted { id, fixed, whole: None, moving: moving(TaskState::Pending), key: None }
}

pub(super) fn finished(id: TaskId, state: TaskState, finish_ms: u64) -> Write {
    Write::Finished { id, fixed: fixed("n", "q"), moving: Moving { finish_ms, ..moving(state) } }
}

pub(super) fn logs(id: TaskId, first: u64, texts: &[&str]) -> Write {
    let line = |(seq, text): (u64, &&str)| LogLine { seq, text: (*text).to_owned(), ..LogLine::default() };
    let lines: Vec<_> = (first..).zip(texts).map(line).collect();
    let bytes_total = lines.iter().map(|line| line.text.len() as u64).sum();
    Write::Logs { id, chunk: LogChunk { lines, bytes_total, truncated: false } }
}

pub(super) fn query() -> ListQuery {
    ListQuery {
        states: States::ALL,
        namespace: None,
        queue: None,
        labels: Vec::new(),
        name_contains: String::new(),
        before: None,
        limit: 1_000,
        scan_max: 100_000,
    }
}

pub(super) fn ids(partition: &dyn PartitionStore, query: &ListQuery) -> Vec<TaskId> {
    partition.list(query).unwrap().tasks.iter().map(|task| task.id).collect()
}

pub(super) fn load(partition: &dyn PartitionStore, now: u64) -> (Vec<Stored>, Vec<KeyRecord>) {
    let (mut tasks, mut keys) = (Vec::new(), Vec::new());
    let visit = &mut |loaded| match loaded {
        Loaded::Unfinished(task) => tasks.push(*task),
        Loaded::Key(key) => keys.push(key),
        Loaded::Entry(_) => {}
    };
    partition.load(now, visit).unwrap();
    (tasks, keys)
}

pub(super) fn unfinished(partition: &dyn PartitionStore) -> Vec<TaskId> {
    load(partition, 0).0.iter().map(|task| task.id).collect()
}

pub(super) fn keys(partition: &dyn PartitionStore, now: u64) -> Vec<KeyRecord> {
    load(partition, now).1
}

/// An entry that stays.
pub(super) fn put(table: Table, key: &[u8], value: &[u8]) -> Write {
    put_until(table, key, value, 0)
}

/// An entry that may go at a time.
pub(super) fn put_until(table: Table, key: &[u8], value: &[u8], expires_ms: u64) -> Write {
    Write::Put(Entry { table, key: Bytes::copy_from_slice(key), value: Bytes::copy_from_slice(value), expires_ms })
}

/// What a load visits, in its order.
pub(super) fn load_order(partition: &dyn PartitionStore) -> Vec<String> {
    let mut order = Vec::new();
    let visit = &mut |loaded| {
        order.push(match loaded {
            Loaded::Entry(entry) => format!("{:?} {}", entry.table, entry.key.escape_ascii()),
            Loaded::Unfinished(task) => format!("task {}", task.id),
            Loaded::Key(key) => format!("key {}", key.key),
        });
    };
    partition.load(0, visit).unwrap();
    order
}
