//! Connections to the other replicas, one to each.

use std::time::Duration;

use dashmap::DashMap;
use mcp_proto::{
    MESSAGE_BYTES_MAX,
    scheduler::v1::{
        peer_service_client::PeerServiceClient, queue_service_client::QueueServiceClient,
        schedule_service_client::ScheduleServiceClient, task_service_client::TaskServiceClient,
        workflow_service_client::WorkflowServiceClient,
    },
};
use tonic::transport::{Channel, Endpoint};

/// Connections that are kept; when there are more, all are made anew. There are as many as replicas.
const PEERS_MAX: usize = 1_000;
/// How long a connection may take to be made.
const CONNECT_MAX: Duration = Duration::from_secs(2);
/// How often a connection is checked, and how long the answer may take: a replica that vanished without a word is
/// noticed before its lease ends.
const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(2);
const KEEP_ALIVE_MAX: Duration = Duration::from_secs(2);
/// What may be under way on a connection and in one call. h2 closes a connection on which too many small messages wait
/// to be read, so the former is large and the latter small.
const CONNECTION_WINDOW: u32 = 64 * 1024 * 1024;
const STREAM_WINDOW: u32 = 1024 * 1024;
/// Largest message between replicas: a task of the largest size with what surrounds it.
const PEER_BYTES_MAX: usize = 2 * MESSAGE_BYTES_MAX;

/// Another replica. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    address: String,
    channel: Channel,
}

impl Peer {
    /// Where it listens, `host:port`.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// The connection, for a client of any service.
    pub(crate) fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// Its `TaskService`.
    pub(crate) fn tasks(&self) -> TaskServiceClient<Channel> {
        TaskServiceClient::new(self.channel())
            .max_decoding_message_size(PEER_BYTES_MAX)
            .max_encoding_message_size(PEER_BYTES_MAX)
    }
}

impl Peer {
    /// Its `QueueService`.
    pub(crate) fn queues(&self) -> QueueServiceClient<Channel> {
        QueueServiceClient::new(self.channel())
            .max_decoding_message_size(PEER_BYTES_MAX)
            .max_encoding_message_size(PEER_BYTES_MAX)
    }

    /// Its `PeerService`.
    pub(crate) fn peers(&self) -> PeerServiceClient<Channel> {
        PeerServiceClient::new(self.channel())
            .max_decoding_message_size(PEER_BYTES_MAX)
            .max_encoding_message_size(PEER_BYTES_MAX)
    }

    /// Its `ScheduleService`.
    pub(crate) fn schedules(&self) -> ScheduleServiceClient<Channel> {
        ScheduleServiceClient::new(self.channel())
            .max_decoding_message_size(PEER_BYTES_MAX)
            .max_encoding_message_size(PEER_BYTES_MAX)
    }

    /// Its `WorkflowService`.
    pub(crate) fn workflows(&self) -> WorkflowServiceClient<Channel> {
        WorkflowServiceClient::new(self.channel())
            .max_decoding_message_size(PEER_BYTES_MAX)
            .max_encoding_message_size(PEER_BYTES_MAX)
    }
}

/// The connections by address.
#[derive(Debug, Default)]
pub(super) struct Peers {
    channels: DashMap<String, Channel>,
}

impl Peers {
    /// The replica at an address; `None` when that is none. Nothing is connected before the first call.
    pub(super) fn get(&self, address: &str) -> Option<Peer> {
        if let Some(channel) = self.channels.get(address) {
            return Some(Peer { address: address.to_owned(), channel: channel.clone() });
        }
        if address.is_empty() {
            return None;
        }
        let endpoint = Endpoint::from_shared(format!("http://{address}")).ok()?;
        let channel = endpoint
            .connect_timeout(CONNECT_MAX)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEP_ALIVE_EVERY)
            .keep_alive_timeout(KEEP_ALIVE_MAX)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .initial_stream_window_size(STREAM_WINDOW)
            .connect_lazy();
        if self.channels.len() >= PEERS_MAX {
            self.channels.clear(); // calls under way keep theirs
        }
        let channel = self.channels.entry(address.to_owned()).or_insert(channel).clone();
        Some(Peer { address: address.to_owned(), channel })
    }
}
