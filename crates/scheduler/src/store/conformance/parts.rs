//! Clauses of commits to several partitions at once.

use bytes::Bytes;
use mcp_proto::scheduler::v1::TaskState;

use super::{
    Make,
    samples::{finished, id, ids, put, query, submitted, unfinished},
};
use crate::store::{Error, Part, Table, Write};

/// Partitions of an ordinary cluster.
const PARTITIONS: u32 = 16;

pub fn a_commit_of_several_parts_is_there_as_a_whole(mut make: impl Make) {
    {
        let store = make();
        let (zero, one, two) = (store.open(0, 1).unwrap(), store.open(1, 7).unwrap(), store.open(2, 3).unwrap());
        let first = [submitted(id(1, 1), "n", "a"), put(Table::Notice, b"k", b"zero")];
        let second = [submitted(id(1, 2), "n", "b"), put(Table::Notice, b"k", b"one")];
        let parts = [
            Part { partition: &*one, writes: &second },
            Part { partition: &*two, writes: &[] },
            Part { partition: &*zero, writes: &first },
        ];
        store.commit(&parts).unwrap();
    }
    let store = make();
    let (zero, one, two) = (store.open(0, 1).unwrap(), store.open(1, 7).unwrap(), store.open(2, 3).unwrap());
    assert_eq!((unfinished(&*zero), unfinished(&*one)), (vec![id(1, 1)], vec![id(1, 2)]));
    assert_eq!(unfinished(&*two), []);
    assert_eq!(zero.entry(Table::Notice, b"k").unwrap(), Some(Bytes::from("zero")));
    assert_eq!(one.entry(Table::Notice, b"k").unwrap(), Some(Bytes::from("one")));
}

pub fn one_fenced_part_refuses_all(mut make: impl Make) {
    let store = make();
    let (zero, old, two) = (store.open(0, 1).unwrap(), store.open(1, 4).unwrap(), store.open(2, 1).unwrap());
    zero.commit(&[submitted(id(1, 1), "n", "q"), put(Table::Queue, b"k", b"kept")]).unwrap();
    let new = store.open(1, 6).unwrap();
    let writes = [
        finished(id(1, 1), TaskState::Succeeded, 5),
        Write::Delete { table: Table::Queue, key: Bytes::from("k") },
        submitted(id(2, 2), "n", "q"),
    ];
    let parts = [&zero, &old, &two].map(|partition| Part { partition: &**partition, writes: &writes });
    assert!(matches!(store.commit(&parts), Err(Error::Fenced { partition: 1, epoch: 4, newest: 6 })));
    assert_eq!(unfinished(&*zero), [id(1, 1)]);
    assert_eq!(zero.entry(Table::Queue, b"k").unwrap(), Some(Bytes::from("kept")));
    assert_eq!(ids(&*two, &query()), []);
    assert_eq!(ids(&*new, &query()), []);
    // The others go on.
    let parts = [&zero, &new, &two].map(|partition| Part { partition: &**partition, writes: &writes });
    store.commit(&parts).unwrap();
    for partition in [&zero, &new, &two] {
        assert_eq!(unfinished(&**partition), [id(2, 2)]);
    }
}

pub fn an_empty_commit_touches_nothing(mut make: impl Make) {
    let store = make();
    store.commit(&[]).unwrap();
    let old = store.open(0, 1).unwrap();
    store.open(0, 2).unwrap();
    store.commit(&[Part { partition: &*old, writes: &[] }]).unwrap();
    old.commit(&[]).unwrap();
    assert!(matches!(old.commit(&[submitted(id(1, 1), "n", "q")]), Err(Error::Fenced { .. })));
}

pub fn a_large_commit_over_all_partitions_is_there_as_a_whole(mut make: impl Make) {
    let all: Vec<_> = (0..300).map(|n| id(n, 1)).collect();
    {
        let store = make();
        let partitions: Vec<_> = (0..PARTITIONS).map(|number| store.open(number, 1).unwrap()).collect();
        let submits: Vec<_> = all.iter().map(|id| submitted(*id, "n", "q")).collect();
        let ends: Vec<_> = all.iter().skip(1).map(|id| finished(*id, TaskState::Failed, 9)).collect();
        for writes in [submits, ends] {
            let part = |partition| Part { partition, writes: &writes };
            store.commit(&partitions.iter().map(|partition| part(&**partition)).collect::<Vec<_>>()).unwrap();
        }
    }
    let store = make();
    for number in 0..PARTITIONS {
        let partition = store.open(number, 1).unwrap();
        assert_eq!(unfinished(&*partition), all[..1]);
        assert_eq!(ids(&*partition, &query()), all.iter().rev().copied().collect::<Vec<_>>());
    }
}
