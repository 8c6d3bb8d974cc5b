//! Retrying single tasks.

use mcp_proto::{
    TaskId,
    scheduler::v1::{RetryTaskRequest, RetryTaskResponse},
};
use tonic::{Response, Status};

use super::{Tasks, dead::Replaying};
use crate::routing::{Caller, Repeat};

impl Tasks {
    /// Submits a failed or cancelled task again.
    pub(super) async fn retry(
        &self,
        caller: &Caller,
        request: RetryTaskRequest,
    ) -> Result<Response<RetryTaskResponse>, Status> {
        let id: TaskId = request.task_id.parse()?;
        let routes = &self.deps.routes;
        routes
            .unary(
                routes.of_id(id),
                caller,
                request,
                Repeat::Allowed, // a repeat finds the task that the first one made
                |home, _| async move {
                    let replaying = Replaying { deps: &self.deps, home: &home, traceparent: caller.traceparent() };
                    Ok(RetryTaskResponse { task_id: replaying.task(id).await?.to_string() })
                },
                |peer, request| async move { peer.tasks().retry_task(request).await },
            )
            .await
    }
}
