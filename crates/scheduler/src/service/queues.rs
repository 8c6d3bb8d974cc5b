//! `QueueService`: check, ask the owner, answer.

use std::time::Duration;

use mcp_engine::QueueKey;
use mcp_proto::scheduler::v1::{
    DrainQueueRequest, DrainQueueResponse, GetQueueRequest, GetQueueResponse, GetQueueScalingRequest,
    GetQueueScalingResponse, ListDeadLettersRequest, ListDeadLettersResponse, ListQueuesRequest, ListQueuesResponse,
    PauseQueueRequest, PauseQueueResponse, PurgeDeadLettersRequest, PurgeDeadLettersResponse, Queue,
    ReplayDeadLettersRequest, ReplayDeadLettersResponse, ResumeQueueRequest, ResumeQueueResponse, SetQueueRulesRequest,
    SetQueueRulesResponse, queue_service_server::QueueService,
};
use tonic::{Request, Response, Status};

use super::{
    Deps,
    dead::{self, Replaying},
};
use crate::{
    routing::Repeat,
    shell::{QueueChange, QueueInfo, wire_time},
    validate,
};

/// `mcp.scheduler.v1.QueueService`.
#[derive(Debug, Clone)]
pub(crate) struct Queues {
    pub(super) deps: Deps,
}

impl Queues {
    /// The service.
    pub(crate) fn new(deps: Deps) -> Self {
        Self { deps }
    }

    /// The partition of a queue.
    pub(super) fn partition_of(&self, queue: &QueueKey) -> u16 {
        self.deps.routes.of_queue(&queue.namespace, &queue.queue)
    }
}

/// One call that changes a queue: all of them go to the owner, where the change is made.
macro_rules! change_queue {
    ($self:ident, $caller:ident, $message:ident, $queue:ident, $change:expr, $answer:ident, $there:ident) => {
        $self
            .deps
            .routes
            .unary(
                $self.partition_of(&$queue),
                &$caller,
                $message,
                Repeat::Allowed, // a repeat finds the queue as it is to be
                |home, _| {
                    let (queue, change) = ($queue.clone(), $change);
                    async move {
                        let info = home.change_queue(queue, change).await?;
                        Ok($answer { queue: Some(wire_queue(info)) })
                    }
                },
                |peer, request| async move { peer.queues().$there(request).await },
            )
            .await
    };
}

#[tonic::async_trait]
impl QueueService for Queues {
    async fn get_queue(&self, request: Request<GetQueueRequest>) -> Result<Response<GetQueueResponse>, Status> {
        let (caller, message) = self.deps.caller(request);
        let queue = validate::queue(&message.namespace, &message.queue)?;
        let routes = &self.deps.routes;
        routes
            .unary(
                self.partition_of(&queue),
                &caller,
                message,
                Repeat::Allowed,
                |home, _| {
                    let queue = queue.clone();
                    async move { Ok(GetQueueResponse { queue: Some(wire_queue(home.queue(queue).await?)) }) }
                },
                |peer, request| async move { peer.queues().get_queue(request).await },
            )
            .await
    }

    async fn list_queues(&self, request: Request<ListQueuesRequest>) -> Result<Response<ListQueuesResponse>, Status> {
        let (caller, message) = self.deps.caller(request);
        let namespace = validate::namespace(&message.namespace)?;
        Ok(Response::new(self.list(&caller, namespace).await?))
    }

    async fn set_queue_rules(
        &self,
        request: Request<SetQueueRulesRequest>,
    ) -> Result<Response<SetQueueRulesResponse>, Status> {
        let (caller, message) = self.deps.caller(request);
        let (queue, rules) = validate::queue_rules(&message.namespace, &message.queue, message.rules.clone())?;
        let change = QueueChange::Rules(Box::new(rules));
        change_queue!(self, caller, message, queue, change.clone(), SetQueueRulesResponse, set_queue_rules)
    }

    async fn pause_queue(&self, request: Request<PauseQueueRequest>) -> Result<Response<PauseQueueResponse>, Status> {
        let (caller, message) = self.deps.caller(request);
        let queue = validate::queue(&message.namespace, &message.queue)?;
        change_queue!(self, caller, message, queue, QueueChange::Pause, PauseQueueResponse, pause_queue)
    }

