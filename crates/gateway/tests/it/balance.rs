//! Instances that come, go, and cannot be reached.

use std::time::Duration;

use mcp_proto::{
    Code, Error, TaskId,
    partition::{KEY_METADATA, OWNED_LABEL, of_home},
    scheduler::v1::{GetTaskRequest, WatchTasksRequest, task_service_client::TaskServiceClient},
};
use testkit::eventually;
use tokio::net::TcpSocket;
use tonic::transport::Channel;

use crate::{
    backend::{Backend, record},
    faulty::{Faulty, Manner},
    support::{Cluster, LIMIT, deregister, register},
};

/// The name of the instance that answers, or the code of the error.
async fn ask(client: &mut TaskServiceClient<Channel>) -> Result<String, Code> {
    let request = GetTaskRequest { task_id: "7".into() };
    match client.get_task(request).await {
        Ok(response) => Ok(response.into_inner().task.unwrap().worker_id),
        Err(status) => Err(Error::from(&status).code()),
    }
}

/// An address on which nobody listens, and nobody can as long as the socket is kept.
fn dead_address() -> (TcpSocket, String) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = socket.local_addr().unwrap().to_string();
    (socket, address)
}

#[tokio::test]
async fn calls_in_flight_are_spread_evenly() {
    let (one, two) = (Backend::start("one").await, Backend::start("two").await);
    let cluster = Cluster::with(&[&one, &two]).await;
    let client = TaskServiceClient::new(cluster.channel().await);
    let calls: Vec<_> = (0..100)
        .map(|_| {
            let mut client = client.clone();
            tokio::spawn(async move { client.get_task(GetTaskRequest { task_id: "held".into() }).await })
        })
        .collect();
    eventually(LIMIT, || async {
        let running = (one.state.running(), two.state.running());
        if running.0 + running.1 == 100 { Ok(()) } else { Err(format!("{running:?}")) }
    })
    .await;
    assert!((40..=60).contains(&one.state.running()), "{}", one.state.running());
    one.state.release.add_permits(100);
    two.state.release.add_permits(100);
    for call in calls {
        call.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_call_about_a_partition_goes_to_its_owner() {
    let (one, two) = (Backend::start("one").await, Backend::start("two").await);
    let owning = |backend: &Backend, partitions: &str| {
        let mut record = backend.record.clone();
        record.labels.insert(OWNED_LABEL.to_owned(), partitions.to_owned());
        record
    };
    let cluster = Cluster::with(&[]).await;
    let home = TaskId::home_of("shop", "mail");
    let (owned, others) = if of_home(home, 2) == 0 { ("2:0", "2:1") } else { ("2:1", "2:0") };
    let client = TaskServiceClient::new(cluster.channel().await);
    let by_key = async |key: &str| {
        let mut request = tonic::Request::new(GetTaskRequest { task_id: "7".into() });
        request.metadata_mut().insert(KEY_METADATA, key.parse().unwrap());
        client.clone().get_task(request).await.map(|answer| answer.into_inner().task.unwrap().worker_id)
    };
    // The second time the partition has moved.
    for (first, second, owner) in [(owned, others, "one"), (others, owned, "two")] {
        register(&cluster.coord, &owning(&one, first)).await;
        register(&cluster.coord, &owning(&two, second)).await;
        eventually(LIMIT, || async {
            let found = by_key("shop/mail").await;
            if found.as_ref().is_ok_and(|name| name == owner) { Ok(()) } else { Err(format!("{found:?}")) }
        })
        .await;
        let id = TaskId::new(1, 2, home, 3).to_string();
        for key in ["shop/mail", &id].into_iter().cycle().take(50) {
            assert_eq!(by_key(key).await.unwrap(), owner);
        }
    }
    // The owner is gone: any other will do.
    deregister(&cluster.coord, &owning(&two, owned)).await;
    eventually(LIMIT, || async {
        let found = by_key("shop/mail").await;
        if found.as_ref().is_ok_and(|name| name == "one") { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await;
}

#[tokio::test]
async fn an_instance_that_cannot_be_reached_is_skipped() {
    let alive = Backend::start("alive").await;
    let cluster = Cluster::with(&[&alive]).await;
    let dead = [dead_address(), dead_address(), dead_address()];
    for (index, (_, address)) in dead.iter().enumerate() {
        register(&cluster.coord, &record(&format!("dead-{index}"), address)).await;
    }
    register(&cluster.coord, &record("nonsense", "not an address")).await;
    let mut client = TaskServiceClient::new(cluster.channel().await);
    for _ in 0..100 {
        assert_eq!(ask(&mut client).await, Ok("alive".into()));
    }
}

#[tokio::test]
async fn when_no_instance_can_be_reached_the_error_says_when_to_retry() {
    let cluster = Cluster::with(&[]).await;
    let (_socket, address) = dead_address();
    register(&cluster.coord, &record("dead", &address)).await;
    let mut client = TaskServiceClient::new(cluster.channel().await);
    eventually(LIMIT, || {
        let mut client = client.clone();
        async move {
            let status = client.get_task(GetTaskRequest::default()).await.unwrap_err();
            let error = Error::from(&status);
            if error.message().contains("cannot be reached") { Ok(error) } else { Err(error.to_string()) }
        }
    })
    .await;
    let status = client.get_task(GetTaskRequest::default()).await.unwrap_err();
    let error = Error::from(&status);
    assert_eq!(error.code(), Code::NoInstance);
    assert!(error.retry_after().is_some_and(|wait| wait <= Duration::from_secs(1)), "{error:?}");
}

#[tokio::test]
async fn instances_come_and_go_while_calls_run() {
    let (one, two) = (Backend::start("one").await, Backend::start("two").await);
    let cluster = Cluster::with(&[&one]).await;
    let mut client = TaskServiceClient::new(cluster.channel().await);
    assert_eq!(ask(&mut client).await, Ok("one".into()));

    register(&cluster.coord, &two.record).await;
    answers_with(&client, Ok("two")).await;

    // A call that runs on an instance goes on when the instance goes; new ones go elsewhere.
    let mut watch = client.watch_tasks(WatchTasksRequest::default()).await.unwrap().into_inner();
    assert!(watch.message().await.unwrap().is_some());
    let (watched, other) = if one.state.running() == 1 { (&one, &two) } else { (&two, &one) };
    deregister(&cluster.coord, &watched.record).await;
    eventually(LIMIT, || {
        let (before, mut client) = (watched.state.reached(), client.clone());
        async move {
            for _ in 0..50 {
                ask(&mut client).await.unwrap();
            }
            let more = watched.state.reached() - before;
            if more == 0 { Ok(()) } else { Err(format!("{more} calls still went to it")) }
        }
    })
    .await;
    watched.state.events.send(Default::default()).unwrap();
    assert!(watch.message().await.unwrap().is_some());

    deregister(&cluster.coord, &other.record).await;
    answers_with(&client, Err(Code::NoInstance)).await;
    register(&cluster.coord, &one.record).await;
    answers_with(&client, Ok("one")).await;
}

async fn answers_with(client: &TaskServiceClient<Channel>, expected: Result<&str, Code>) {
    let expected = expected.map(str::to_owned);
    eventually(LIMIT, || {
        let (mut client, expected) = (client.clone(), expected.clone());
        async move {
            let found = ask(&mut client).await;
            if found == expected { Ok(()) } else { Err(format!("{found:?}")) }
        }
    })
    .await;
}

#[tokio::test]
async fn a_restarted_instance_is_found_again_at_its_new_address() {
    let first = Backend::start("same").await;
    let cluster = Cluster::with(&[&first]).await;
    let mut client = TaskServiceClient::new(cluster.channel().await);
    assert_eq!(ask(&mut client).await, Ok("same".into()));
    drop(first);
    let second = Backend::start("same").await;
    register(&cluster.coord, &second.record).await;
    eventually(LIMIT, || {
        let mut client = client.clone();
        async move { ask(&mut client).await.map_err(|code| format!("{code:?}")) }
    })
    .await;
    for _ in 0..20 {
        assert_eq!(ask(&mut client).await, Ok("same".into()));
    }
    assert!(second.state.reached() >= 20);
}

#[tokio::test]
async fn an_instance_that_breaks_off_has_failed_and_the_outcome_is_not_known() {
    let breaks = Faulty::start("breaks", Manner::Die).await;
    let cluster = Cluster::with(&[]).await;
    register(&cluster.coord, &breaks.record).await;
    let client = TaskServiceClient::new(cluster.channel().await);
    answers_with(&client, Err(Code::UpstreamFailed)).await;
    let answer = cluster.get("/v1/tasks/7").await;
    assert_eq!(answer.error(), "502 UPSTREAM_FAILED");
}
