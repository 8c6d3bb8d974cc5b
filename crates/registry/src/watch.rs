//! The stream of changes that `Watch` sends.
//!
//! Nothing is buffered here: the next change is taken when the caller's stream has room for it. A caller that is too
//! slow costs nothing but its place in the history; when that is gone, it gets a new snapshot.

use std::{pin::Pin, sync::Arc};

use futures_util::{Stream, StreamExt as _, future, stream};
use mcp_coord::{Change, WatchStream};
use mcp_proto::registry::v1::{InstanceRemoved, InstanceSnapshot, WatchResponse, watch_response};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::{convert, error::Error, instances::Instances};

/// What a caller gets.
pub(crate) type Responses = Pin<Box<dyn Stream<Item = Result<WatchResponse, Status>> + Send>>;

/// The changes, until `draining`: then the stream ends with `SHUTTING_DOWN`. `permit` is held as long as the stream.
pub(crate) fn responses(
    instances: Arc<Instances>,
    changes: WatchStream,
    permit: OwnedSemaphorePermit,
    draining: CancellationToken,
) -> Responses {
    let responses = changes
        .filter_map(move |change| future::ready(response(&instances, change)))
        .map(|change| Ok(WatchResponse { change: Some(change) }))
        .take_until(draining.cancelled_owned());
    let end = stream::once(async { Err(Status::from(Error::ShuttingDown)) });
    Box::pin(responses.chain(end).map(move |response| {
        let _held = &permit;
        response
    }))
}

/// A record that cannot be read is as good as gone.
fn response(instances: &Instances, change: Change) -> Option<watch_response::Change> {
    match change {
        Change::Snapshot(snapshot) => {
            let instances = convert::instances(snapshot.entries.iter().filter_map(convert::record));
            Some(watch_response::Change::Snapshot(InstanceSnapshot { instances }))
        }
        Change::Put(entry) => match convert::record(&entry) {
            Some(record) => Some(watch_response::Change::Put(convert::instance(record))),
            None => removed(instances, &entry.key),
        },
        Change::Delete { key, .. } => removed(instances, &key),
    }
}

fn removed(instances: &Instances, key: &str) -> Option<watch_response::Change> {
    let (service, instance_id) = instances.name_of(key)?;
    let removed = InstanceRemoved { service: service.to_owned(), instance_id: instance_id.to_owned() };
    Some(watch_response::Change::Removed(removed))
}
