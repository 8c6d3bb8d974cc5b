//! Queues and their dead letters.

use mcp_proto::{
    Error,
    scheduler::v1::{
        DrainQueueRequest, GetQueueRequest, GetQueueScalingRequest, GetQueueScalingResponse, ListDeadLettersRequest,
        ListDeadLettersResponse, ListQueuesRequest, ListQueuesResponse, PauseQueueRequest, PurgeDeadLettersRequest,
        PurgeDeadLettersResponse, Queue, QueueRules, ReplayDeadLettersRequest, ReplayDeadLettersResponse,
        ResumeQueueRequest, SetQueueRulesRequest,
    },
};

use super::{
    Client,
    call::{partition_key, present},
};

impl Client {
    /// Reads one queue: its rules, its state, what it holds. One that nobody ever used is empty.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for a name that cannot be one, and those of every call.
    pub async fn queue(&self, namespace: &str, queue: &str) -> Result<Queue, Error> {
        let call = self.read_at(&partition_key(namespace, queue));
        let request = GetQueueRequest { namespace: namespace.to_owned(), queue: queue.to_owned() };
        let answer = call.unary(request, |request| async { self.queues.clone().get_queue(request).await }).await?;
        present(answer.queue, "queue")
    }

    /// Lists every queue that holds tasks or has rules, of one namespace or, when that is empty, of all.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn queues(&self, namespace: &str) -> Result<ListQueuesResponse, Error> {
        let request = ListQueuesRequest { namespace: namespace.to_owned() };
        self.read().unary(request, |request| async { self.queues.clone().list_queues(request).await }).await
    }

    /// Replaces the rules of a queue; what is not set is not bounded.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT`, and those of every call.
    pub async fn set_queue_rules(&self, namespace: &str, queue: &str, rules: QueueRules) -> Result<Queue, Error> {
        let call = self.read_at(&partition_key(namespace, queue));
        let (namespace, queue) = (namespace.to_owned(), queue.to_owned());
        let request = SetQueueRulesRequest { namespace, queue, rules: Some(rules) };
        let answer =
            call.unary(request, |request| async { self.queues.clone().set_queue_rules(request).await }).await?;
        present(answer.queue, "queue")
    }

    /// Stops the dispatch of a queue's tasks. What runs goes on, and submits are taken.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn pause_queue(&self, namespace: &str, queue: &str) -> Result<Queue, Error> {
        let call = self.read_at(&partition_key(namespace, queue));
        let request = PauseQueueRequest { namespace: namespace.to_owned(), queue: queue.to_owned() };
        let answer = call.unary(request, |request| async { self.queues.clone().pause_queue(request).await }).await?;
        present(answer.queue, "queue")
    }

    /// Refuses further submits to a queue. What is there is run.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn drain_queue(&self, namespace: &str, queue: &str) -> Result<Queue, Error> {
        let call = self.read_at(&partition_key(namespace, queue));
        let request = DrainQueueRequest { namespace: namespace.to_owned(), queue: queue.to_owned() };
        let answer = call.unary(request, |request| async { self.queues.clone().drain_queue(request).await }).await?;
        present(answer.queue, "queue")
    }

    /// Ends a pause and a drain.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn resume_queue(&self, namespace: &str, queue: &str) -> Result<Queue, Error> {
        let call = self.read_at(&partition_key(namespace, queue));
        let request = ResumeQueueRequest { namespace: namespace.to_owned(), queue: queue.to_owned() };
        let answer = call.unary(request, |request| async { self.queues.clone().resume_queue(request).await }).await?;
        present(answer.queue, "queue")
    }

    /// Tells how many workers a queue needs.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn queue_scaling(&self, request: GetQueueScalingRequest) -> Result<GetQueueScalingResponse, Error> {
        let call = self.read_at(&partition_key(&request.namespace, &request.queue));
        call.unary(request, |request| async { self.queues.clone().get_queue_scaling(request).await }).await
    }

    /// Lists one page of the tasks of a queue that were given up, the oldest first.
    ///
    /// # Errors
    /// `INVALID_PAGE_TOKEN`, `INVALID_ARGUMENT`, and those of every call.
    pub async fn dead_letters(&self, request: ListDeadLettersRequest) -> Result<ListDeadLettersResponse, Error> {
        let call = self.read_at(&partition_key(&request.namespace, &request.queue));
        call.unary(request, |request| async { self.queues.clone().list_dead_letters(request).await }).await
    }

    /// Submits dead letters again, as new tasks, and takes them off the list; call again while there are more.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for a filter that names nothing, and those of every call. After `DEADLINE_EXCEEDED`,
    /// `UPSTREAM_FAILED` or `OUTCOME_UNKNOWN` some may have been replayed: they are not on the list any more.
    pub async fn replay_dead_letters(
        &self,
        request: ReplayDeadLettersRequest,
    ) -> Result<ReplayDeadLettersResponse, Error> {
        let call = self.write_at(&partition_key(&request.namespace, &request.queue));
        call.unary(request, |request| async { self.queues.clone().replay_dead_letters(request).await }).await
    }

    /// Takes dead letters off the list for good; call again while there are more.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for a filter that names nothing, and those of every call.
    pub async fn purge_dead_letters(
        &self,
        request: PurgeDeadLettersRequest,
    ) -> Result<PurgeDeadLettersResponse, Error> {
        let call = self.write_at(&partition_key(&request.namespace, &request.queue));
        call.unary(request, |request| async { self.queues.clone().purge_dead_letters(request).await }).await
    }
}
