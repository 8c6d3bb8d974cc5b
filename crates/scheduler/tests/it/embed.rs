//! The scheduler inside of another program.

use mcp_proto::scheduler::v1::{GetTaskRequest, ListTasksRequest, SubmitTaskRequest, TaskState};
use scheduler::{
    Embedded,
    config::{Settings, StoreKind},
};

use crate::support::{Client, LIMIT, handler};

async fn client(scheduler: &Embedded) -> Client {
    Client::connect(scheduler.url()).await.unwrap()
}

#[tokio::test]
async fn what_it_took_is_there_after_a_stop_and_after_a_drop() {
    let folder = tempfile::tempdir().unwrap();
    let mut ids = Vec::new();
    for round in 0..3 {
        // One that was dropped may still be at its end.
        let start = || async { Embedded::builder(folder.path()).start().await.map_err(|error| format!("{error:#}")) };
        let scheduler = testkit::eventually(LIMIT, start).await;
        let mut client = client(&scheduler).await;
        for id in &ids {
            let request = GetTaskRequest { task_id: String::clone(id) };
            let task = client.get_task(request).await.unwrap().into_inner().task.unwrap();
            assert_eq!(task.state(), TaskState::Pending, "{task:?}");
        }
        let request = SubmitTaskRequest { task: Some(handler("nobody-has-it")) };
        ids.push(client.submit_task(request).await.unwrap().into_inner().task_id);
        if round == 0 {
            scheduler.stop().await.unwrap();
        } else {
            drop(scheduler);
        }
    }
}

#[tokio::test]
async fn it_takes_calls_at_once_and_listens_where_it_is_told_to() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let folder = tempfile::tempdir().unwrap();
    let scheduler = Embedded::builder(folder.path().join("made/by/it")).listen(address).start().await.unwrap();
    assert_eq!(scheduler.url(), format!("http://{address}"));
    client(&scheduler).await.list_tasks(ListTasksRequest::default()).await.unwrap();
    scheduler.stop().await.unwrap();
}

#[tokio::test]
async fn a_wrong_start_says_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let with = |settings: Settings| Embedded::builder(folder.path()).settings(settings).start();
    let error = with(Settings { tasks_max: 0, ..Settings::default() }).await.unwrap_err();
    assert!(error.to_string().contains("scheduler.tasks_max"), "{error:#}");
    let error = with(Settings { store: StoreKind::Postgres, ..Settings::default() }).await.unwrap_err();
    assert!(error.to_string().contains("folder"), "{error:#}");
    let first = with(Settings::default()).await.unwrap();
    let error = with(Settings::default()).await.unwrap_err();
    assert!(format!("{error:#}").contains("folder"), "{error:#}");
    first.stop().await.unwrap();
}
