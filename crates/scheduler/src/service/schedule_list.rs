//! Lists of schedules, gathered from all owners in the order of their names.

use std::sync::Arc;

use mcp_proto::scheduler::v1::{ListSchedulesRequest, ListSchedulesResponse, Schedule};
use prost::Message as _;
use tonic::Status;

use super::{fires::scan, schedule_view, schedules::Schedules};
use crate::{
    conductor::Kept,
    error::Error,
    routing::{Caller, Peer},
    shell::Home,
    store::Table,
    validate::{KeyToken, SchedulePage},
};

/// Bytes of schedules after which a page ends.
const PAGE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A part of a page: schedules with their keys in order, and whether there are more behind them.
struct Part {
    schedules: Vec<(Vec<u8>, Schedule)>,
    has_more: bool,
}

impl Schedules {
    /// One page.
    pub(super) async fn list(
        &self,
        caller: &Caller,
        page: SchedulePage,
        request: ListSchedulesRequest,
    ) -> Result<ListSchedulesResponse, Status> {
        let routes = &self.deps.routes;
        let parts = routes
            .gather(
                routes.partitions(),
                caller,
                |homes| self.list_here(homes, page.clone()),
                |peer, partitions| list_there(caller, peer, partitions, request.clone()),
            )
            .await?;
        let Part { schedules, has_more } = merge(parts, page.limit);
        let last = schedules.last().filter(|_| has_more);
        let next_page_token = last.map(|(key, _)| KeyToken::encode(key, page.filters)).unwrap_or_default();
        Ok(ListSchedulesResponse {
            schedules: schedules.into_iter().map(|(_, schedule)| schedule).collect(),
            next_page_token,
        })
    }

    async fn list_here(&self, homes: Vec<Arc<Home>>, page: SchedulePage) -> Result<Part, Error> {
        let read = self.deps.reads.read(move || {
            let mut parts = Vec::with_capacity(homes.len());
            for home in homes {
                let after = page.after.clone();
                let found = scan(&**home.store(), Table::Schedule, &page.prefix, after, page.limit + 1)?;
                let has_more = found.len() > page.limit;
                let mut schedules = Vec::with_capacity(found.len());
                for (key, value) in found.into_iter().take(page.limit) {
                    schedules.push((key.to_vec(), schedule_view::schedule(Kept::read(&value)?)));
                }
                parts.push(Part { schedules, has_more });
            }
            Ok(merge(parts, page.limit))
        });
        read.await
    }
}

async fn list_there(
    caller: &Caller,
    peer: Peer,
    partitions: Vec<u16>,
    request: ListSchedulesRequest,
) -> Result<Part, Status> {
    let answer = peer.schedules().list_schedules(caller.request_for(request, &partitions)).await?.into_inner();
    let key = |schedule: &Schedule| [schedule.namespace.as_bytes(), schedule.name.as_bytes()].join(&0);
    let has_more = !answer.next_page_token.is_empty();
    Ok(Part { schedules: answer.schedules.into_iter().map(|schedule| (key(&schedule), schedule)).collect(), has_more })
}

/// The first schedules of all parts, as far as every part is known.
fn merge(parts: Vec<Part>, limit: usize) -> Part {
    let known_until = parts
        .iter()
        .filter(|part| part.has_more)
        .filter_map(|part| part.schedules.last().map(|(key, _)| key.clone()))
        .min();
    let mut has_more = parts.iter().any(|part| part.has_more);
    let mut schedules: Vec<_> = parts.into_iter().flat_map(|part| part.schedules).collect();
    schedules.sort_unstable_by(|(left, _), (right, _)| left.cmp(right));
    if let Some(last) = known_until {
        schedules.retain(|(key, _)| *key <= last);
    }
    let mut bytes = 0;
    let fits = schedules.iter().take(limit).take_while(|(_, schedule)| {
        let is_first = bytes == 0;
        bytes += schedule.encoded_len();
        is_first || bytes <= PAGE_BYTES_MAX
    });
    let len = fits.count();
    has_more |= schedules.len() > len;
    schedules.truncate(len);
    Part { schedules, has_more }
}

#[cfg(test)]
mod tests {
    use mcp_proto::scheduler::v1::Schedule;

    use super::{Part, merge};

    fn part(names: &[&str], has_more: bool) -> Part {
        let schedule =
            |name: &&str| (name.as_bytes().to_vec(), Schedule { name: (*name).to_owned(), ..Schedule::default() });
        Part { schedules: names.iter().map(schedule).collect(), has_more }
    }

    fn names(part: &Part) -> Vec<&str> {
        part.schedules.iter().map(|(_, schedule)| schedule.name.as_str()).collect()
    }

    #[test]
    fn a_page_ends_where_a_part_is_not_known_further() {
        let merged = merge(vec![part(&["a", "d"], true), part(&["b", "c", "e"], false)], 10);
        assert_eq!((names(&merged), merged.has_more), (vec!["a", "b", "c", "d"], true));
        let merged = merge(vec![part(&["a", "d"], false), part(&["b"], false)], 10);
        assert_eq!((names(&merged), merged.has_more), (vec!["a", "b", "d"], false));
        let merged = merge(vec![part(&["a", "d"], false), part(&["b"], false)], 2);
        assert_eq!((names(&merged), merged.has_more), (vec!["a", "b"], true));
    }
}
