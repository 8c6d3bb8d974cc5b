//! `mcp.gateway.v1.TopicService`: messages of callers, sent to all gateways through coordination.
//!
//! A message is the value of its topic's key, under a lease: every gateway watches these keys and hears of each write. What
//! is left behind goes with the lease.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use futures_util::StreamExt;
use mcp_coord::{Change, Coordinator, KeyValue, LeaseId, Revision, keys};
use mcp_proto::{
    Code, Error,
    frame::BodyCodec,
    gateway::v1::{PublishRequest, PublishResponse, topic_service_server::TopicService},
};
use serde::{Deserialize, Serialize};
use tokio::{sync::Mutex as AsyncMutex, time::sleep};
use tonic::{Request, Response, Status};

use super::{hub::Event, topic};
use crate::{
    config::{FrameSettings, RateLimit},
    limits::bucket::{FullAt, Rate},
};

/// How long the last message of a topic stays in coordination, at least.
const LEASE_TTL: Duration = Duration::from_secs(60);

/// How long messages are written under the same lease.
const LEASE_AGE_MAX: Duration = Duration::from_secs(30);

/// Longest content type, in bytes.
const TYPE_BYTES_MAX: usize = 100;

/// Pause before a watch that could not be opened, or ended, is opened again.
const WATCH_PAUSE: Duration = Duration::from_secs(1);

/// A message as it lies in coordination.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    /// Base64.
    body: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    content_type: String,
}

/// The service. The gateway has checked who calls.
#[derive(Debug)]
pub(crate) struct Service {
    coord: Arc<dyn Coordinator>,
    cluster: String,
    body_bytes_max: usize,
    rate: Rate,
    full_at: Mutex<FullAt>,
    started: Instant,
    lease: AsyncMutex<Option<(LeaseId, Instant)>>,
}

impl Service {
    /// The topics of a cluster.
    pub(crate) fn new(coord: Arc<dyn Coordinator>, cluster: &str, settings: &FrameSettings) -> Self {
        let limit =
            RateLimit { requests: settings.publish_rate_max, window: Duration::from_secs(1), ..RateLimit::default() };
        Self {
            coord,
            cluster: cluster.to_owned(),
            body_bytes_max: settings.event_bytes_max,
            rate: Rate::of(&limit),
            full_at: Mutex::default(),
            started: Instant::now(),
            lease: AsyncMutex::default(),
        }
    }

    /// Takes one of the messages that may be published now.
    fn take(&self) -> Result<(), Error> {
        let now = u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let mut full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = self.rate.take(*full_at, now);
        *full_at = taken.full_at;
        match taken.retry_after {
            None => Ok(()),
            Some(wait) => {
                let text = "the gateway publishes as many messages as it may: topics are for few and small ones";
                Err(Error::new(Code::RateLimited, text).with_retry_after(wait))
            }
        }
    }

    /// A lease that lasts for a while yet.
    async fn lease(&self) -> Result<LeaseId, mcp_coord::Error> {
        let mut lease = self.lease.lock().await;
        match *lease {
            Some((id, granted)) if granted.elapsed() < LEASE_AGE_MAX => Ok(id),
            _ => {
                let id = self.coord.grant(LEASE_TTL).await?;
                *lease = Some((id, Instant::now()));
                Ok(id)
            }
        }
    }

    async fn write(&self, topic: &str, value: Bytes) -> Result<Revision, mcp_coord::Error> {
        let key = keys::topic(&self.cluster, topic);
        let lease = self.lease().await?;
        match self.coord.put(&key, value.clone(), Some(lease)).await {
            Err(mcp_coord::Error::LeaseEnded { .. }) => {
                *self.lease.lock().await = None;
                let lease = self.lease().await?;
                self.coord.put(&key, value, Some(lease)).await
            }
            written => written,
        }
    }
}

#[tonic::async_trait]
impl TopicService for Service {
    async fn publish(&self, request: Request<PublishRequest>) -> Result<Response<PublishResponse>, Status> {
        let PublishRequest { topic, body, content_type } = request.into_inner();
        topic::check(&topic)?;
        if body.len() > self.body_bytes_max {
            let text = format!("the message has {} bytes, the limit is {}", body.len(), self.body_bytes_max);
            let error = Error::new(Code::PayloadTooLarge, text);
            return Err(error.with_metadata("limit_bytes", self.body_bytes_max.to_string()).into());
        }
        if content_type.len() > TYPE_BYTES_MAX {
            return Err(Error::invalid("content_type", format!("must have at most {TYPE_BYTES_MAX} bytes")).into());
        }
        self.take()?;
        let record = Record { body: BASE64_STANDARD.encode(&body), content_type };
        let value = serde_json::to_vec(&record).map_err(Error::internal)?;
        self.write(&topic, value.into()).await.map_err(unavailable)?;
        Ok(Response::new(PublishResponse {}))
    }
}

