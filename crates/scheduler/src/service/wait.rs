//! Long polls for the end of a task. They go on when the task's partition moves.

use std::{sync::Arc, time::Duration};

use mcp_proto::{
    TaskId,
    scheduler::v1::{Task, WaitTaskRequest},
};
use tokio::time::Instant;
use tonic::Status;

use super::Tasks;
use crate::{
    error::Error,
    hub::Heard,
    routing::{Caller, Outcome, Owner, Peer, Repeat},
    shell::Home,
};

impl Tasks {
    /// The task once it is final, or as it stands after `timeout`.
    pub(super) async fn wait(&self, caller: &Caller, id: TaskId, timeout: Duration) -> Result<Task, Status> {
        let routes = &self.deps.routes;
        let (end, partition) = (Instant::now() + timeout, routes.of_id(id));
        let mut until = None;
        loop {
            let asked = Instant::now();
            let outcome = match routes.owner_of(partition, caller).await? {
                Owner::Local(home) => self.wait_here(&home, id, end).await?,
                Owner::Peer(peer) => {
                    let call = wait_there(caller, &peer, id, end);
                    routes.ask(partition, &peer, call, Repeat::Allowed).await
                }
            };
            match outcome {
                Outcome::Answered(task) => return task,
                Outcome::Again if caller.is_forwarded() => return Err(Error::NotOwner.into()),
                Outcome::Again => {
                    // An owner that let us wait was one. The time without an owner counts from its end.
                    if asked.elapsed() >= routes.wait_max() {
                        until = None;
                    }
                    routes.refused(*until.get_or_insert_with(|| caller.until(routes.wait_max()))).await?;
                }
            }
        }
    }

    async fn wait_here(&self, home: &Arc<Home>, id: TaskId, end: Instant) -> Result<Outcome<Task>, Error> {
        let mut topic = self.deps.hub.follow(id)?; // first, so that an end in between is heard
        if self.deps.routes.home(home.partition()).is_none() {
            return Ok(Outcome::Again); // it moved before we listened
        }
        let task = self.get(home, id).await?;
        if task.state().is_final() {
            return Ok(Outcome::Answered(Ok(task)));
        }
        let heard = tokio::select! {
            heard = topic.ended() => heard,
            () = tokio::time::sleep_until(end) => Heard::News,
            () = self.deps.closing.cancelled() => return Err(Error::ShuttingDown),
        };
        match heard {
            Heard::News => Ok(Outcome::Answered(Ok(self.get(home, id).await?))),
            Heard::Moved => Ok(Outcome::Again),
        }
    }
}

async fn wait_there(caller: &Caller, peer: &Peer, id: TaskId, end: Instant) -> Result<Task, Status> {
    let left = end.saturating_duration_since(Instant::now());
    let request = WaitTaskRequest { task_id: id.to_string(), timeout: left.try_into().ok() };
    let answer = peer.tasks().wait_task(caller.request(request)).await?.into_inner();
    answer.task.ok_or_else(|| Status::internal("the answer holds no task"))
}
