//! Clauses of retention.

use mcp_proto::scheduler::v1::TaskState;

use super::{
    Make,
    samples::{finished, id, ids, logs, put_until, query, submitted},
};
use crate::store::{Error, ListQuery, Table};

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
    let labelled = ListQuery { labels: vec![("kind".to_owned(), "test".to_owned())], ..query() };
    assert_eq!(ids(&*partition, &labelled), [new, waiting, late]);
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

pub fn a_fenced_handle_sweeps_nothing(mut make: impl Make) {
    let store = make();
    let old = store.open(0, 1).unwrap();
    old.commit(&[submitted(id(1, 1), "n", "q"), put_until(Table::Fire, b"k", b"v", 1)]).unwrap();
    old.commit(&[finished(id(1, 1), TaskState::Failed, 2)]).unwrap();
    let new = store.open(0, 2).unwrap();
    assert!(matches!(old.sweep(10, 10), Err(Error::Fenced { .. })));
    assert_eq!(ids(&*new, &query()), [id(1, 1)]);
    let swept = new.sweep(10, 10).unwrap();
    assert_eq!((swept.tasks, swept.entries), (1, 1));
}
