//! The list of queues, gathered from all owners.

use std::sync::Arc;

use mcp_proto::scheduler::v1::{ListQueuesRequest, ListQueuesResponse, Queue};
use prost::Message as _;
use tonic::Status;

use super::queues::{Queues, wire_queue};
use crate::{
    error::Error,
    routing::{Caller, Peer},
    shell::Home,
};

/// Queues of one list.
const QUEUES_MAX: usize = 10_000;
/// Bytes of one list.
const BYTES_MAX: usize = 3 * 1024 * 1024;

/// Queues of one owner, by name, up to where it was cut off.
struct Part {
    queues: Vec<Queue>,
    truncated: bool,
}

impl Queues {
    /// All queues.
    pub(super) async fn list(&self, caller: &Caller, namespace: Option<String>) -> Result<ListQueuesResponse, Status> {
        let routes = &self.deps.routes;
        let request = ListQueuesRequest { namespace: namespace.clone().unwrap_or_default() };
        let parts = routes
            .gather(
                routes.partitions(),
                caller,
                |homes| list_here(homes, namespace.clone()),
                |peer, partitions| list_there(caller, peer, partitions, request.clone()),
            )
            .await?;
        let Part { queues, truncated } = merge(parts);
        Ok(ListQueuesResponse { queues, truncated })
    }
}

async fn list_here(homes: Vec<Arc<Home>>, namespace: Option<String>) -> Result<Part, Error> {
    let mut part = Part { queues: Vec::new(), truncated: false };
    let Some(first) = homes.first() else { return Ok(part) };
    let partitions: Vec<u16> = homes.iter().map(|home| home.partition()).collect();
    let (mut after, mut bytes) = (None, 0);
    loop {
        let list = first.queues(partitions.clone(), namespace.clone(), after).await?;
        for info in list.queues {
            let queue = wire_queue(info);
            bytes += queue.encoded_len();
            if part.queues.len() == QUEUES_MAX || bytes > BYTES_MAX {
                part.truncated = true;
                return Ok(part);
            }
            part.queues.push(queue);
        }
        after = list.next;
        if after.is_none() {
            return Ok(part);
        }
    }
}

async fn list_there(
    caller: &Caller,
    peer: Peer,
    partitions: Vec<u16>,
    request: ListQueuesRequest,
) -> Result<Part, Status> {
    let answer = peer.queues().list_queues(caller.request_for(request, &partitions)).await?.into_inner();
    Ok(Part { queues: answer.queues, truncated: answer.truncated })
}

/// Merges lists. Beyond the place where one was cut off, nothing is known to be complete.
fn merge(parts: Vec<Part>) -> Part {
    let name = |queue: &Queue| (queue.namespace.clone(), queue.queue.clone());
    let cut_off = parts.iter().filter(|part| part.truncated);
    let known_to = cut_off.map(|part| part.queues.last().map(name).unwrap_or_default()).min();
    let mut queues: Vec<Queue> = parts.into_iter().flat_map(|part| part.queues).collect();
    queues.sort_by_cached_key(name);
    if let Some(known_to) = &known_to {
        queues.retain(|queue| name(queue) <= *known_to);
    }
    let (mut bytes, mut fit) = (0, 0);
    for queue in queues.iter().take(QUEUES_MAX) {
        bytes += queue.encoded_len();
        if bytes > BYTES_MAX {
            break;
        }
        fit += 1;
    }
    let truncated = known_to.is_some() || fit < queues.len();
    queues.truncate(fit);
    Part { queues, truncated }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(names: &[&str], truncated: bool) -> Part {
        let queue = |name: &&str| Queue { queue: (*name).to_owned(), ..Queue::default() };
        Part { queues: names.iter().map(queue).collect(), truncated }
    }

    #[test]
    fn a_merged_list_ends_where_one_of_its_parts_was_cut_off() {
        for (parts, names, truncated) in [
            (vec![part(&["b", "d"], false), part(&["a", "c"], false)], vec!["a", "b", "c", "d"], false),
            (vec![part(&["b", "d"], true), part(&["a", "c", "e"], false)], vec!["a", "b", "c", "d"], true),
            (vec![part(&["b", "d"], true), part(&["a", "c"], true)], vec!["a", "b", "c"], true),
            (vec![], vec![], false),
        ] {
            let merged = merge(parts);
            let found: Vec<_> = merged.queues.iter().map(|queue| queue.queue.as_str()).collect();
            assert_eq!((found, merged.truncated), (names, truncated));
        }
        let many = (0..=QUEUES_MAX).map(|n| Queue { queue: n.to_string(), ..Queue::default() }).collect();
        let merged = merge(vec![Part { queues: many, truncated: false }]);
        assert_eq!((merged.queues.len(), merged.truncated), (QUEUES_MAX, true));
    }
}
