//! Partitions that are handed over in order: nothing is lost, nothing runs twice, no call fails.

use super::{
    fleet::{Fleet, LONG_LEASE},
    load::{Crew, Load, all_succeed},
};

/// Tasks between two steps of a test.
const SOME: usize = 300;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_replica_takes_its_share_and_no_task_is_lost_or_doubled() {
    let mut fleet = Fleet::start(&["a", "b"], LONG_LEASE).await;
    let crew = Crew::start(&fleet, 2).await;
    let load = Load::start(&[fleet.client("a"), fleet.client("b")]);
    load.goes_on(SOME).await;
    fleet.serve("c").await;
    fleet.settled(&["a", "b", "c"]).await;
    crew.has_sessions(3).await;
    load.goes_on(SOME).await;
    let acknowledged = load.stop().await;
    all_succeed(&fleet.client("c"), &crew, &acknowledged, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_stops_hands_over_and_no_task_is_lost_or_doubled() {
    let mut fleet = Fleet::start(&["a", "b", "c"], LONG_LEASE).await;
    let crew = Crew::start(&fleet, 3).await;
    let load = Load::start(&[fleet.client("a"), fleet.client("b")]);
    load.goes_on(SOME).await;
    fleet.stop("c").await; // it waits for no lease
    fleet.settled(&["a", "b"]).await;
    load.goes_on(SOME).await;
    let acknowledged = load.stop().await;
    all_succeed(&fleet.client("b"), &crew, &acknowledged, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attempt_goes_on_while_its_partition_moves_there_and_back() {
    let mut fleet = Fleet::start(&["a", "b"], LONG_LEASE).await;
    let crew = Crew::start(&fleet, 2).await;
    let partition = fleet.partition_of("b").await;
    let id = fleet.client("a").submit(super::fleet::task_in(partition, "wait")).await.unwrap().task_id;
    crew.began(&id).await;
    fleet.stop("b").await;
    fleet.settled(&["a"]).await;
    fleet.serve("b").await;
    fleet.settled(&["a", "b"]).await;
    crew.has_sessions(2).await;
    crew.let_go(1);
    let task = fleet.client("b").wait(&id, super::fleet::SOON).await.unwrap();
    assert_eq!((task.state(), task.attempt), (mcp_proto::scheduler::v1::TaskState::Succeeded, 1));
    assert_eq!(crew.runs_of(&id).len(), 1);
}
