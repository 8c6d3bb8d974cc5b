//! Topics: events of the platform, and messages of callers, to the sessions that want them.
//!
//! Every gateway hears of everything by itself and gives it to its own subscribers: of tasks and workflows from the
//! scheduler ([`tasks`]), of services from its watch on them ([`services`]), of messages from coordination ([`service`]).
//! There is no broker of its own, and nothing is kept: an event comes at most once, to who is there. [`hub`] knows who is
//! subscribed, [`topic`] what topics and patterns are, and who may see them.

pub(crate) mod hub;
pub(crate) mod service;
mod services;
pub(crate) mod tasks;
pub(crate) mod topic;

use std::sync::Arc;

use mcp_client::Discovery;
use mcp_coord::Coordinator;

use super::SharedFrames;

/// Gives what coordination tells to the subscribers, for ever.
pub(crate) async fn follow(
    coord: Arc<dyn Coordinator>,
    cluster: String,
    discovery: Discovery,
    publish: impl Fn(hub::Event),
) {
    tokio::join!(service::follow(coord, cluster, &publish), services::follow(discovery, &publish));
}

impl SharedFrames {
    /// Gives an event to who wants it.
    pub(crate) fn publish(&self, event: hub::Event) {
        let dropped = self.hub.publish(event);
        if dropped > 0 {
            self.instruments.events_dropped(dropped);
        }
    }
}
