//! The queue in PostgreSQL.

use std::time::Duration;

use apalis::prelude::*;
use apalis_postgres::{Config, PostgresStorage};
use sqlx::{PgPool, postgres::PgPoolOptions};

use crate::{
    queue::{FETCH, Job, QUEUE, Queue, handle},
    setting,
    steady::Steady,
};

/// Connections of a process.
const CONNECTIONS: u32 = 16;

/// How often an idle worker looks for tasks that it was not told of by NOTIFY.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A submitter's view of the queue.
#[derive(Clone)]
pub(crate) struct Postgres {
    storage: PostgresStorage<Job>,
    pool: PgPool,
}

impl Postgres {
    /// Connects to the server of the harness and makes the tables anew.
    pub(crate) async fn connect() -> anyhow::Result<Self> {
        let pool = connect().await?;
        sqlx::query("DROP SCHEMA IF EXISTS apalis CASCADE").execute(&pool).await?;
        sqlx::query("DROP TABLE IF EXISTS _sqlx_migrations").execute(&pool).await?;
        PostgresStorage::setup(&pool).await?;
        Ok(Self { storage: PostgresStorage::new(&pool).with_config(config()), pool })
    }
}

impl Queue for Postgres {
    const BACKLOG_MAX: Option<u64> = None;

    async fn push(&mut self, job: Job) -> anyhow::Result<()> {
        Ok(self.storage.push(job).await?)
    }

    async fn push_bulk(&mut self, jobs: Vec<Job>) -> anyhow::Result<()> {
        Ok(self.storage.push_bulk(jobs).await?)
    }

    async fn completed(&mut self) -> anyhow::Result<u64> {
        let query = sqlx::query_scalar::<_, i64>("SELECT count(*) FROM apalis.jobs WHERE status = 'Done'");
        Ok(query.fetch_one(&self.pool).await?.try_into()?)
    }

    async fn reset(&mut self) -> anyhow::Result<()> {
        sqlx::query("TRUNCATE apalis.jobs, apalis.workers CASCADE").execute(&self.pool).await?;
        Ok(())
    }
}

/// Runs the worker until it is ended from outside.
pub(crate) async fn work() -> anyhow::Result<()> {
    let storage: PostgresStorage<Job> = PostgresStorage::new(&connect().await?).with_config(config());
    let backend = storage.with_pubsub().poll_with_strategy(Steady::new(LOOK_EVERY));
    WorkerBuilder::new("worker").backend(backend).parallelize(tokio::spawn).build(handle).run().await?;
    Ok(())
}

async fn connect() -> anyhow::Result<PgPool> {
    Ok(PgPoolOptions::new().max_connections(CONNECTIONS).connect(&setting("PEER_POSTGRES")?).await?)
}

fn config() -> Config {
    Config::default().queue(QUEUE).batch_size(FETCH)
}
