//! Replicas that vanish without a word, and such that come back and do not know what they missed.

use mcp_proto::{
    Code, Error,
    scheduler::v1::{SubmitTaskRequest, TaskSpec, TaskState, task_service_client::TaskServiceClient},
};
use nix::sys::signal::Signal;
use testkit::proxy::Mode;

use super::{
    fleet::{Fleet, SHORT_LEASE, SOON, reaches, task_in},
    load::{Crew, Load, all_succeed},
};

/// Tasks between two steps of a test.
const SOME: usize = 200;
/// Attempts of a task whose worker was told of it, and whose scheduler died before anybody else knew.
const RUNS_MAX: usize = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_crash_the_others_take_over_what_was_acknowledged_and_what_runs() {
    let mut fleet = Fleet::start(&["a", "b", "c"], SHORT_LEASE).await;
    let crew = Crew::start(&fleet, 3).await;
    let partition = fleet.partition_of("c").await;
    let running = fleet.client("c").submit(task_in(partition, "wait")).await.unwrap().task_id;
    crew.began(&running).await;
    let load = Load::start_with_keys(&[fleet.client("a"), fleet.client("b")]);
    load.goes_on(SOME).await;
    fleet.kill("c");
    fleet.taken_from("c").await;
    load.goes_on(SOME).await;
    let mut acknowledged = load.stop().await;
    crew.let_go(1);
    let task = fleet.client("a").wait(&running, SOON).await.unwrap();
    assert_eq!((task.state(), task.attempt), (TaskState::Succeeded, 1), "its worker went on with it");
    acknowledged.push(running);
    all_succeed(&fleet.client("b"), &crew, &acknowledged, RUNS_MAX).await;

    fleet.serve("c").await;
    fleet.settled(&["a", "b", "c"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_owner_that_goes_on_sends_its_callers_to_the_new_one() {
    let fleet = Fleet::start(&["a", "b"], SHORT_LEASE).await;
    let crew = Crew::start(&fleet, 2).await;
    let partition = fleet.partition_of("b").await;
    let (here, there) = (fleet.client("a"), fleet.client("b"));
    let running = there.submit(task_in(partition, "wait")).await.unwrap().task_id;
    crew.began(&running).await;

    fleet.signal("b", Signal::SIGSTOP);
    // It is under way while nobody owns its partition, and comes to the new owner.
    let task = TaskSpec { idempotency_key: "meanwhile".to_owned(), ..task_in(partition, "count") };
    let meanwhile = here.submit(task).await.unwrap().task_id;
    fleet.taken_from("b").await;
    assert_eq!(here.wait(&meanwhile, SOON).await.unwrap().state(), TaskState::Succeeded);

    fleet.signal("b", Signal::SIGCONT);
    let late = there.submit(task_in(partition, "count")).await.unwrap().task_id;
    for client in [&here, &there] {
        assert_eq!(client.wait(&late, SOON).await.unwrap().state(), TaskState::Succeeded);
    }
    crew.let_go(1);
    let task = there.wait(&running, SOON).await.unwrap();
    assert_eq!((task.state(), task.attempt), (TaskState::Succeeded, 1));
    assert_eq!(crew.runs_of(&running).len(), 1);
    fleet.settled(&["a", "b"]).await; // it gets its share back
    all_succeed(&here, &crew, &[meanwhile, late, running], RUNS_MAX).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_that_does_not_know_that_it_was_superseded_cannot_write() {
    let fleet = Fleet::start(&["a", "b"], SHORT_LEASE).await;
    let partition = fleet.partition_of("b").await;
    let (here, there) = (fleet.client("a"), fleet.client("b"));
    let waiting = there.submit(task_in(partition, "count")).await.unwrap().task_id;
    let url = fleet.url("b");
    // It hears nothing of etcd from here on, not even that it lost everything.
    fleet.set_link("b", Mode::STALL).await;
    fleet.taken_from("b").await;
    // The new owner has it open, and so the fence is newer.
    let after = here.submit(task_in(partition, "count")).await.unwrap().task_id;

    let mut direct = TaskServiceClient::connect(url).await.unwrap();
    let request = SubmitTaskRequest { task: Some(task_in(partition, "count")) };
    let refused = direct.submit_task(request).await.unwrap_err();
    assert_eq!(Error::from(&refused).code(), Code::NotOwner, "{refused:?}");
    assert!(fleet.output("b").contains("the loop stopped"), "it was the store's fence:\n{}", fleet.output("b"));

    fleet.set_link("b", Mode::PASS).await;
    let late = there.submit(task_in(partition, "count")).await.unwrap().task_id;
    let crew = Crew::start(&fleet, 2).await;
    fleet.settled(&["a", "b"]).await;
    for id in [&waiting, &after, &late] {
        reaches(&here, id, |task| task.state() == TaskState::Succeeded).await;
    }
    all_succeed(&there, &crew, &[waiting, after, late], RUNS_MAX).await;
}
