//! Settings of the scheduler.

mod postgres;

use std::{path::PathBuf, time::Duration};

use mcp_chassis::{CoordSettings, ServiceConfig, ServiceSettings, TelemetrySettings, settings::Error};
use serde::{Deserialize, Serialize};

pub use self::postgres::{DatabaseUrl, Postgres, StoreKind};

/// Port on which a scheduler listens unless told otherwise.
pub const PORT: u16 = 7102;

/// Everything that can be set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// `[service]`
    pub service: ServiceSettings,
    /// `[coord]`
    pub coord: CoordSettings,
    /// `[telemetry]`
    pub telemetry: TelemetrySettings,
    /// `[scheduler]`
    pub scheduler: Settings,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            service: ServiceSettings::with_port(PORT),
            coord: CoordSettings::default(),
            telemetry: TelemetrySettings::default(),
            scheduler: Settings::default(),
        }
    }
}

impl ServiceConfig for Config {
    fn service(&self) -> &ServiceSettings {
        &self.service
    }

    fn coord(&self) -> &CoordSettings {
        &self.coord
    }

    fn telemetry(&self) -> &TelemetrySettings {
        &self.telemetry
    }

    fn validate(&self) -> Result<(), Error> {
        self.scheduler.validate()
    }
}

/// `[scheduler]`: the store, the limits of what is taken in, and the rules for workers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Where tasks are kept. Replicas that share a store share the work; an embedded one is for one replica at a time.
    pub store: StoreKind,
    /// `[scheduler.postgres]`: used when `store` is `postgres`.
    pub postgres: Postgres,
    /// Folder of the embedded store. One scheduler at a time has it open.
    pub data_dir: PathBuf,
    /// Block cache of the store, in bytes.
    pub store_cache_bytes: u64,
    /// Partitions of the cluster, a power of two, 1 to 256. The same for every scheduler of the cluster, for ever: queues are
    /// spread over them.
    pub partitions: u16,
    /// How long a call may wait while its partition has no owner, at most 5 min.
    #[serde(with = "humantime_serde")]
    pub route_wait: Duration,
    /// Calls that may wait like that at a time; more are refused as OVERLOADED.
    pub route_waiting_max: usize,
    /// Requests that may wait for the loop; more are refused as OVERLOADED.
    pub inbox_len_max: usize,
    /// Bytes of submitted tasks that may wait for the loop; more are refused as OVERLOADED.
    pub inbox_bytes_max: usize,
    /// Requests that are applied before a commit, at most.
    pub batch_requests_max: usize,
    /// Records that are gathered before a commit; the request that passes the limit is still part of it.
    pub batch_records_max: usize,
    /// Bytes of waiting tasks that are kept in memory, so that their dispatch reads nothing.
    pub payload_cache_bytes: usize,
    /// How long a worker without a session keeps its attempts, 1 s to 1 h.
    #[serde(with = "humantime_serde")]
    pub worker_lease: Duration,
    /// How often a worker is pinged; one that misses three is given up. 100 ms to 1 min.
    #[serde(with = "humantime_serde")]
    pub ping_interval: Duration,
    /// How much longer than its run timeout an attempt may be silent before it counts as timed out.
    #[serde(with = "humantime_serde")]
    pub run_timeout_grace: Duration,
    /// How often a task may be lost with its worker before it fails.
    pub lost_attempts_max: u32,
    /// Sessions at a time.
    pub sessions_max: usize,
    /// Free slots and running attempts that one worker may have.
    pub worker_slots_max: u32,
    /// Unfinished tasks in one queue.
    pub queue_len_max: usize,
    /// Unfinished tasks in all.
    pub tasks_max: usize,
    /// Queues that hold tasks.
    pub queues_max: usize,
    /// Unfinished workflows in all.
    pub workflows_max: usize,
    /// How long an idempotency key is remembered.
    #[serde(with = "humantime_serde")]
    pub idempotency_window: Duration,
    /// Idempotency keys in all; the oldest are forgotten first.
    pub idempotency_keys_max: usize,
    /// How long finished tasks and their logs are kept.
    #[serde(with = "humantime_serde")]
    pub retention: Duration,
    /// How long the ledgers of schedules are kept: what ran longer ago may run again in a backfill.
    #[serde(with = "humantime_serde")]
    pub ledger_retention: Duration,
    /// How often old tasks are looked for.
    #[serde(with = "humantime_serde")]
    pub sweep_interval: Duration,
    /// Bytes of log text that a task may write.
    pub log_bytes_max: u64,
    /// Lines that a task may log.
    pub log_lines_max: u64,
    /// Calls that may wait for a task's end or follow its log at a time.
    pub waiters_max: usize,
    /// Watches at a time.
    pub watches_max: usize,
    /// Groups of changes that a slow watch may lag behind before changes are dropped.
    pub watch_lag_max: usize,
    /// Reads of the store at a time; they have threads of their own, so that they never hold up dispatch.
    pub queries_max: usize,
    /// Reads that may wait for one of those; more are refused as OVERLOADED.
    pub queries_waiting_max: usize,
    /// Records that one page of a list looks at.
    pub list_scan_max: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            store: StoreKind::Embedded,
            postgres: Postgres::default(),
            data_dir: PathBuf::from("./data/scheduler"),
            store_cache_bytes: 64 * MIB_U64,
            partitions: 16,
            route_wait: Duration::from_secs(10),
            route_waiting_max: 10_000,
            inbox_len_max: 4_096,
            inbox_bytes_max: 256 * MIB,
            batch_requests_max: 1_024,
            batch_records_max: 10_000,
            payload_cache_bytes: 128 * MIB,
            worker_lease: Duration::from_secs(10),
            ping_interval: Duration::from_secs(2),
            run_timeout_grace: Duration::from_secs(5),
            lost_attempts_max: 5,
            sessions_max: 10_000,
            worker_slots_max: 20_000,
            queue_len_max: 2_000_000,
            tasks_max: 4_000_000,
            queues_max: 100_000,
            workflows_max: 100_000,
            idempotency_window: Duration::from_secs(24 * 3600),
            idempotency_keys_max: 1_000_000,
            retention: Duration::from_secs(7 * 24 * 3600),
            ledger_retention: Duration::from_secs(90 * 24 * 3600),
            sweep_interval: Duration::from_secs(30),
            log_bytes_max: 8 * MIB_U64,
            log_lines_max: 100_000,
            waiters_max: 50_000,
            watches_max: 1_000,
            watch_lag_max: 256,
            queries_max: 16,
            queries_waiting_max: 4_096,
            list_scan_max: 10_000,
        }
    }
}

