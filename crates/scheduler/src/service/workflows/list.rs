//! Lists of workflows: the unfinished ones as the loop shows them, the final ones from the store, gathered from all owners.

use std::{collections::HashSet, sync::Arc};

use mcp_proto::{
    TaskId,
    scheduler::v1::{ListWorkflowsRequest, ListWorkflowsResponse, Workflow},
};
use tonic::Status;

use super::Workflows;
use crate::{
    error::Error,
    routing::{Caller, Peer},
    service::merge::{Part, merge},
    shell::Home,
    store::{self, PartitionStore, Table},
    validate::{PageToken, RunFilter},
    workflow::{Brief, records},
};

/// Briefs of final workflows that are read at a time.
const CHUNK: usize = 64;

impl Workflows {
    /// One page, gathered from all partitions.
    pub(super) async fn list(
        &self,
        caller: &Caller,
        filter: RunFilter,
        request: ListWorkflowsRequest,
    ) -> Result<ListWorkflowsResponse, Status> {
        let routes = &self.deps.routes;
        // Also for a queue: a workflow that a schedule started lives where the schedule does.
        let parts = routes
            .gather(
                routes.partitions(),
                caller,
                |homes| self.list_here(homes, filter.clone()),
                |peer, partitions| list_there(caller, peer, partitions, filter.hash, request.clone()),
            )
            .await?;
        let page = merge(parts, filter.limit);
        let token = |before| PageToken { filters: filter.hash, before }.encode();
        Ok(ListWorkflowsResponse {
            workflows: page.tasks.into_iter().map(|(_, workflow)| workflow).collect(),
            next_page_token: page.next.map(token).unwrap_or_default(),
        })
    }

    async fn list_here(&self, homes: Vec<Arc<Home>>, filter: RunFilter) -> Result<Part<Workflow>, Error> {
        let scan_max = self.deps.settings.list_scan_max;
        self.deps.reads.read(move || list(&homes, &filter, scan_max)).await
    }
}

fn list(homes: &[Arc<Home>], filter: &RunFilter, scan_max: usize) -> Result<Part<Workflow>, store::Error> {
    let mut parts = Vec::with_capacity(homes.len() + 1);
    // First those that are unfinished: one that ends in between is found on record.
    let unfinished = homes.first().filter(|_| filter.states.has_final(false)).map(|home| {
        let is_wanted = |brief: &Brief| filter.takes(brief) && homes.iter().any(|home| home.has(brief.id()));
        home.showing().page(filter.before, filter.limit, scan_max, is_wanted)
    });
    if filter.states.has_final(true) {
        let scan_max = (scan_max / homes.len().max(1)).max(1);
        for home in homes {
            parts.push(finals(&**home.store(), filter, scan_max)?);
        }
    }
    if let Some((briefs, next)) = unfinished {
        let ended: HashSet<TaskId> = parts.iter().flat_map(|part| &part.tasks).map(|(id, _)| *id).collect();
        let briefs = briefs.into_iter().filter(|brief| !ended.contains(&brief.id()));
        parts.push(Part { tasks: briefs.map(|brief| (brief.id(), brief.workflow())).collect(), next });
    }
    Ok(merge(parts, filter.limit))
}

/// Final workflows of one partition, newest first.
fn finals(store: &dyn PartitionStore, filter: &RunFilter, scan_max: usize) -> Result<Part<Workflow>, store::Error> {
    let mut after = filter.before.map(records::brief_key);
    let (mut tasks, mut scanned) = (Vec::new(), 0);
    loop {
        let chunk = store.scan(Table::WorkflowDone, records::BRIEFS, after.as_deref(), CHUNK.min(scan_max))?;
        if chunk.is_empty() {
            return Ok(Part { tasks, next: None });
        }
        for (key, value) in chunk {
            let brief = records::brief(&key, &value)?;
            let id = brief.id();
            scanned += 1;
            if filter.takes(&brief) {
                tasks.push((id, brief.workflow()));
            }
            if tasks.len() >= filter.limit || scanned >= scan_max {
                return Ok(Part { tasks, next: Some(id) });
            }
            after = Some(key);
        }
    }
}

async fn list_there(
    caller: &Caller,
    peer: Peer,
    partitions: Vec<u16>,
    filters: u64,
    request: ListWorkflowsRequest,
) -> Result<Part<Workflow>, Status> {
    let answer = peer.workflows().list_workflows(caller.request_for(request, &partitions)).await?.into_inner();
    let next = match answer.next_page_token.as_str() {
        "" => None,
        token => Some(PageToken::decode(token, filters)?.before),
    };
    let with_id = |workflow: Workflow| Ok((workflow.id.parse()?, workflow));
    let tasks: Result<_, mcp_proto::Error> = answer.workflows.into_iter().map(with_id).collect();
    Ok(Part { tasks: tasks?, next })
}