fn unavailable(error: mcp_coord::Error) -> Error {
    match &error {
        mcp_coord::Error::Unavailable { .. } | mcp_coord::Error::LeaseEnded { .. } => {
            let text = "the message cannot be sent now, or may have been";
            Error::new(Code::CoordinationUnavailable, text).with_source(error)
        }
        _ => Error::internal(error),
    }
}

/// Passes on what any gateway has published, for ever. Of what was written while the watch was away only the last message of
/// each topic is known.
pub(crate) async fn follow(coord: Arc<dyn Coordinator>, cluster: String, publish: impl Fn(Event)) {
    let prefix = keys::topics(&cluster);
    let mut seen = None;
    loop {
        match coord.watch(&prefix).await {
            Ok(mut changes) => {
                while let Some(change) = changes.next().await {
                    for event in news(&prefix, change, &mut seen) {
                        publish(event);
                    }
                }
            }
            Err(error) => tracing::debug!(%error, "topics cannot be watched yet"),
        }
        sleep(WATCH_PAUSE).await;
    }
}

/// The events of a change, and the revision up to which all is known. Pure.
fn news(prefix: &str, change: Change, seen: &mut Option<Revision>) -> Vec<Event> {
    let (mut entries, revision) = match change {
        Change::Snapshot(snapshot) => (snapshot.entries, snapshot.revision),
        Change::Put(entry) => {
            let revision = entry.modified;
            (vec![entry], revision)
        }
        Change::Delete { revision, .. } => (Vec::new(), revision),
    };
    // What lay there before the first look was published before anybody here could want it.
    let known = seen.unwrap_or(revision);
    *seen = Some(known.max(revision));
    entries.retain(|entry| entry.modified > known);
    entries.sort_by_key(|entry| entry.modified);
    entries.iter().filter_map(|entry| event(prefix, entry)).collect()
}

fn event(prefix: &str, entry: &KeyValue) -> Option<Event> {
    let topic = entry.key.strip_prefix(prefix)?.to_owned();
    let record: Record = serde_json::from_slice(&entry.value).ok()?;
    let body = BASE64_STANDARD.decode(record.body).ok()?.into();
    let codec = match record.content_type.as_str() {
        "application/json" => BodyCodec::Json,
        "application/protobuf" => BodyCodec::Protobuf,
        _ => BodyCodec::Raw,
    };
    Some(Event { topic, codec, body })
}

#[cfg(test)]
mod tests {
    use mcp_coord::Snapshot;

    use super::*;

    fn entry(topic: &str, body: &str, revision: i64) -> KeyValue {
        let record = Record { body: BASE64_STANDARD.encode(body), content_type: "application/json".into() };
        KeyValue {
            key: format!("/t/{topic}"),
            value: serde_json::to_vec(&record).unwrap().into(),
            created: Revision(1),
            modified: Revision(revision),
            lease: None,
        }
    }

    #[test]
    fn what_is_new_is_told_once() {
        let mut seen = None;
        let mut told = |change| -> Vec<String> {
            let text = |event: Event| format!("{} {}", event.topic, String::from_utf8_lossy(&event.body));
            news("/t/", change, &mut seen).into_iter().map(text).collect()
        };
        let snapshot = |entries, revision| Change::Snapshot(Snapshot { entries, revision: Revision(revision) });
        assert!(told(snapshot(vec![entry("a", "old", 3)], 5)).is_empty());
        assert_eq!(told(Change::Put(entry("a", "1", 6))), ["a 1"]);
        assert_eq!(told(Change::Put(entry("a", "2", 7))), ["a 2"]);
        assert!(told(Change::Delete { key: "/t/a".into(), revision: Revision(8) }).is_empty());
        // The watch was away: a snapshot with something old and something new, in no order.
        let entries = vec![entry("c", "4", 11), entry("b", "3", 10), entry("a", "2", 7)];
        assert_eq!(told(snapshot(entries, 12)), ["b 3", "c 4"]);
        assert!(told(Change::Put(KeyValue { value: "?".into(), ..entry("a", "", 13) })).is_empty());
    }
}
