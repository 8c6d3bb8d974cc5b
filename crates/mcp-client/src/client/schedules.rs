//! Schedules and their ledgers.

use mcp_proto::{
    Error,
    scheduler::v1::{
        BackfillScheduleRequest, BackfillScheduleResponse, DeleteScheduleRequest, Fire, GetScheduleRequest,
        ListFiresRequest, ListFiresResponse, ListSchedulesRequest, ListSchedulesResponse, PauseScheduleRequest,
        PutScheduleRequest, ResumeScheduleRequest, Schedule, TriggerScheduleRequest,
    },
};

use super::{Client, call::present};

impl Client {
    /// Creates a schedule, or replaces it from now on, and returns it as it is then.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT`, and those of every call.
    pub async fn put_schedule(&self, schedule: Schedule) -> Result<Schedule, Error> {
        let request = PutScheduleRequest { schedule: Some(schedule) };
        let call = self.read();
        let answer =
            call.unary(request, |request| async { self.schedules.clone().put_schedule(request).await }).await?;
        present(answer.schedule, "schedule")
    }

    /// Reads one schedule.
    ///
    /// # Errors
    /// `SCHEDULE_NOT_FOUND`, and those of every call.
    pub async fn schedule(&self, namespace: &str, name: &str) -> Result<Schedule, Error> {
        let request = GetScheduleRequest { namespace: namespace.to_owned(), name: name.to_owned() };
        let call = self.read();
        let answer =
            call.unary(request, |request| async { self.schedules.clone().get_schedule(request).await }).await?;
        present(answer.schedule, "schedule")
    }

    /// Lists one page of schedules, by namespace and name.
    ///
    /// # Errors
    /// `INVALID_PAGE_TOKEN`, `INVALID_ARGUMENT`, and those of every call.
    pub async fn schedules(&self, request: ListSchedulesRequest) -> Result<ListSchedulesResponse, Error> {
        self.read().unary(request, |request| async { self.schedules.clone().list_schedules(request).await }).await
    }

    /// Ends a schedule. What it started goes on.
    ///
    /// # Errors
    /// `SCHEDULE_NOT_FOUND`, and those of every call.
    pub async fn delete_schedule(&self, namespace: &str, name: &str) -> Result<(), Error> {
        let request = DeleteScheduleRequest { namespace: namespace.to_owned(), name: name.to_owned() };
        let call = self.write();
        call.unary(request, |request| async { self.schedules.clone().delete_schedule(request).await }).await.map(drop)
    }

    /// Skips the fire times from now on.
    ///
    /// # Errors
    /// `SCHEDULE_NOT_FOUND`, and those of every call.
    pub async fn pause_schedule(&self, namespace: &str, name: &str) -> Result<Schedule, Error> {
        let request = PauseScheduleRequest { namespace: namespace.to_owned(), name: name.to_owned() };
        let call = self.read();
        let answer =
            call.unary(request, |request| async { self.schedules.clone().pause_schedule(request).await }).await?;
        present(answer.schedule, "schedule")
    }

    /// Ends a pause.
    ///
    /// # Errors
    /// `SCHEDULE_NOT_FOUND`, and those of every call.
    pub async fn resume_schedule(&self, namespace: &str, name: &str) -> Result<Schedule, Error> {
        let request = ResumeScheduleRequest { namespace: namespace.to_owned(), name: name.to_owned() };
        let call = self.read();
        let answer =
            call.unary(request, |request| async { self.schedules.clone().resume_schedule(request).await }).await?;
        present(answer.schedule, "schedule")
    }

    /// Starts a schedule once, now, and returns its entry in the ledger.
    ///
    /// # Errors
    /// `SCHEDULE_NOT_FOUND`, and those of every call. After `DEADLINE_EXCEEDED`, `UPSTREAM_FAILED` or `OUTCOME_UNKNOWN`
    /// the ledger tells whether it was started.
    pub async fn trigger_schedule(&self, namespace: &str, name: &str) -> Result<Fire, Error> {
        let request = TriggerScheduleRequest { namespace: namespace.to_owned(), name: name.to_owned() };
        let call = self.write();
        let answer =
            call.unary(request, |request| async { self.schedules.clone().trigger_schedule(request).await }).await?;
        present(answer.fire, "fire")
    }

    /// Starts a schedule for the fire times of a past range that did not run.
    ///
    /// # Errors
    /// `SCHEDULE_NOT_FOUND`, `INVALID_ARGUMENT`, and those of every call.
    pub async fn backfill_schedule(&self, request: BackfillScheduleRequest) -> Result<BackfillScheduleResponse, Error> {
        self.write().unary(request, |request| async { self.schedules.clone().backfill_schedule(request).await }).await
    }

    /// Lists one page of a schedule's ledger, by fire time, the oldest first.
    ///
    /// # Errors
    /// `SCHEDULE_NOT_FOUND`, `INVALID_PAGE_TOKEN`, `INVALID_ARGUMENT`, and those of every call.
    pub async fn fires(&self, request: ListFiresRequest) -> Result<ListFiresResponse, Error> {
        self.read().unary(request, |request| async { self.schedules.clone().list_fires(request).await }).await
    }
}
