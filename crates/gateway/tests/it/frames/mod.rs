//! The wire frame over real sockets: a client that is no more than the codec, a gateway, and services behind it.

mod calls;
mod client;
mod errors;
mod profiles;
mod resume;
mod rights;
mod sessions;
mod tls;
mod topics;
mod websocket;

pub(crate) use self::client::Client;

use gateway::Config;
use serde_json::json;

use crate::{backend::Backend, support::Cluster};

/// Settings with a port for each profile.
fn config() -> Config {
    let mut config = Config::default();
    let free = Some("127.0.0.1:0".parse().unwrap());
    let frames = &mut config.gateway.frames;
    (frames.standard_addr, frames.compact_addr, frames.basic_addr) = (free, free, free);
    config
}

/// A gateway that speaks every profile in front of one backend.
async fn gateway() -> (Backend, Cluster) {
    let backend = Backend::start("one").await;
    let cluster = Cluster::configured(config(), &[&backend]).await;
    (backend, cluster)
}

/// The body of a request for a task.
fn task(id: &str) -> serde_json::Value {
    json!({"taskId": id})
}
