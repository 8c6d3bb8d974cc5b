//! What `mcp dev` can be told: where its tasks are kept, and what its worker is like.

use mcp_client::Client;
use mcp_proto::scheduler::v1::{LabelOperator, LabelRule, Placement, TaskSpec, TaskState, Toleration};
use testkit::postgres::Postgres;

use crate::support::{Dev, call, ends, program};

#[tokio::test]
async fn tasks_in_postgresql_outlive_the_process_and_its_folder() {
    let server = tokio::task::spawn_blocking(Postgres::start).await.unwrap();
    let (url, server) = tokio::task::spawn_blocking(move || (server.database(), server)).await.unwrap();
    let mut dev = Dev::start(&["--postgres", &url]).await;
    assert!(!dev.process.output().contains(&url), "a URL may hold a password");
    let client = dev.client();
    let done = client.submit(program(&["true"])).await.unwrap().task_id;
    ends(&client, &done, TaskState::Succeeded).await;
    let waits = client.submit(call("nobody")).await.unwrap().task_id;
    dev.process.kill();
    drop(dev);

    let dev = Dev::start(&["--postgres", &url]).await;
    let client: Client = dev.client();
    assert_eq!(client.get(&done).await.unwrap().state(), TaskState::Succeeded);
    assert_eq!(client.get(&waits).await.unwrap().state(), TaskState::Pending);
    client.cancel(&waits, "enough").await.unwrap();
    ends(&client, &waits, TaskState::Cancelled).await;
    drop(dev);
    tokio::task::spawn_blocking(move || drop(server)).await.unwrap();
}

#[tokio::test]
async fn a_worker_with_marks_takes_only_what_fits_it() {
    let marks = ["--worker-label", "zone=eu-1", "--worker-taint", "gpu=true"];
    let dev = Dev::start(&[&marks[..], &["--worker-cpu", "2", "--worker-memory", "1GiB"]].concat()).await;
    let client = dev.client();
    let rule = |zone: &str| LabelRule {
        key: "zone".to_owned(),
        operator: LabelOperator::In.into(),
        values: vec![zone.to_owned()],
    };
    let fits = Placement {
        rules: vec![rule("eu-1")],
        tolerations: vec![Toleration { key: "gpu".to_owned(), value: None }],
        cpu_millis: 2_000,
        memory_bytes: 1 << 30,
        ..Placement::default()
    };
    let with = |placement: Placement| TaskSpec { placement: Some(placement), ..program(&["true"]) };
    let mut unfit = Vec::new();
    for placement in [
        Placement { rules: vec![rule("us-1")], ..fits.clone() },
        Placement { tolerations: Vec::new(), ..fits.clone() },
        Placement { cpu_millis: 2_001, ..fits.clone() },
        Placement { memory_bytes: (1 << 30) + 1, ..fits.clone() },
    ] {
        unfit.push(client.submit(with(placement)).await.unwrap().task_id);
    }
    unfit.push(client.submit(program(&["true"])).await.unwrap().task_id);
    let id = client.submit(with(fits)).await.unwrap().task_id;
    ends(&client, &id, TaskState::Succeeded).await;
    for id in unfit {
        assert_eq!(client.get(&id).await.unwrap().state(), TaskState::Pending, "it does not fit");
    }
}
