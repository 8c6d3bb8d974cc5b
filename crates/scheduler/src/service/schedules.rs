//! The calls of `ScheduleService`: check, ask the owner, answer.

use std::sync::Arc;

use mcp_cron::{Backfilled, ScheduleId};
use mcp_proto::scheduler::v1::{
    BackfillScheduleRequest, BackfillScheduleResponse, DeleteScheduleRequest, DeleteScheduleResponse,
    GetScheduleRequest, GetScheduleResponse, ListFiresRequest, ListFiresResponse, ListSchedulesRequest,
    ListSchedulesResponse, PauseScheduleRequest, PauseScheduleResponse, PutScheduleRequest, PutScheduleResponse,
    ResumeScheduleRequest, ResumeScheduleResponse, Schedule, TriggerScheduleRequest, TriggerScheduleResponse,
    schedule_service_server::ScheduleService,
};
use prost::Message as _;
use tonic::{Request, Response, Status};

use super::{Deps, fires::schedule_not_found, schedule_view};
use crate::{
    conductor::{Conduct, ScheduleCommand, home_of_schedule},
    error::Error,
    routing::{Caller, Peer, Repeat},
    shell::Home,
    validate::{self, NewSchedule},
};

/// What a command takes in the inbox, roughly.
const COMMAND_BYTES: usize = 1_024;
/// How often the ledger is read for one backfill, when the schedule is busy meanwhile.
const LEDGER_READS_MAX: usize = 8;

/// `mcp.scheduler.v1.ScheduleService`.
#[derive(Debug, Clone)]
pub(crate) struct Schedules {
    pub(super) deps: Deps,
}

impl Schedules {
    /// The service.
    pub(crate) fn new(deps: Deps) -> Self {
        Self { deps }
    }

    fn partition_of(&self, id: &ScheduleId) -> u16 {
        self.deps.routes.of_home(home_of_schedule(id.namespace(), id.name()))
    }

    /// Pauses or resumes a schedule at its owner, and answers with it. A repeat does no harm.
    async fn switched<M: Clone, A, There: Future<Output = Result<Response<A>, Status>>>(
        &self,
        caller: &Caller,
        id: &ScheduleId,
        request: M,
        is_paused: bool,
        answer: impl Fn(Schedule) -> A,
        there: impl Fn(Peer, Request<M>) -> There,
    ) -> Result<Response<A>, Status> {
        let answer = &answer;
        let here = |home: Arc<Home>, _| async move {
            let command = |reply| ScheduleCommand::SetPaused { id: id.clone(), is_paused, reply };
            let kept = home.conduct(COMMAND_BYTES, |reply| Conduct::Schedule(home.partition(), command(reply))).await?;
            Ok(answer(schedule_view::schedule(kept)))
        };
        self.deps.routes.unary(self.partition_of(id), caller, request, Repeat::Allowed, here, there).await
    }

    async fn backfill(&self, home: &Home, id: ScheduleId, from: u64, to: u64) -> Result<Backfilled, Error> {
        for _ in 0..LEDGER_READS_MAX {
            let known = self.deps.known(home, &id, from, to).await?;
            let id = id.clone();
            let command = |reply| ScheduleCommand::Backfill { id, from, to, known, reply };
            let done = home.conduct(COMMAND_BYTES, |reply| Conduct::Schedule(home.partition(), command(reply))).await?;
            if let Some(done) = done {
                return Ok(done);
            }
        }
        Err(Error::Overloaded { what: "runs of the schedule meanwhile" })
    }
}

#[tonic::async_trait]
impl ScheduleService for Schedules {
    async fn put_schedule(
        &self,
        request: Request<PutScheduleRequest>,
    ) -> Result<Response<PutScheduleResponse>, Status> {
        let (caller, request) = self.deps.caller(request);
        let bytes = request.encoded_len();
        let new = validate::schedule(request.schedule.clone())?;
        Box::pin(self.deps.routes.unary(
            self.partition_of(&new.id),
            &caller,
            request,
            Repeat::Allowed,
            |home, _| {
                let NewSchedule { id, rules, target } = new.clone();
                async move {
                    let command = |reply| ScheduleCommand::Put { id, rules: Box::new(rules), target, reply };
                    let put = |reply| Conduct::Schedule(home.partition(), command(reply));
                    let kept = home.conduct(bytes, put).await?;
                    Ok(PutScheduleResponse { schedule: Some(schedule_view::schedule(kept)) })
                }
            },
            |peer, request| async move { peer.schedules().put_schedule(request).await },
        ))
        .await
    }

