//! Clauses of lists.

use mcp_proto::{TaskId, scheduler::v1::TaskState};

use super::{
    Make,
    samples::{finished, fixed, id, ids, moving, query, submitted},
};
use crate::store::{ListQuery, States, Write};

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
    // An index may lead to the queue at once; what a name contains has to be looked for.
    for query in [
        ListQuery { queue: Some("wanted".to_owned()), scan_max: 10, ..query() },
        ListQuery { name_contains: "anted".to_owned(), scan_max: 10, ..query() },
    ] {
        let (mut query, mut found) = (query, Vec::new());
        loop {
            let page = partition.list(&query).unwrap();
            assert!(page.scanned <= 10, "{} looked at for one page", page.scanned);
            found.extend(page.tasks.iter().map(|task| task.id));
            query.before = page.next;
            if page.next.is_none() {
                break;
            }
        }
        assert_eq!(found, [id(0, 0)], "{query:?}");
    }
}

pub fn lists_filter_by_label_and_name(mut make: impl Make) {
    let partition = make().open(0, 1).unwrap();
    let (a, b, c) = (id(1, 1), id(2, 1), id(3, 1));
    partition.commit(&[submitted(a, "n", "x"), submitted(b, "n", "y"), submitted(c, "m", "x")]).unwrap();
    partition.commit(&[Write::Finished { id: a, fixed: fixed("n", "x"), moving: moving(TaskState::Failed) }]).unwrap();
    let check = |labels: &[(&str, &str)], name_contains: &str, more: ListQuery, expected: &[TaskId]| {
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let query = ListQuery { labels, name_contains: name_contains.to_owned(), ..more };
        assert_eq!(ids(&*partition, &query), expected, "{query:?}");
    };
    check(&[("kind", "test")], "", query(), &[c, b, a]);
    check(&[("of", "x")], "", query(), &[c, a]);
    check(&[("kind", "test"), ("of", "x")], "", query(), &[c, a]);
    check(&[("of", "x"), ("of", "y")], "", query(), &[]);
    check(&[("of", "tes")], "", query(), &[]);
    check(&[("x", "of")], "", query(), &[]);
    check(&[("of", "x")], "", ListQuery { namespace: Some("n".to_owned()), ..query() }, &[a]);
    check(&[("of", "x")], "", ListQuery { states: States::NONE.with(TaskState::Pending), ..query() }, &[c]);
    check(&[("of", "x")], "", ListQuery { before: Some(c), ..query() }, &[a]);
    check(&[], "task of y", query(), &[b]);
    check(&[], "of", query(), &[c, b, a]);
    check(&[("kind", "test")], "x", query(), &[c, a]);
    check(&[], "%", query(), &[]);
}
