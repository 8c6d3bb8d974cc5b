//! A client of two gateways of which each dies once, and one of a single gateway that comes back.

use std::time::Duration;

use mcp_client::{
    FrameClient,
    frame::{FrameClientBuilder, FrameRequest, FrameSubscription},
};
use mcp_proto::frame::Command;
use serde_json::{Value, json};
use testkit::{eventually, http};
use tokio::time::timeout;

use crate::support::{Cluster, SOON};

/// How long a message may take before it is published once more.
const HEARD_MAX: Duration = Duration::from_millis(200);

fn builder(frames: &str) -> FrameClientBuilder {
    FrameClient::builder(format!("mcp://{frames}")).reconnect(Duration::from_millis(10), Duration::from_millis(200))
}

/// Publishes by this gateway until the subscriber hears of it. What is published while nobody is connected is missed.
async fn heard(url: &str, events: &mut FrameSubscription, topic: &str) {
    let message = json!({"topic": topic, "body": "AQI="}).to_string();
    let hearing = async {
        loop {
            assert_eq!(http::post(url, "/v1/topics:publish", message.clone()).await.status, 200);
            while let Ok(event) = timeout(HEARD_MAX, events.next()).await {
                if event.expect("the subscription goes on").topic == topic {
                    return;
                }
            }
        }
    };
    timeout(SOON, hearing).await.unwrap_or_else(|_| panic!("nothing is heard of {topic}"));
}

/// Waits until a gateway has so many sessions.
async fn sessions(url: &str, count: usize) {
    let wanted = format!("mcp_gateway_frame_sessions {count}");
    eventually(SOON, || async {
        let metrics = String::from_utf8(http::get(url, "/metrics").await.body.to_vec()).unwrap();
        let found = metrics.lines().find(|line| line.starts_with("mcp_gateway_frame_sessions")).unwrap_or_default();
        // Labels of the process may stand between.
        let is_so = found.split(['{', ' ']).next() == Some("mcp_gateway_frame_sessions")
            && found.ends_with(&format!(" {count}"));
        if is_so { Ok(()) } else { Err(format!("`{found}`, not `{wanted}`")) }
    })
    .await;
}

async fn url(cluster: &Cluster, id: &str) -> String {
    format!("http://{}", cluster.registered("gateway", id).await)
}

#[tokio::test]
async fn a_gateway_that_dies_is_left_for_the_standby_and_found_again() {
    const GATEWAYS: [&str; 2] = ["gateway", "gateway-2"];
    let mut cluster = Cluster::start(&[]).await;
    cluster.serve("gateway", GATEWAYS[1]);
    cluster.registered("gateway", GATEWAYS[1]).await;
    let frames = [cluster.frames(GATEWAYS[0]), cluster.frames(GATEWAYS[1])];
    let client = builder(&frames[0]).or(format!("mcp://{}", frames[1])).standby().build().unwrap();
    let alone = builder(&frames[0]).build().unwrap();
    let mut events = client.subscribe("rooms/#").await.unwrap();
    let mut of_one = alone.subscribe("rooms/#").await.unwrap();

    // Whichever connection is the active one, it dies in one of two rounds.
    for round in 0..2 {
        let (dies, lives) = (GATEWAYS[round], GATEWAYS[1 - round]);
        sessions(&url(&cluster, dies).await, 2 - round).await;
        sessions(&url(&cluster, lives).await, 1 + round).await;
        cluster.process(dies).kill();
        let request = FrameRequest::command(Command::REGISTRY_DISCOVER).json(&json!({"service": "scheduler"})).unwrap();
        let found: Value = client.call(request.repeatable()).await.unwrap().json().unwrap();
        assert_eq!(found["instances"][0]["instanceId"], "scheduler", "{found}");
        let alive = url(&cluster, lives).await;
        heard(&alive, &mut events, &format!("rooms/{round}")).await;

        let port = frames[round].clone();
        cluster.serve_with("gateway", dies, |command| {
            command.env("MCP_GATEWAY__GATEWAY__FRAMES__STANDARD_ADDR", port);
        });
        let back = url(&cluster, dies).await;
        heard(&back, &mut of_one, &format!("rooms/{round}/again")).await;
    }
    assert_eq!((events.dropped(), of_one.dropped()), (0, 0));
}
