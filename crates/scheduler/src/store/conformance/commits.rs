//! Clauses of openings, fences and commits.

use mcp_proto::scheduler::v1::TaskState;

use super::{
    Make,
    samples::{TRACEPARENT, finished, id, ids, logs, query, submitted},
};
use crate::store::{Error, LogEnd};

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
    assert!(matches!(
        first.commit(&[submitted(id(1, 2), "n", "q")]),
        Err(Error::Fenced { partition: 0, epoch: 5, newest: 6 })
    ));
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
    assert!(matches!(store.open(0, 7), Err(Error::Fenced { partition: 0, epoch: 7, newest: 8 })));
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
    assert!(matches!(store.open(0, 8), Err(Error::Fenced { partition: 0, epoch: 8, newest: 9 })));
    assert!(store.open(0, 9).unwrap().get(id(1, 1)).unwrap().is_some());
}

pub fn partitions_are_apart(mut make: impl Make) {
    let store = make();
    let (zero, one) = (store.open(0, 1).unwrap(), store.open(1, 1).unwrap());
    zero.commit(&[submitted(id(1, 1), "n", "q")]).unwrap();
    assert!(one.get(id(1, 1)).unwrap().is_none());
    one.commit(&[submitted(id(2, 1), "n", "q")]).unwrap();
    assert_eq!((ids(&*zero, &query()), ids(&*one, &query())), (vec![id(1, 1)], vec![id(2, 1)]));
}

pub fn the_newest_epoch_outlives_a_restart(mut make: impl Make) {
    {
        let store = make();
        assert_eq!(store.newest_epoch(0).unwrap(), 0);
        let partition = store.open(0, 3).unwrap();
        assert_eq!(store.newest_epoch(0).unwrap(), 3);
        partition.advance(12).unwrap();
        assert!(store.open(0, 5).is_err());
    }
    let store = make();
    assert_eq!((store.newest_epoch(0).unwrap(), store.newest_epoch(1).unwrap()), (12, 0));
    store.open(0, 13).unwrap();
    assert_eq!(store.newest_epoch(0).unwrap(), 13);
}
