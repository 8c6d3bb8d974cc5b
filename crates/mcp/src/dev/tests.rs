use std::time::Duration;

use mcp_client::Client;
use mcp_proto::{
    Code, Error as CallError,
    scheduler::v1::{ProcessWork, TaskSpec, TaskState, WatchTasksRequest, task_spec::Work},
};
use tokio::{net::TcpListener, time::timeout};

use super::{Data, Error, Options, start};

/// Far more than anything here takes.
const LIMIT: Duration = Duration::from_secs(60);

fn task(argv: &[&str]) -> TaskSpec {
    let argv = argv.iter().map(|&part| part.to_owned()).collect();
    TaskSpec { work: Some(Work::Process(ProcessWork { argv, ..ProcessWork::default() })), ..TaskSpec::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_and_epochs_outlive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let options = || Options { data: Data::Folder(folder.path().to_owned()), ..Options::ephemeral() };
    let (mut epochs, mut ids) = (Vec::new(), Vec::new());
    for _ in 0..2 {
        let cluster = start(options()).await.unwrap();
        let client = Client::connect(&cluster.gateway_url).unwrap();
        ids.push(client.submit(task(&["true"])).await.unwrap().task_id);
        for id in &ids {
            assert_eq!(client.wait(id, LIMIT).await.unwrap().state(), TaskState::Succeeded);
        }
        let owner = cluster.coord.get(&mcp_coord::keys::partition("local", 0)).await.unwrap().unwrap();
        epochs.push(owner.created);
        cluster.stop().await.unwrap();
    }
    assert!(epochs[0] < epochs[1], "an old owner's epoch must never come again: {epochs:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = taken.local_addr().unwrap().port();
    let folder = tempfile::tempdir().unwrap();
    let data = Data::Folder(folder.path().join("data"));
    let error = start(Options { port, data: data.clone(), ..Options::ephemeral() }).await.unwrap_err();
    assert!(matches!(error, Error::PortInUse { port: named } if named == port), "{error}");
    assert!(!folder.path().join("data").exists(), "a start that fails so early touches nothing");

    let cluster = start(Options { data: data.clone(), ..Options::ephemeral() }).await.unwrap();
    let error = start(Options { data, ..Options::ephemeral() }).await.unwrap_err();
    assert!(matches!(&error, Error::FolderInUse { owner, .. } if *owner == std::process::id().to_string()), "{error}");
    cluster.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_without_an_end_are_told_that_it_is_over() {
    let cluster = start(Options::ephemeral()).await.unwrap();
    let folder = cluster.data_folder.clone();
    let client = Client::connect(&cluster.gateway_url).unwrap();
    let mut watch = client.watch(WatchTasksRequest::default()).await.unwrap();
    watch.message().await.unwrap();
    let (stopped, ended) = tokio::join!(timeout(LIMIT, cluster.stop()), watch.message());
    stopped.unwrap().unwrap();
    assert_eq!(CallError::from(ended.unwrap_err()).code(), Code::ShuttingDown);
    assert!(!folder.exists(), "temporary data is removed");
}
