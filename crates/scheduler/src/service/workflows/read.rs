//! Single workflows: from the loop while they are unfinished, then from the store.

use std::sync::Arc;

use mcp_flow::RunView;
use mcp_proto::{TaskId, scheduler::v1::Workflow};

use super::Workflows;
use crate::{
    conductor::{Conduct, WorkflowCommand},
    error::Error,
    shell::Home,
    store::{self, PartitionStore, Table},
    validate::with_defaults,
    workflow::{records, whole},
};

impl Workflows {
    /// A workflow, whole.
    pub(in crate::service) async fn get(&self, home: &Arc<Home>, id: TaskId) -> Result<Workflow, Error> {
        let (view, reason) = self.run(home, id).await?.ok_or(Error::WorkflowNotFound { id })?;
        self.deps.reads.read(move || Ok(whole(&view, &reason, with_defaults))).await
    }

    /// A workflow, final or not, and why a caller cancelled it.
    pub(in crate::service) async fn run(
        &self,
        home: &Arc<Home>,
        id: TaskId,
    ) -> Result<Option<(RunView, String)>, Error> {
        // One that ends in between is found on record.
        let unfinished = if home.showing().has(id) { view(home, id).await? } else { None };
        match unfinished {
            Some(run) => Ok(Some(run)),
            None => self.final_run(home, id).await,
        }
    }

    /// A workflow that is final, and why a caller cancelled it.
    pub(super) async fn final_run(&self, home: &Arc<Home>, id: TaskId) -> Result<Option<(RunView, String)>, Error> {
        let (store, partition) = (Arc::clone(home.store()), home.partition());
        self.deps.reads.read(move || final_run(&*store, id, partition)).await
    }
}

/// An unfinished workflow as the loop has it.
async fn view(home: &Home, id: TaskId) -> Result<Option<(RunView, String)>, Error> {
    home.conduct(0, |reply| Conduct::Workflow(home.partition(), WorkflowCommand::View(id, reply))).await
}

fn final_run(
    store: &dyn PartitionStore,
    id: TaskId,
    partition: u16,
) -> Result<Option<(RunView, String)>, store::Error> {
    let [end, fixed] = records::done_keys(id);
    let Some(end) = store.entry(Table::WorkflowDone, &end)? else { return Ok(None) };
    let Some(fixed) = store.entry(Table::WorkflowDone, &fixed)? else { return Ok(None) };
    records::final_run(id, partition, &end, &fixed).map(Some)
}
