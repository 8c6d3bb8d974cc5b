//! Clauses of entries.

use bytes::Bytes;
use mcp_proto::scheduler::v1::TaskState;

use super::{
    Make,
    samples::{finished, id, load_order, put, put_until, submitted},
};
use crate::store::{Error, PartitionStore, Table, Write};

fn keys(partition: &dyn PartitionStore, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Vec<Bytes> {
    let found = partition.scan(Table::Fire, prefix, after, limit).unwrap();
    found.into_iter().map(|(key, _)| key).collect()
}

fn delete(table: Table, key: &'static [u8]) -> Write {
    Write::Delete { table, key: Bytes::from_static(key) }
}

pub fn an_entry_is_put_replaced_and_deleted(mut make: impl Make) {
    let large = vec![5; 200_000];
    {
        let store = make();
        let partition = store.open(3, 1).unwrap();
        partition.commit(&[put(Table::Queue, b"a\0b", b"1"), put(Table::Schedule, b"a\0b", &large)]).unwrap();
        partition.commit(&[put(Table::Queue, b"a\0b", b"2"), put(Table::Step, b"gone", b"")]).unwrap();
        partition.commit(&[delete(Table::Step, b"gone"), delete(Table::Step, b"never there")]).unwrap();
        // The last one of a batch counts.
        let batch = [put(Table::Notice, b"x", b"1"), delete(Table::Notice, b"x"), put(Table::Notice, b"x", b"3")];
        partition.commit(&batch).unwrap();
        partition.commit(&[put(Table::Notice, b"y", b"1"), delete(Table::Notice, b"y")]).unwrap();
    }
    let store = make();
    let partition = store.open(3, 1).unwrap();
    let entry = |table, key: &[u8]| partition.entry(table, key).unwrap();
    assert_eq!(entry(Table::Queue, b"a\0b"), Some(Bytes::from("2")));
    assert_eq!(entry(Table::Schedule, b"a\0b"), Some(Bytes::from(large)));
    assert_eq!(entry(Table::Fire, b"a\0b"), None);
    assert_eq!(entry(Table::Step, b"gone"), None);
    assert_eq!((entry(Table::Notice, b"x"), entry(Table::Notice, b"y")), (Some(Bytes::from("3")), None));
    assert_eq!(store.open(4, 1).unwrap().entry(Table::Queue, b"a\0b").unwrap(), None, "partitions are apart");
}

pub fn an_entry_and_a_task_of_a_batch_are_there_together(mut make: impl Make) {
    let store = make();
    let old = store.open(0, 1).unwrap();
    old.commit(&[submitted(id(1, 1), "n", "q")]).unwrap();
    let new = store.open(0, 2).unwrap();
    let batch = [finished(id(1, 1), TaskState::Failed, 5), put(Table::DeadLetter, b"n\0q\0id", b"dead")];
    assert!(matches!(old.commit(&batch), Err(Error::Fenced { .. })));
    assert_eq!(new.entry(Table::DeadLetter, b"n\0q\0id").unwrap(), None);
    new.commit(&batch).unwrap();
    assert_eq!(new.get(id(1, 1)).unwrap().unwrap().moving.state(), TaskState::Failed);
    assert_eq!(new.entry(Table::DeadLetter, b"n\0q\0id").unwrap(), Some(Bytes::from("dead")));
}

pub fn a_scan_is_in_the_order_of_the_keys(mut make: impl Make) {
    let store = make();
    let partition = store.open(0, 1).unwrap();
    let all: [&[u8]; 7] = [b"a", b"a\0", b"a\0\x01", b"a\0\xff", b"a\0\xff\xff", b"b", b"\xff"];
    let shuffled = [3, 0, 6, 2, 5, 1, 4].map(|at: usize| put(Table::Fire, all[at], all[at]));
    partition.commit(&shuffled).unwrap();
    // Neighbours that are not to be seen.
    partition.commit(&[put(Table::DeadLetter, b"a\0\x02", b""), put(Table::Schedule, b"a\0\x02", b"")]).unwrap();
    store.open(1, 1).unwrap().commit(&[put(Table::Fire, b"a\0\x02", b"")]).unwrap();

    assert_eq!(keys(&*partition, b"", None, 100), all);
    assert_eq!(keys(&*partition, b"a\0", None, 100), all[1..5]);
    assert_eq!(keys(&*partition, b"a\0\xff", None, 100), all[3..5]);
    assert_eq!(keys(&*partition, b"\xff", None, 100), all[6..]);
    assert_eq!(keys(&*partition, b"c", None, 100), Vec::<Bytes>::new());
    assert_eq!(keys(&*partition, b"a\0", Some(b"a\0\x01"), 100), all[3..5]);
    assert_eq!(keys(&*partition, b"a\0", Some(b"a\0\x02"), 100), all[3..5], "after a key that is not there");
    assert_eq!(keys(&*partition, b"a\0", Some(b"a"), 100), all[1..5], "after a key before all of them");
    assert_eq!(keys(&*partition, b"a\0", Some(b"b"), 100), Vec::<Bytes>::new());
    assert_eq!(keys(&*partition, b"a\0", None, 2), all[1..3]);
    assert_eq!(keys(&*partition, b"", None, 0), Vec::<Bytes>::new());
    let found = partition.scan(Table::Fire, b"b", None, 1).unwrap();
    assert_eq!(found, [(Bytes::from("b"), Bytes::from("b"))]);
}

pub fn a_scan_is_bounded(mut make: impl Make) {
    let partition = make().open(0, 1).unwrap();
    let value = vec![1; 100_000];
    for part in 0..10_u8 {
        let batch: Vec<_> = (0..100_u8).map(|n| put(Table::WorkflowDone, &[part, n], &value[..1])).collect();
        partition.commit(&batch).unwrap();
    }
    assert_eq!(partition.scan(Table::WorkflowDone, b"", None, 700).unwrap().len(), 700);
    let batch: Vec<_> = (0..100_u8).map(|n| put(Table::WorkflowDone, &[1, n], &value)).collect();
    partition.commit(&batch).unwrap();
    let (mut seen, mut last) = (0, None::<Bytes>);
    loop {
        let page = partition.scan(Table::WorkflowDone, &[1], last.as_deref(), 1_000).unwrap();
        assert!(page.len() < 60, "{} values of 100 kB at once", page.len());
        let Some((key, _)) = page.last() else { break };
        (seen, last) = (seen + page.len(), Some(key.clone()));
    }
    assert_eq!(seen, 100);
}

pub fn entries_expire_in_their_own_time(mut make: impl Make) {
    let store = make();
    let partition = store.open(0, 1).unwrap();
    let other = store.open(1, 1).unwrap();
    let expiring = |key: &[u8], at| put_until(Table::WorkflowDone, key, b"v", at);
    partition.commit(&[expiring(b"early", 100), expiring(b"late", 200), expiring(b"never", 0)]).unwrap();
    partition.commit(&[expiring(b"longer", 100), expiring(b"kept", 100), expiring(b"shorter", 900)]).unwrap();
    partition.commit(&[expiring(b"longer", 300), expiring(b"kept", 0), expiring(b"shorter", 100)]).unwrap();
    partition.commit(&[expiring(b"deleted", 100)]).unwrap();
    partition.commit(&[delete(Table::WorkflowDone, b"deleted")]).unwrap();
    other.commit(&[expiring(b"early", 100)]).unwrap();
    let left = || {
        let found = partition.scan(Table::WorkflowDone, b"", None, 100).unwrap();
        found.into_iter().map(|(key, _)| String::from_utf8(key.to_vec()).unwrap()).collect::<Vec<_>>()
    };

    assert_eq!(partition.sweep(99, 0).unwrap().entries, 0);
    let swept = partition.sweep(100, 0).unwrap();
    assert_eq!((swept.entries, swept.more), (2, false));
    assert_eq!(left(), ["kept", "late", "longer", "never"]);
    assert_eq!(partition.sweep(299, 0).unwrap().entries, 1);
    assert_eq!(partition.sweep(300, 0).unwrap().entries, 1);
    assert_eq!(partition.sweep(u64::from(u32::MAX), 0).unwrap().entries, 0);
    assert_eq!(left(), ["kept", "never"]);
    assert!(other.entry(Table::WorkflowDone, b"early").unwrap().is_some());
}

pub fn expired_entries_are_swept_in_parts(mut make: impl Make) {
    const ENTRIES: u32 = 6_000;
    let partition = make().open(0, 1).unwrap();
    let numbers: Vec<_> = (0..ENTRIES).map(u32::to_be_bytes).collect();
    for part in numbers.chunks(1_000) {
        let batch: Vec<_> = part.iter().map(|key| put_until(Table::Fire, key, b"v", 7)).collect();
        partition.commit(&batch).unwrap();
    }
    let (mut rounds, mut entries) = (0, 0);
    loop {
        let swept = partition.sweep(7, 0).unwrap();
        (rounds, entries) = (rounds + 1, entries + swept.entries);
        if !swept.more {
            break;
        }
    }
    assert!(rounds > 1, "all {entries} at once");
    assert_eq!(entries, numbers.len());
    assert_eq!(keys(&*partition, b"", None, 10), Vec::<Bytes>::new());
}

pub fn a_load_visits_entries_then_tasks_then_keys(mut make: impl Make) {
    let partition = make().open(0, 1).unwrap();
    let tables = [Table::Notice, Table::Step, Table::Workflow, Table::Schedule, Table::Queue];
    let hidden = [Table::DeadLetter, Table::Fire, Table::WorkflowDone];
    let mut batch: Vec<_> = tables.into_iter().chain(hidden).map(|table| put(table, b"b", b"v")).collect();
    batch.extend([put(Table::Step, b"a", b"v"), put_until(Table::Step, b"c", b"v", 5)]);
    batch.extend([submitted(id(2, 1), "n", "q"), submitted(id(1, 1), "n", "q")]);
    partition.commit(&batch).unwrap();
    let task = |id: mcp_proto::TaskId| format!("task {id}");
    let expected = ["Queue b", "Schedule b", "Workflow b", "Step a", "Step b", "Step c", "Notice b"].map(str::to_owned);
    let expected: Vec<_> = expected.into_iter().chain([task(id(1, 1)), task(id(2, 1))]).collect();
    assert_eq!(load_order(&*partition), expected);
    // More than comes in one piece.
    let many: Vec<_> = (0..9_000_u32).map(|n| put(Table::Notice, &n.to_be_bytes(), b"v")).collect();
    partition.commit(&many).unwrap();
    let tasks: Vec<_> = (0..9_000).map(|n| submitted(id(10 + n / 3, u32::try_from(n).unwrap()), "n", "q")).collect();
    partition.commit(&tasks).unwrap();
    assert_eq!(load_order(&*partition).len(), expected.len() + many.len() + tasks.len());
}
