//! Queues page by page, and who serves them.

use std::sync::Arc;

use super::*;
use crate::engine::Serving;

fn in_queue(id: u128, name: &str) -> Submission {
    Submission { queue: queue(name), ..task(id) }
}

#[test]
fn pages_give_every_queue_with_tasks_or_rules_once_by_name() {
    let mut rig = Rig::new();
    for (id, name) in ["d", "b", "e"].into_iter().enumerate() {
        rig.submit(in_queue(id as u128 + 1, name));
    }
    rig.set(QueueRules { concurrency_max: Some(1), ..QueueRules::default() }); // of `q`
    rig.submit(Submission { idempotency: key("k", 1), ..in_queue(9, "only-a-key") });
    rig.apply(Command::Cancel(TaskId(9))).unwrap();
    for looks in [0, 1, 2, 3, 5, 100] {
        let (mut names, mut after, mut pages) = (Vec::new(), None, 0);
        loop {
            let page = rig.engine.queues_after(after.as_ref(), looks);
            assert!(page.queues.len() <= looks.max(1));
            names.extend(page.queues.iter().map(|(queue, _)| queue.queue.to_string()));
            (after, pages) = (page.next, pages + 1);
            if after.is_none() {
                break;
            }
        }
        assert_eq!(names, ["b", "d", "e", "q"], "{looks} at a time, in {pages} pages");
    }
    let page = rig.engine.queues_after(None, 100);
    assert_eq!(page.queues[0].1, rig.engine.queue_stats(&queue("b")).unwrap());
}

#[test]
fn who_serves_a_queue_is_counted_with_all_slots() {
    let mut rig = Rig::new();
    let spec = |namespaces: &[&str], queues: &[&str]| WorkerSpec {
        namespaces: namespaces.iter().map(|name| Arc::from(*name)).collect(),
        queues: queues.iter().map(|name| Arc::from(*name)).collect(),
        ..processes()
    };
    let namespace = queue("q").namespace.to_string();
    rig.join_as(1, spec(&[], &[]), 3, &[]);
    rig.join_as(2, spec(&[], &["q", "r"]), 2, &[]);
    rig.join_as(3, spec(&[], &["r"]), 9, &[]);
    rig.join_as(4, spec(&["elsewhere"], &[]), 9, &[]);
    rig.join_as(5, spec(&[&namespace], &["q"]), 0, &[]);
    assert_eq!(rig.engine.serving(&queue("q")), Serving { workers: 3, slots: 5 });
    rig.submit(task(1)); // a slot in use is a slot
    assert_eq!(rig.engine.serving(&queue("q")), Serving { workers: 3, slots: 5 });
    rig.lose(2);
    assert_eq!(rig.engine.serving(&queue("q")).workers, 2, "without a session it serves nothing");
    assert_eq!(rig.engine.serving(&queue("never")), Serving { workers: 1, slots: 3 });
}
