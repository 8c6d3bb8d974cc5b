//! How many partitions the cluster has: all replicas must agree, since queues are spread over them.

use std::time::Duration;

use mcp_coord::{Coordinator, Error, Expected, keys};
use tokio::time::sleep;

/// Pause before the coordination store is asked again.
const PAUSE: Duration = Duration::from_millis(500);

/// Writes the number when there is none, and compares it when there is one. While the coordination store is away it goes
/// on trying.
///
/// # Errors
/// The cluster has another number.
pub(super) async fn agree(coord: &dyn Coordinator, cluster: &str, count: u16) -> anyhow::Result<()> {
    let key = keys::partition_count(cluster);
    loop {
        match read_or_write(coord, &key, count).await {
            Ok(found) if found == count.to_string() => return Ok(()),
            Ok(found) => anyhow::bail!(
                "the cluster `{cluster}` has {found} partitions, and this scheduler is set to `scheduler.partitions = \
                 {count}`: set it to {found}; the number cannot be changed while there are tasks"
            ),
            Err(error) => tracing::warn!(%error, "the number of partitions cannot be read yet"),
        }
        sleep(PAUSE).await;
    }
}

async fn read_or_write(coord: &dyn Coordinator, key: &str, count: u16) -> Result<String, Error> {
    if let Some(found) = coord.get(key).await? {
        return Ok(String::from_utf8_lossy(&found.value).into_owned());
    }
    match coord.compare_and_put(key, Expected::Absent, count.to_string().into(), None).await {
        Ok(_) => Ok(count.to_string()),
        // Somebody else was first: the next look shows his.
        Err(Error::Conflict { .. }) => match coord.get(key).await? {
            Some(found) => Ok(String::from_utf8_lossy(&found.value).into_owned()),
            None => Err(Error::Conflict { key: key.to_owned() }),
        },
        Err(error) => Err(error),
    }
}
