//! Lists: pages of the store with the running attempts laid over them, gathered from all owners.

use std::{cmp::Reverse, sync::Arc};

use mcp_proto::{
    TaskId,
    scheduler::v1::{ListTasksRequest, ListTasksResponse, Task, TaskState},
};
use tonic::Status;

use super::{
    Tasks,
    merge::{Part, merge},
    view::{self, Detail},
};
use crate::{
    error::Error,
    routing::{Caller, Peer},
    shell::{Home, LiveTasks},
    store::{self, ListQuery, PartitionStore, States},
    validate::{ListFilter, PageToken},
};

/// The states that only the view of running tasks knows.
const RUNNING: States = States::NONE.with(TaskState::Running);
/// Tasks of one read of one of several partitions, at least; the page takes the newest of all.
const CHUNK_MIN: usize = 8;
/// A list of some partitions on its way.
struct Listing {
    homes: Vec<Arc<Home>>,
    live: Arc<LiveTasks>,
    /// Wanted, as callers see them.
    states: States,
    query: ListQuery,
    now: u64,
}

/// How far one partition was read.
struct Source {
    store: Arc<dyn PartitionStore>,
    part: Part<Task>,
}

impl Tasks {
    /// One page. A queue is in one partition; anything else is gathered from all.
    pub(super) async fn list(
        &self,
        caller: &Caller,
        filter: ListFilter,
        request: ListTasksRequest,
    ) -> Result<ListTasksResponse, Status> {
        let routes = &self.deps.routes;
        let partitions = match (&filter.namespace, &filter.queue) {
            (Some(namespace), Some(queue)) => {
                let partition = routes.of_queue(namespace, queue);
                partition..partition + 1
            }
            _ => routes.partitions(),
        };
        let parts = routes
            .gather(
                partitions,
                caller,
                |homes| self.list_here(homes, filter.clone()),
                |peer, partitions| list_there(caller, peer, partitions, filter.hash, request.clone()),
            )
            .await?;
        let page = merge(parts, filter.limit);
        let token = |before| PageToken { filters: filter.hash, before }.encode();
        Ok(ListTasksResponse {
            tasks: page.tasks.into_iter().map(|(_, task)| task).collect(),
            next_page_token: page.next.map(token).unwrap_or_default(),
        })
    }

    async fn list_here(&self, homes: Vec<Arc<Home>>, filter: ListFilter) -> Result<Part<Task>, Error> {
        let Some(first) = homes.first() else { return Ok(Part { tasks: Vec::new(), next: None }) };
        let listing = Listing {
            live: Arc::clone(first.live_tasks()),
            states: filter.states,
            now: self.deps.clock.now(),
            query: ListQuery {
                states: recorded_as(filter.states),
                namespace: filter.namespace,
                queue: filter.queue,
                labels: filter.labels,
                name_contains: filter.name_contains,
                before: filter.before,
                limit: filter.limit,
                scan_max: self.deps.settings.list_scan_max,
            },
            homes,
        };
        let read = self.deps.reads.read(move || match listing.states {
            RUNNING => listing.running(),
            _ => listing.recorded(),
        });
        read.await
    }
}

async fn list_there(
    caller: &Caller,
    peer: Peer,
    partitions: Vec<u16>,
    filters: u64,
    request: ListTasksRequest,
) -> Result<Part<Task>, Status> {
    let answer = peer.tasks().list_tasks(caller.request_for(request, &partitions)).await?.into_inner();
    let next = match answer.next_page_token.as_str() {
        "" => None,
        token => Some(PageToken::decode(token, filters)?.before),
    };
    let with_id = |task: Task| Ok((task.id.parse()?, task));
    let tasks: Result<_, mcp_proto::Error> = answer.tasks.into_iter().map(with_id).collect();
    Ok(Part { tasks: tasks?, next })
}

impl Listing {
    /// Reads the partitions bit by bit, always the one that is known the least far down, until there is a page.
    fn recorded(self) -> Result<Part<Task>, store::Error> {
        let count = self.homes.len();
        let nothing = || Part { tasks: Vec::new(), next: self.query.before };
        let source = |home: &Arc<Home>| Source { store: Arc::clone(home.store()), part: nothing() };
        let mut sources: Vec<Source> = self.homes.iter().map(source).collect();
        let chunk = if count == 1 { self.query.limit } else { (self.query.limit / count).max(CHUNK_MIN) };
        // Every partition is looked at, so that each page gets further.
        let mut scan_left = self.query.scan_max;
        for source in &mut sources {
            scan_left = scan_left.saturating_sub(self.extend(source, chunk, (self.query.scan_max / count).max(1))?);
        }
        while scan_left > 0
            && let Some(frontier) = sources.iter().filter_map(|source| source.part.next).max()
        {
            let tasks = sources.iter().flat_map(|source| &source.part.tasks);
            let at_hand = tasks.filter(|(id, _)| *id >= frontier).count();
            let Some(source) = sources.iter_mut().find(|source| source.part.next == Some(frontier)) else { break };
            if at_hand >= self.query.limit {
                break;
            }
            scan_left = scan_left.saturating_sub(self.extend(source, chunk, scan_left)?);
        }
        Ok(merge(sources.into_iter().map(|source| source.part).collect(), self.query.limit))
    }

    /// Reads further down one partition; gives how many records were looked at. What is on record as waiting may run.
    fn extend(&self, source: &mut Source, limit: usize, scan_max: usize) -> Result<usize, store::Error> {
        let query = ListQuery { before: source.part.next, limit, scan_max, ..self.query.clone() };
        let page = source.store.list(&query)?;
        for stored in page.tasks {
            let live = self.live.get(&stored.id).map(|live| live.clone());
            if self.states.has(view::state(&stored, live.as_ref(), self.now)) {
                source.part.tasks.push((stored.id, view::task(stored, live.as_ref(), self.now, Detail::Brief)?));
            }
        }
        source.part.next = page.next;
        Ok(page.scanned.max(1))
    }

    /// Begins at the running tasks, which are few, and not at all that wait.
    fn running(self) -> Result<Part<Task>, store::Error> {
        let is_wanted = |id: &TaskId| self.query.before.is_none_or(|before| *id < before);
        let store_of = |id: TaskId| self.homes.iter().find(|home| home.has(id)).map(|home| home.store());
        let mut ids: Vec<TaskId> = self.live.iter().map(|live| *live.key()).filter(is_wanted).collect();
        ids.sort_unstable_by_key(|id| Reverse(*id));
        let mut tasks = Vec::new();
        for (looked_at, &id) in ids.iter().enumerate() {
            if tasks.len() == self.query.limit || looked_at == self.query.scan_max {
                return Ok(Part { tasks, next: Some(ids[looked_at - 1]) });
            }
            let Some(store) = store_of(id) else { continue };
            let Some(stored) = store.get(id)? else { continue };
            if !self.query.takes(&stored.fixed)? {
                continue;
            }
            let live = self.live.get(&id).map(|live| live.clone());
            if view::state(&stored, live.as_ref(), self.now) == TaskState::Running {
                tasks.push((id, view::task(stored, live.as_ref(), self.now, Detail::Brief)?));
            }
        }
        Ok(Part { tasks, next: None })
    }
}

/// The states on record under which tasks in these states may be found.
fn recorded_as(states: States) -> States {
    if states.has(TaskState::Running) || states.has(TaskState::Pending) {
        return states.with(TaskState::Pending).with(TaskState::Scheduled).with(TaskState::Retrying);
    }
    states
}
