//! The queue in Redis.

use std::time::Duration;

use apalis::prelude::*;
use apalis_redis::{Config, ConnectionManager, RedisStorage};

use crate::{
    queue::{FETCH, Job, QUEUE, Queue, handle},
    setting,
    steady::Steady,
};

/// How often an idle worker looks for tasks: it is not told of new ones.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// A submitter's view of the queue.
#[derive(Clone)]
pub(crate) struct Redis {
    storage: RedisStorage<Job>,
    connection: ConnectionManager,
}

impl Redis {
    /// Connects to the server of the harness.
    pub(crate) async fn connect() -> anyhow::Result<Self> {
        let connection = connect().await?;
        let storage = RedisStorage::new(connection.clone()).with_config(config());
        Ok(Self { storage, connection })
    }
}

impl Queue for Redis {
    // With some 8,000 due tasks the worker's fetch script fails: "too many results to unpack".
    const BACKLOG_MAX: Option<u64> = Some(5_000);

    async fn push(&mut self, job: Job) -> anyhow::Result<()> {
        Ok(self.storage.push(job).await?)
    }

    async fn push_bulk(&mut self, jobs: Vec<Job>) -> anyhow::Result<()> {
        Ok(self.storage.push_bulk(jobs).await?)
    }

    async fn completed(&mut self) -> anyhow::Result<u64> {
        Ok(redis::cmd("SCARD").arg(config().done_jobs_set()).query_async(&mut self.connection).await?)
    }

    async fn reset(&mut self) -> anyhow::Result<()> {
        Ok(redis::cmd("FLUSHALL").query_async(&mut self.connection).await?)
    }
}

/// Runs the worker until it is ended from outside.
pub(crate) async fn work() -> anyhow::Result<()> {
    let storage: RedisStorage<Job> = RedisStorage::new(connect().await?).with_config(config());
    let backend = storage.poll_with_strategy(Steady::new(LOOK_EVERY));
    WorkerBuilder::new("worker").backend(backend).parallelize(tokio::spawn).build(handle).run().await?;
    Ok(())
}

async fn connect() -> anyhow::Result<ConnectionManager> {
    let port = setting("PEER_REDIS_PORT")?;
    Ok(apalis_redis::connect(format!("redis://127.0.0.1:{port}/0")).await?)
}

fn config() -> Config {
    Config::default().queue(QUEUE).batch_size(FETCH)
}
