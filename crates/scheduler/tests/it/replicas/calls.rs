//! Calls reach the owner, whichever replica they come to.

use std::collections::BTreeSet;

use mcp_proto::{
    Code,
    scheduler::v1::{ListTasksRequest, TaskState, WatchTasksRequest},
};

use super::{
    fleet::{Fleet, LONG_LEASE, PARTITIONS, SOON, task_in},
    load::Crew,
};

const IDS: [&str; 3] = ["a", "b", "c"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_to_any_replica_reach_the_owner_of_what_they_are_about() {
    let fleet = Fleet::start(&IDS, LONG_LEASE).await;
    let clients = IDS.map(|id| fleet.client(id));
    let mut watch = clients[2].watch(WatchTasksRequest::default()).await.unwrap();
    watch.message().await.unwrap().expect("the watch is in place");

    // One by one, and all of them in one call: 48 tasks, 3 in each partition.
    let mut ids = BTreeSet::new();
    for partition in 0..PARTITIONS {
        for client in &clients[..2] {
            ids.insert(client.submit(task_in(partition, "count")).await.unwrap().task_id);
        }
    }
    let batch = (0..PARTITIONS).map(|partition| task_in(partition, "count")).collect();
    let answer = clients[2].submit_batch(batch).await.unwrap();
    for (partition, result) in answer.results.iter().enumerate() {
        assert_eq!(result.error, None);
        let task = clients[0].get(&result.task_id).await.unwrap();
        assert_eq!(task.spec.unwrap().queue, super::fleet::queue_of(partition.try_into().unwrap()), "in their order");
        ids.insert(result.task_id.clone());
    }
    assert_eq!(ids.len(), 3 * usize::from(PARTITIONS));
    for client in &clients {
        let listed = client.list(ListTasksRequest { page_size: 500, ..Default::default() }).await.unwrap();
        assert_eq!(listed.tasks.into_iter().map(|task| task.id).collect::<BTreeSet<_>>(), ids);
    }

    let cancelled: Vec<String> = ids.iter().take(9).cloned().collect();
    for (client, id) in clients.iter().cycle().zip(&cancelled) {
        assert_eq!(client.cancel(id, "not needed").await.unwrap().state(), TaskState::Cancelled);
        assert_eq!(client.cancel(id, "again").await.unwrap_err().code(), Code::TaskFinished);
    }
    let _crew = Crew::start(&fleet, 3).await;
    let mut ended = BTreeSet::new();
    for (client, id) in clients.iter().cycle().zip(&ids) {
        let task = client.wait(id, SOON).await.unwrap();
        let expected = if cancelled.contains(id) { TaskState::Cancelled } else { TaskState::Succeeded };
        assert_eq!(task.state(), expected);
    }
    while ended.len() < ids.len() {
        let group = tokio::time::timeout(SOON, watch.message()).await.expect("all ends are told").unwrap().unwrap();
        assert_eq!(group.dropped, 0);
        for event in group.events.into_iter().filter(|event| event.state().is_final()) {
            assert!(ended.insert(event.task_id), "told twice");
        }
    }
    assert_eq!(ended, ids);
    let unknown = mcp_proto::TaskId::new(1, 1, 7, 1).to_string();
    for client in &clients {
        assert_eq!(client.get(&unknown).await.unwrap_err().code(), Code::TaskNotFound);
    }
}