    async fn get_schedule(
        &self,
        request: Request<GetScheduleRequest>,
    ) -> Result<Response<GetScheduleResponse>, Status> {
        let (caller, request) = self.deps.caller(request);
        let id = &validate::schedule_id(&request.namespace, &request.name)?;
        self.deps
            .routes
            .unary(
                self.partition_of(id),
                &caller,
                request,
                Repeat::Allowed,
                |home, _| async move {
                    let kept = self.deps.kept(&home, id).await?.ok_or_else(|| schedule_not_found(id))?;
                    Ok(GetScheduleResponse { schedule: Some(schedule_view::schedule(kept)) })
                },
                |peer, request| async move { peer.schedules().get_schedule(request).await },
            )
            .await
    }

    async fn list_schedules(
        &self,
        request: Request<ListSchedulesRequest>,
    ) -> Result<Response<ListSchedulesResponse>, Status> {
        let (caller, request) = self.deps.caller(request);
        let page = validate::list_schedules(&request)?;
        Ok(Response::new(self.list(&caller, page, request).await?))
    }

    async fn delete_schedule(
        &self,
        request: Request<DeleteScheduleRequest>,
    ) -> Result<Response<DeleteScheduleResponse>, Status> {
        let (caller, request) = self.deps.caller(request);
        let id = &validate::schedule_id(&request.namespace, &request.name)?;
        self.deps
            .routes
            .unary(
                self.partition_of(id),
                &caller,
                request,
                Repeat::Never, // it would find nothing
                |home, _| async move {
                    let command = |reply| ScheduleCommand::Delete { id: id.clone(), reply };
                    let delete = |reply| Conduct::Schedule(home.partition(), command(reply));
                    home.conduct(COMMAND_BYTES, delete).await?;
                    Ok(DeleteScheduleResponse {})
                },
                |peer, request| async move { peer.schedules().delete_schedule(request).await },
            )
            .await
    }

    async fn pause_schedule(
        &self,
        request: Request<PauseScheduleRequest>,
    ) -> Result<Response<PauseScheduleResponse>, Status> {
        let (caller, request) = self.deps.caller(request);
        let id = validate::schedule_id(&request.namespace, &request.name)?;
        let answer = |schedule| PauseScheduleResponse { schedule: Some(schedule) };
        let there = |peer: Peer, request| async move { peer.schedules().pause_schedule(request).await };
        self.switched(&caller, &id, request, true, answer, there).await
    }

    async fn resume_schedule(
        &self,
        request: Request<ResumeScheduleRequest>,
    ) -> Result<Response<ResumeScheduleResponse>, Status> {
        let (caller, request) = self.deps.caller(request);
        let id = validate::schedule_id(&request.namespace, &request.name)?;
        let answer = |schedule| ResumeScheduleResponse { schedule: Some(schedule) };
        let there = |peer: Peer, request| async move { peer.schedules().resume_schedule(request).await };
        self.switched(&caller, &id, request, false, answer, there).await
    }

    async fn trigger_schedule(
        &self,
        request: Request<TriggerScheduleRequest>,
    ) -> Result<Response<TriggerScheduleResponse>, Status> {
        let (caller, request) = self.deps.caller(request);
        let id = &validate::schedule_id(&request.namespace, &request.name)?;
        self.deps
            .routes
            .unary(
                self.partition_of(id),
                &caller,
                request,
                Repeat::Never, // it would start it again
                |home, _| async move {
                    let command = |reply| ScheduleCommand::Trigger { id: id.clone(), reply };
                    let trigger = |reply| Conduct::Schedule(home.partition(), command(reply));
                    let triggered = home.conduct(COMMAND_BYTES, trigger).await?;
                    let fire = schedule_view::triggered(triggered, self.deps.clock.now());
                    Ok(TriggerScheduleResponse { fire: Some(fire) })
                },
                |peer, request| async move { peer.schedules().trigger_schedule(request).await },
            )
            .await
    }

    async fn backfill_schedule(
        &self,
        request: Request<BackfillScheduleRequest>,
    ) -> Result<Response<BackfillScheduleResponse>, Status> {
        let (caller, request) = self.deps.caller(request);
        let (id, range) = &validate::backfill(&request)?;
        self.deps
            .routes
            .unary(
                self.partition_of(id),
                &caller,
                request,
                Repeat::Never, // its counts would be others
                |home, _| async move {
                    let done = self.backfill(&home, id.clone(), range.start, range.end).await?;
                    Ok(BackfillScheduleResponse { accepted: done.accepted, ran_before: done.ran_before })
                },
                |peer, request| async move { peer.schedules().backfill_schedule(request).await },
            )
            .await
    }

    async fn list_fires(&self, request: Request<ListFiresRequest>) -> Result<Response<ListFiresResponse>, Status> {
        let (caller, request) = self.deps.caller(request);
        let page = &validate::list_fires(&request)?;
        self.deps
            .routes
            .unary(
                self.partition_of(&page.id),
                &caller,
                request,
                Repeat::Allowed,
                |home, _| async move { self.deps.fires(&home, page.clone()).await },
                |peer, request| async move { peer.schedules().list_fires(request).await },
            )
            .await
    }
}
