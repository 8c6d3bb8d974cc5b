//! Schedules: what fires becomes a task once, and the ledger says what became of every fire time.

mod ledger;
mod overlap;
mod refusals;
mod restarts;
mod workflows;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mcp_proto::scheduler::v1::{
    BackfillScheduleRequest, BackfillScheduleResponse, DeleteScheduleRequest, Fire, GetScheduleRequest,
    ListFiresRequest, ListTasksRequest, OverlapPolicy, PauseScheduleRequest, PutScheduleRequest, ResumeScheduleRequest,
    Schedule, Task, TaskSpec, TriggerScheduleRequest, schedule::Target, schedule_service_client::ScheduleServiceClient,
};
use tonic::{Status, transport::Channel};

use crate::support::{LIMIT, Scheduler, handler};

/// Far more often than any test waits, in the past only.
pub(crate) const HOURLY: &str = "0 * * * *";

/// Calls about one schedule, `default/s`.
pub(crate) struct Book(ScheduleServiceClient<Channel>);

impl Book {
    pub(crate) fn of(scheduler: &Scheduler) -> Self {
        Self(ScheduleServiceClient::new(scheduler.channel.clone()))
    }

    pub(crate) fn client(&self) -> ScheduleServiceClient<Channel> {
        self.0.clone()
    }

    pub(crate) async fn put(&self, schedule: Schedule) -> Schedule {
        self.try_put(schedule).await.unwrap()
    }

    pub(crate) async fn try_put(&self, schedule: Schedule) -> Result<Schedule, Status> {
        let request = PutScheduleRequest { schedule: Some(schedule) };
        self.client().put_schedule(request).await.map(|response| response.into_inner().schedule.unwrap())
    }

    pub(crate) async fn get(&self) -> Schedule {
        self.try_get().await.unwrap()
    }

    pub(crate) async fn try_get(&self) -> Result<Schedule, Status> {
        let request = GetScheduleRequest { name: "s".to_owned(), ..GetScheduleRequest::default() };
        self.client().get_schedule(request).await.map(|response| response.into_inner().schedule.unwrap())
    }

    pub(crate) async fn trigger(&self) -> Fire {
        let request = TriggerScheduleRequest { name: "s".to_owned(), ..TriggerScheduleRequest::default() };
        self.client().trigger_schedule(request).await.unwrap().into_inner().fire.unwrap()
    }

    pub(crate) async fn pause(&self) -> Schedule {
        let request = PauseScheduleRequest { name: "s".to_owned(), ..PauseScheduleRequest::default() };
        self.client().pause_schedule(request).await.unwrap().into_inner().schedule.unwrap()
    }

    pub(crate) async fn resume(&self) -> Schedule {
        let request = ResumeScheduleRequest { name: "s".to_owned(), ..ResumeScheduleRequest::default() };
        self.client().resume_schedule(request).await.unwrap().into_inner().schedule.unwrap()
    }

    pub(crate) async fn delete(&self) -> Result<(), Status> {
        let request = DeleteScheduleRequest { name: "s".to_owned(), ..DeleteScheduleRequest::default() };
        self.client().delete_schedule(request).await.map(drop)
    }

    pub(crate) async fn backfill(&self, start_ms: u64, end_ms: u64) -> Result<BackfillScheduleResponse, Status> {
        let request = BackfillScheduleRequest {
            name: "s".to_owned(),
            start_time: Some(time(start_ms)),
            end_time: Some(time(end_ms)),
            ..BackfillScheduleRequest::default()
        };
        self.client().backfill_schedule(request).await.map(tonic::Response::into_inner)
    }

    /// The whole ledger, in small pages.
    pub(crate) async fn fires(&self) -> Vec<Fire> {
        let mut request = ListFiresRequest { name: "s".to_owned(), page_size: 3, ..ListFiresRequest::default() };
        let mut fires = Vec::new();
        loop {
            let page = self.client().list_fires(request.clone()).await.unwrap().into_inner();
            fires.extend(page.fires);
            if page.next_page_token.is_empty() {
                return fires;
            }
            request.page_token = page.next_page_token;
        }
    }

    /// The ledger once it has so many entries.
    pub(crate) async fn fires_reach(&self, len: usize) -> Vec<Fire> {
        testkit::eventually(LIMIT, || async {
            let fires = self.fires().await;
            if fires.len() >= len { Ok(fires) } else { Err(format!("{} entries: {fires:?}", fires.len())) }
        })
        .await
    }
}

/// A schedule that never fires by itself while a test runs.
pub(crate) fn idle() -> Schedule {
    Schedule { cron: vec!["0 0 1 1 *".to_owned()], ..every_second() }
}

/// A schedule that fires each second.
pub(crate) fn every_second() -> Schedule {
    Schedule { name: "s".to_owned(), cron: vec!["* * * * * *".to_owned()], target: task(handler("h")), ..idle_base() }
}

fn idle_base() -> Schedule {
    Schedule { overlap: OverlapPolicy::AllowAll.into(), ..Schedule::default() }
}

pub(crate) fn task(spec: TaskSpec) -> Option<Target> {
    Some(Target::Task(spec))
}

pub(crate) fn time(unix_ms: u64) -> prost_types::Timestamp {
    let since = Duration::from_millis(unix_ms);
    prost_types::Timestamp {
        seconds: i64::try_from(since.as_secs()).unwrap(),
        nanos: i32::try_from(since.subsec_nanos()).unwrap(),
    }
}

pub(crate) fn now_ms() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

/// Every task there is.
pub(crate) async fn all_tasks(scheduler: &Scheduler) -> Vec<Task> {
    let mut request = ListTasksRequest { page_size: 500, ..ListTasksRequest::default() };
    let mut tasks = Vec::new();
    loop {
        let page = scheduler.client.clone().list_tasks(request.clone()).await.unwrap().into_inner();
        tasks.extend(page.tasks);
        if page.next_page_token.is_empty() {
            return tasks;
        }
        request.page_token = page.next_page_token;
    }
}
