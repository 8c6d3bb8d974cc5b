//! Long polls for the end of a task or a workflow. They go on when its partition moves.

use std::{future::Future, sync::Arc, time::Duration};

use mcp_proto::{
    TaskId,
    scheduler::v1::{Task, WaitTaskRequest, WaitWorkflowRequest, Workflow},
};
use tokio::time::Instant;
use tonic::Status;

use super::{Deps, Tasks, Workflows};
use crate::{
    error::Error,
    hub::Heard,
    routing::{Caller, Outcome, Peer},
    shell::Home,
};

impl Tasks {
    /// The task once it is final, or as it stands after `timeout`.
    pub(super) async fn wait(&self, caller: &Caller, id: TaskId, timeout: Duration) -> Result<Task, Status> {
        let (routes, end) = (&self.deps.routes, Instant::now() + timeout);
        let here = |home: Arc<Home>| async move {
            let final_one = async {
                let task = self.get(&home, id).await?;
                Ok(task.state().is_final().then_some(task))
            };
            self.deps.wait_here(&home, id, end, final_one, self.get(&home, id)).await
        };
        routes.long_poll(routes.of_id(id), caller, here, |peer| task_there(caller, peer, id, end)).await
    }
}

impl Workflows {
    /// The workflow once it is final, or as it stands after `timeout`.
    pub(super) async fn wait(&self, caller: &Caller, id: TaskId, timeout: Duration) -> Result<Workflow, Status> {
        let (routes, end) = (&self.deps.routes, Instant::now() + timeout);
        let here = |home: Arc<Home>| async move {
            let final_one = async {
                // An unfinished one is large at times: it is not looked at to see that it is unfinished.
                if home.showing().has(id) { Ok(None) } else { self.get(&home, id).await.map(Some) }
            };
            self.deps.wait_here(&home, id, end, final_one, self.get(&home, id)).await
        };
        routes.long_poll(routes.of_id(id), caller, here, |peer| workflow_there(caller, peer, id, end)).await
    }
}

impl Deps {
    /// What `final_one` gives, or `as_it_stands` at its end or after `end`; to be asked again elsewhere when it moves.
    async fn wait_here<A>(
        &self,
        home: &Home,
        id: TaskId,
        end: Instant,
        final_one: impl Future<Output = Result<Option<A>, Error>>,
        as_it_stands: impl Future<Output = Result<A, Error>>,
    ) -> Result<Outcome<A>, Error> {
        let mut topic = self.hub.follow(id)?; // first, so that an end in between is heard
        if self.routes.home(home.partition()).is_none() {
            return Ok(Outcome::Again); // it moved before we listened
        }
        match final_one.await {
            Ok(Some(answer)) => return Ok(Outcome::Answered(Ok(answer))),
            Ok(None) => {}
            Err(Error::NotOwner) => return Ok(Outcome::Again),
            Err(error) => return Err(error),
        }
        let heard = tokio::select! {
            heard = topic.ended() => heard,
            () = tokio::time::sleep_until(end) => Heard::News,
            () = self.closing.cancelled() => return Err(Error::ShuttingDown),
        };
        if heard == Heard::Moved {
            return Ok(Outcome::Again);
        }
        match as_it_stands.await {
            Ok(answer) => Ok(Outcome::Answered(Ok(answer))),
            Err(Error::NotOwner) => Ok(Outcome::Again),
            Err(error) => Err(error),
        }
    }
}

async fn task_there(caller: &Caller, peer: Peer, id: TaskId, end: Instant) -> Result<Task, Status> {
    let request = WaitTaskRequest { task_id: id.to_string(), timeout: left(end) };
    let answer = peer.tasks().wait_task(caller.request(request)).await?.into_inner();
    answer.task.ok_or_else(|| Status::internal("the answer holds no task"))
}

async fn workflow_there(caller: &Caller, peer: Peer, id: TaskId, end: Instant) -> Result<Workflow, Status> {
    let request = WaitWorkflowRequest { workflow_id: id.to_string(), timeout: left(end) };
    let answer = peer.workflows().wait_workflow(caller.request(request)).await?.into_inner();
    answer.workflow.ok_or_else(|| Status::internal("the answer holds no workflow"))
}

fn left(end: Instant) -> Option<prost_types::Duration> {
    end.saturating_duration_since(Instant::now()).try_into().ok()
}