    async fn drain_queue(&self, request: Request<DrainQueueRequest>) -> Result<Response<DrainQueueResponse>, Status> {
        let (caller, message) = self.deps.caller(request);
        let queue = validate::queue(&message.namespace, &message.queue)?;
        change_queue!(self, caller, message, queue, QueueChange::Drain, DrainQueueResponse, drain_queue)
    }

    async fn resume_queue(
        &self,
        request: Request<ResumeQueueRequest>,
    ) -> Result<Response<ResumeQueueResponse>, Status> {
        let (caller, message) = self.deps.caller(request);
        let queue = validate::queue(&message.namespace, &message.queue)?;
        change_queue!(self, caller, message, queue, QueueChange::Resume, ResumeQueueResponse, resume_queue)
    }

    async fn get_queue_scaling(
        &self,
        request: Request<GetQueueScalingRequest>,
    ) -> Result<Response<GetQueueScalingResponse>, Status> {
        let (caller, message) = self.deps.caller(request);
        self.scaling(&caller, message).await
    }

    async fn list_dead_letters(
        &self,
        request: Request<ListDeadLettersRequest>,
    ) -> Result<Response<ListDeadLettersResponse>, Status> {
        let (caller, message) = self.deps.caller(request);
        let list = validate::dead_list(&message)?;
        let routes = &self.deps.routes;
        routes
            .unary(
                self.partition_of(&list.queue),
                &caller,
                message,
                Repeat::Allowed,
                |home, _| {
                    let list = list.clone();
                    async move { dead::list(&self.deps, &home, list).await }
                },
                |peer, request| async move { peer.queues().list_dead_letters(request).await },
            )
            .await
    }

    async fn replay_dead_letters(
        &self,
        request: Request<ReplayDeadLettersRequest>,
    ) -> Result<Response<ReplayDeadLettersResponse>, Status> {
        let (caller, message) = self.deps.caller(request);
        let (queue, filter) = validate::dead_filter(&message.namespace, &message.queue, message.filter.as_ref())?;
        let limit = validate::replay_limit(message.limit)?;
        let (routes, traceparent) = (&self.deps.routes, caller.traceparent());
        routes
            .unary(
                self.partition_of(&queue),
                &caller,
                message,
                Repeat::Allowed, // nothing is replayed twice
                |home, _| {
                    let (queue, filter) = (queue.clone(), filter.clone());
                    async move {
                        let replaying = Replaying { deps: &self.deps, home: &home, traceparent };
                        replaying.letters(queue, filter, limit).await
                    }
                },
                |peer, request| async move { peer.queues().replay_dead_letters(request).await },
            )
            .await
    }

    async fn purge_dead_letters(
        &self,
        request: Request<PurgeDeadLettersRequest>,
    ) -> Result<Response<PurgeDeadLettersResponse>, Status> {
        let (caller, message) = self.deps.caller(request);
        let (queue, filter) = validate::dead_filter(&message.namespace, &message.queue, message.filter.as_ref())?;
        let routes = &self.deps.routes;
        routes
            .unary(
                self.partition_of(&queue),
                &caller,
                message,
                Repeat::Allowed,
                |home, _| {
                    let (queue, filter) = (queue.clone(), filter.clone());
                    async move { dead::purge(&self.deps, &home, queue, filter).await }
                },
                |peer, request| async move { peer.queues().purge_dead_letters(request).await },
            )
            .await
    }
}

/// A queue for the wire.
pub(super) fn wire_queue(info: QueueInfo) -> Queue {
    let QueueInfo { queue, settings, stats, now } = info;
    let time = |unix_ms: u64| (unix_ms != 0).then(|| wire_time(unix_ms));
    let age = |due: u64| Duration::from_millis(now.saturating_sub(due)).try_into().ok();
    Queue {
        namespace: queue.namespace.to_string(),
        queue: queue.queue.to_string(),
        rules: Some(settings.rules.unwrap_or_default()),
        pause_time: time(settings.pause_ms),
        drain_time: time(settings.drain_ms),
        pending: stats.waiting as u64,
        scheduled: stats.scheduled as u64,
        running: stats.running as u64,
        retrying: stats.retrying as u64,
        oldest_age: stats.oldest_due.and_then(age),
    }
}