const MIB: usize = 1024 * 1024;
const MIB_U64: u64 = 1024 * 1024;
/// Shortest and longest [`Settings::worker_lease`].
const WORKER_LEASE: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3600);
/// Shortest and longest [`Settings::ping_interval`].
const PING_INTERVAL: std::ops::RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(60);
/// Longest [`Settings::route_wait`].
const ROUTE_WAIT_MAX: Duration = Duration::from_secs(300);
/// Most bytes of an inbox: what a semaphore can count, in KiB.
const INBOX_BYTES_MAX: usize = 64 * 1024 * MIB;

impl Settings {
    /// Limits so small that tests reach them.
    pub fn tiny() -> Self {
        Self {
            inbox_len_max: 8,
            batch_requests_max: 4,
            batch_records_max: 8,
            payload_cache_bytes: 2_048,
            queue_len_max: 16,
            log_bytes_max: 256,
            log_lines_max: 8,
            waiters_max: 4,
            watches_max: 2,
            watch_lag_max: 1,
            list_scan_max: 8,
            ..Self::default()
        }
    }

    #[allow(clippy::result_large_err, reason = "the error of the trait; made at most once, at the start")]
    fn validate(&self) -> Result<(), Error> {
        let at_least_one = [
            ("scheduler.route_waiting_max", self.route_waiting_max),
            ("scheduler.inbox_len_max", self.inbox_len_max),
            ("scheduler.batch_requests_max", self.batch_requests_max),
            ("scheduler.batch_records_max", self.batch_records_max),
            ("scheduler.sessions_max", self.sessions_max),
            ("scheduler.queue_len_max", self.queue_len_max),
            ("scheduler.tasks_max", self.tasks_max),
            ("scheduler.queues_max", self.queues_max),
            ("scheduler.workflows_max", self.workflows_max),
            ("scheduler.waiters_max", self.waiters_max),
            ("scheduler.watches_max", self.watches_max),
            ("scheduler.watch_lag_max", self.watch_lag_max),
            ("scheduler.queries_max", self.queries_max),
            ("scheduler.list_scan_max", self.list_scan_max),
        ];
        if let Some((key, _)) = at_least_one.iter().find(|(_, value)| *value == 0) {
            return Err(Error::invalid(*key, "must be at least 1"));
        }
        if !mcp_proto::partition::is_count(self.partitions) {
            let reason = format!("{} is not a power of two between 1 and 256", self.partitions);
            return Err(Error::invalid("scheduler.partitions", reason));
        }
        self.postgres.validate(self.store)?;
        if self.route_wait > ROUTE_WAIT_MAX {
            let reason = format!("{:?} is longer than {ROUTE_WAIT_MAX:?}", self.route_wait);
            return Err(Error::invalid("scheduler.route_wait", reason));
        }
        if !WORKER_LEASE.contains(&self.worker_lease) {
            let reason = format!("{:?} is not between 1 s and 1 h", self.worker_lease);
            return Err(Error::invalid("scheduler.worker_lease", reason));
        }
        if !PING_INTERVAL.contains(&self.ping_interval) {
            let reason = format!("{:?} is not between 100 ms and 1 min", self.ping_interval);
            return Err(Error::invalid("scheduler.ping_interval", reason));
        }
        if !(mcp_proto::MESSAGE_BYTES_MAX..=INBOX_BYTES_MAX).contains(&self.inbox_bytes_max) {
            return Err(Error::invalid("scheduler.inbox_bytes_max", "must be 16 MiB to 64 GiB"));
        }
        if self.sweep_interval < Duration::from_millis(10) {
            return Err(Error::invalid("scheduler.sweep_interval", "must be at least 10 ms"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use mcp_chassis::ServiceConfig as _;

    use super::{Config, Settings};

    #[test]
    fn the_defaults_are_right_and_what_is_not_names_its_key() {
        Config::default().validate().unwrap();
        type Spoil = fn(&mut Settings);
        let fields: [(&str, Spoil); 7] = [
            ("scheduler.partitions", |settings| settings.partitions = 12),
            ("scheduler.route_wait", |settings| settings.route_wait = Duration::from_secs(301)),
            ("scheduler.inbox_len_max", |settings| settings.inbox_len_max = 0),
            ("scheduler.worker_lease", |settings| settings.worker_lease = Duration::from_millis(10)),
            ("scheduler.ping_interval", |settings| settings.ping_interval = Duration::ZERO),
            ("scheduler.inbox_bytes_max", |settings| settings.inbox_bytes_max = 1_000),
            ("scheduler.sweep_interval", |settings| settings.sweep_interval = Duration::ZERO),
        ];
        for (key, spoil) in fields {
            let mut config = Config::default();
            spoil(&mut config.scheduler);
            let error = config.validate().unwrap_err().to_string();
            assert!(error.contains(key), "{error}");
        }
    }
}
