//! `PeerService`: what the owners of partitions ask of each other for schedules and workflows.

use mcp_proto::{
    Error as WireError, TaskId,
    scheduler::v1::{
        ReportStepRequest, ReportStepResponse, SubmitStepRequest, SubmitStepResponse, peer_service_server::PeerService,
    },
};
use prost::Message as _;
use tonic::{Request, Response, Status, metadata::MetadataMap};

use super::Deps;
use crate::{
    conductor::{Conduct, HandedOver, end_to_wire, ended_of, item_of_submit},
    routing::{Caller, Repeat},
    validate::Intake,
};

/// `mcp.scheduler.v1.PeerService`.
#[derive(Debug, Clone)]
pub(crate) struct Peers {
    deps: Deps,
}

impl Peers {
    /// The service.
    pub(crate) fn new(deps: Deps) -> Self {
        Self { deps }
    }

    /// A call that this replica makes by itself.
    pub(crate) fn own_call(&self, traceparent: &str) -> Caller {
        Caller::new(MetadataMap::new(), traceparent.to_owned())
    }

    /// Has the owner of its queue store the task.
    ///
    /// # Errors
    /// Its refusal, or there is no owner.
    pub(crate) async fn submit(
        &self,
        caller: &Caller,
        request: SubmitStepRequest,
    ) -> Result<SubmitStepResponse, Status> {
        let item = item_of_submit(&request)?;
        let id: TaskId = request.task_id.parse()?;
        let spec = request.task.clone().ok_or_else(|| WireError::invalid("task", "is missing"))?;
        if TaskId::home_of(&spec.namespace, &spec.queue) != id.home() {
            return Err(WireError::invalid("task_id", "does not belong to the queue of the task").into());
        }
        let routes = &self.deps.routes;
        let answer = routes
            .unary(
                routes.of_id(id),
                caller,
                request,
                Repeat::Allowed, // the owner knows the task by its id
                |home, request| {
                    let (item, spec) = (item.clone(), spec.clone());
                    async move {
                        let intake = Intake::new(&self.deps.settings, self.deps.clock.now(), &request.traceparent);
                        let task = intake.part_of(spec, &item.origin())?;
                        let bytes = task.len();
                        let handed = |reply| Conduct::Submit(HandedOver { id, task, reply });
                        let end = home.conduct(bytes, handed).await?;
                        Ok(SubmitStepResponse { end: end.map(end_to_wire).transpose()? })
                    }
                },
                |peer, request| async move { peer.peers().submit_step(request).await },
            )
            .await?;
        Ok(answer.into_inner())
    }

    /// Tells the owner of a schedule or a workflow how a task of it ended.
    ///
    /// # Errors
    /// There is no owner.
    pub(crate) async fn report(&self, caller: &Caller, request: ReportStepRequest) -> Result<(), Status> {
        let ended = ended_of(request.clone())?;
        let routes = &self.deps.routes;
        routes
            .unary(
                routes.of_home(ended.item.home()),
                caller,
                request,
                Repeat::Allowed,
                |home, request| {
                    let ended = ended.clone();
                    async move {
                        home.conduct(request.encoded_len(), |reply| Conduct::Report(ended, reply)).await?;
                        Ok(ReportStepResponse {})
                    }
                },
                |peer, request| async move { peer.peers().report_step(request).await },
            )
            .await
            .map(drop)
    }
}

#[tonic::async_trait]
impl PeerService for Peers {
    async fn submit_step(&self, request: Request<SubmitStepRequest>) -> Result<Response<SubmitStepResponse>, Status> {
        let (caller, request) = self.deps.caller(request);
        Ok(Response::new(Box::pin(self.submit(&caller, request)).await?))
    }

    async fn report_step(&self, request: Request<ReportStepRequest>) -> Result<Response<ReportStepResponse>, Status> {
        let (caller, request) = self.deps.caller(request);
        self.report(&caller, request).await?;
        Ok(Response::new(ReportStepResponse {}))
    }
}
