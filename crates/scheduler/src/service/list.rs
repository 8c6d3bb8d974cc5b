//! Lists: pages of the store with the running attempts laid over them.

use std::{cmp::Reverse, sync::Arc};

use mcp_proto::{
    TaskId,
    scheduler::v1::{ListTasksResponse, Task, TaskState},
};

use super::{
    Tasks,
    view::{self, Detail},
};
use crate::{
    error::Error,
    shell::{Handle, LiveTasks},
    store::{self, ListQuery, PartitionStore, States},
    validate::{ListFilter, PageToken},
};

/// The states that only the view of running tasks knows.
const RUNNING: States = States::NONE.with(TaskState::Running);

/// A list on its way.
struct Listing {
    live: Arc<LiveTasks>,
    /// Wanted, as callers see them.
    states: States,
    query: ListQuery,
    now: u64,
}

/// The tasks of a page, and where the next one begins.
type Found = (Vec<Task>, Option<TaskId>);

impl Tasks {
    /// One page.
    pub(super) async fn list(&self, handle: &Handle, filter: ListFilter) -> Result<ListTasksResponse, Error> {
        let hash = filter.hash;
        let listing = Listing {
            live: Arc::clone(handle.live_tasks()),
            states: filter.states,
            now: self.deps.clock.now(),
            query: ListQuery {
                states: recorded_as(filter.states),
                namespace: filter.namespace,
                queue: filter.queue,
                before: filter.before,
                limit: filter.limit,
                scan_max: self.deps.settings.list_scan_max,
            },
        };
        let read = self.deps.reads.read(handle, move |store| match listing.states {
            RUNNING => listing.running(store),
            _ => listing.recorded(store),
        });
        let (tasks, next) = read.await?;
        let next_page_token = next.map(|before| PageToken { filters: hash, before }.encode()).unwrap_or_default();
        Ok(ListTasksResponse { tasks, next_page_token })
    }
}

impl Listing {
    /// Looks through the store. What is on record as waiting may run, so a page of the store may not fill ours.
    fn recorded(mut self, store: &dyn PartitionStore) -> Result<Found, store::Error> {
        let (mut tasks, limit) = (Vec::new(), self.query.limit);
        loop {
            let page = store.list(&self.query)?;
            for stored in page.tasks {
                let live = self.live.get(&stored.id).map(|live| live.clone());
                if self.states.has(view::state(&stored, live.as_ref(), self.now)) {
                    tasks.push(view::task(stored, live.as_ref(), self.now, Detail::Brief)?);
                }
            }
            self.query.scan_max = self.query.scan_max.saturating_sub(page.scanned);
            self.query.before = page.next;
            self.query.limit = limit - tasks.len();
            if page.next.is_none() || self.query.limit == 0 || self.query.scan_max == 0 {
                return Ok((tasks, page.next));
            }
        }
    }

    /// Begins at the running tasks, which are few, and not at all that wait.
    fn running(self, store: &dyn PartitionStore) -> Result<Found, store::Error> {
        let is_wanted = |id: &TaskId| self.query.before.is_none_or(|before| *id < before);
        let mut ids: Vec<TaskId> = self.live.iter().map(|live| *live.key()).filter(is_wanted).collect();
        ids.sort_unstable_by_key(|id| Reverse(*id));
        let mut tasks = Vec::new();
        for (looked_at, &id) in ids.iter().enumerate() {
            if tasks.len() == self.query.limit || looked_at == self.query.scan_max {
                return Ok((tasks, Some(ids[looked_at - 1])));
            }
            let Some(stored) = store.get(id)? else { continue };
            let head = stored.fixed.head()?;
            let differs = |wanted: &Option<String>, has: &str| wanted.as_ref().is_some_and(|wanted| wanted != has);
            if differs(&self.query.namespace, &head.namespace) || differs(&self.query.queue, &head.queue) {
                continue;
            }
            let live = self.live.get(&id).map(|live| live.clone());
            if view::state(&stored, live.as_ref(), self.now) == TaskState::Running {
                tasks.push(view::task(stored, live.as_ref(), self.now, Detail::Brief)?);
            }
        }
        Ok((tasks, None))
    }
}

/// The states on record under which tasks in these states may be found.
fn recorded_as(states: States) -> States {
    if states.has(TaskState::Running) || states.has(TaskState::Pending) {
        return states.with(TaskState::Pending).with(TaskState::Scheduled).with(TaskState::Retrying);
    }
    states
}
