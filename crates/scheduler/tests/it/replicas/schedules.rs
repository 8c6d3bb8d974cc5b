//! Schedules whose queues belong to another replica: each fire time starts one task, and its end is heard.

use std::collections::{BTreeMap, HashSet};

use mcp_proto::scheduler::v1::{
    Fire, FireOutcome, GetScheduleRequest, ListFiresRequest, ListTasksRequest, OverlapPolicy, PauseScheduleRequest,
    PutScheduleRequest, Schedule, TriggerScheduleRequest, schedule::Target,
    schedule_service_client::ScheduleServiceClient,
};
use testkit::eventually;
use tonic::transport::Channel;

use super::{
    fleet::{Fleet, LONG_LEASE, SHORT_LEASE, SOON, queue_of, task_in},
    load::Crew,
};
use crate::support::unix_ms;

/// Attempts of a task whose worker was told of it, and whose scheduler died before anybody else knew.
const RUNS_MAX: usize = 3;

/// A schedule, asked through one replica.
struct Book {
    name: String,
    client: ScheduleServiceClient<Channel>,
}

impl Book {
    /// One that lives in a partition: names of schedules are spread as those of queues.
    async fn of(fleet: &Fleet, through: &str, partition: u16) -> Self {
        let client = ScheduleServiceClient::connect(fleet.url(through)).await.unwrap();
        Self { name: queue_of(partition), client }
    }

    async fn put(&self, schedule: Schedule) {
        let schedule = Some(Schedule { name: self.name.clone(), ..schedule });
        self.client.clone().put_schedule(PutScheduleRequest { schedule }).await.unwrap();
    }

    async fn trigger(&self) -> Fire {
        let request = TriggerScheduleRequest { name: self.name.clone(), ..TriggerScheduleRequest::default() };
        self.client.clone().trigger_schedule(request).await.unwrap().into_inner().fire.unwrap()
    }

    async fn pause(&self) {
        let request = PauseScheduleRequest { name: self.name.clone(), ..PauseScheduleRequest::default() };
        self.client.clone().pause_schedule(request).await.unwrap();
    }

    async fn fires(&self) -> Vec<Fire> {
        let request = ListFiresRequest { name: self.name.clone(), page_size: 500, ..ListFiresRequest::default() };
        self.client.clone().list_fires(request).await.unwrap().into_inner().fires
    }

    async fn fires_reach(&self, len: usize) {
        eventually(SOON, || async {
            let fires = self.fires().await.len();
            if fires >= len { Ok(()) } else { Err(format!("{fires} of {len} entries")) }
        })
        .await;
    }

    /// Waits until everything that it started is over, as far as it knows.
    async fn rests(&self) {
        eventually(SOON, || async {
            let request = GetScheduleRequest { name: self.name.clone(), ..GetScheduleRequest::default() };
            let schedule = self.client.clone().get_schedule(request).await.unwrap().into_inner().schedule.unwrap();
            if schedule.running.is_empty() { Ok(()) } else { Err(format!("{:?} run", schedule.running)) }
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_a_task_in_another_replica_makes_room_for_the_next() {
    let fleet = Fleet::start(&["a", "b"], LONG_LEASE).await;
    let crew = Crew::start(&fleet, 2).await;
    let (here, there) = (fleet.partition_of("a").await, fleet.partition_of("b").await);
    let book = Book::of(&fleet, "b", here).await;
    let target = Some(Target::Task(task_in(there, "count")));
    let cron = vec!["0 0 1 1 *".to_owned()];
    book.put(Schedule { cron, target, overlap: OverlapPolicy::Skip.into(), ..Schedule::default() }).await;
    for _ in 0..10 {
        let fire = book.trigger().await;
        assert_eq!(fire.outcome(), FireOutcome::Ran, "{fire:?}");
        book.rests().await;
        assert_eq!(crew.runs_of(&fire.task_id).len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_fire_time_is_forgotten_and_none_runs_twice_when_owners_crash() {
    let mut fleet = Fleet::start(&["a", "b", "c"], SHORT_LEASE).await;
    let crew = Crew::start(&fleet, 3).await;
    let (here, there) = (fleet.partition_of("b").await, fleet.partition_of("c").await);
    let book = Book::of(&fleet, "a", here).await;
    let target = Some(Target::Task(task_in(there, "count")));
    let cron = vec!["* * * * * *".to_owned()];
    book.put(Schedule { cron, target, overlap: OverlapPolicy::AllowAll.into(), ..Schedule::default() }).await;
    book.fires_reach(3).await;
    fleet.kill("b"); // the owner of the schedule
    fleet.taken_from("b").await;
    book.fires_reach(7).await;
    fleet.kill("c"); // the owner of the queue
    fleet.taken_from("c").await;
    book.fires_reach(14).await;
    book.pause().await;
    book.rests().await;

    let fires = book.fires().await;
    let mut decided: BTreeMap<i64, u32> = BTreeMap::new();
    for fire in &fires {
        assert_eq!(fire.outcome(), FireOutcome::Ran, "all within the catch-up window: {fire:?}");
        *decided.entry(unix_ms(fire.fire_time)).or_default() += 1;
    }
    let (first, last) = (*decided.keys().next().unwrap(), *decided.keys().last().unwrap());
    for time in (first..=last).step_by(1_000) {
        assert_eq!(decided.get(&time), Some(&1), "fire time {time}: {fires:#?}");
    }
    let tasks = fleet.client("a").list(ListTasksRequest { page_size: 500, ..Default::default() }).await.unwrap().tasks;
    let there: HashSet<_> = tasks.iter().map(|task| (task.id.as_str(), task.fire_time)).collect();
    let ran: HashSet<_> = fires.iter().map(|fire| (fire.task_id.as_str(), fire.fire_time)).collect();
    assert_eq!(there, ran, "each fire time has its task, and each task its fire time");
    for task in &tasks {
        let runs = crew.runs_of(&task.id).len();
        assert!((1..=RUNS_MAX).contains(&runs), "{} ran {runs} times", task.id);
    }
}
