//! One connection: how its session is set up, its prepared statements, and several statements in one flush.

use std::{collections::HashMap, future::poll_fn, pin::Pin, task::Poll, time::Duration};

use tokio::runtime::Handle;
use tokio_postgres::{Client, Config, Error, NoTls, Row, Statement, types::ToSql};

/// Parameters of a statement.
pub(super) type Params<'a> = &'a [&'a (dyn ToSql + Sync)];

/// A connection and what it has prepared.
pub(super) struct Connection {
    client: Client,
    statements: HashMap<&'static str, Statement>,
}

impl Connection {
    /// Connects and sets the session up. `timeout` is how long the server may work on one statement, wait for a lock,
    /// or wait for us inside a transaction.
    pub(super) async fn open(config: &Config, handle: &Handle, schema: &str, timeout: Duration) -> Result<Self, Error> {
        // TLS would be given here, in place of `NoTls`; a URL that asks for it is refused until then.
        let (client, connection) = config.connect(NoTls).await?;
        handle.spawn(async move {
            // Ends when the client is dropped. An error has been given to whoever waited.
            if let Err(error) = connection.await {
                tracing::debug!(error = &error as &dyn std::error::Error, "connection to PostgreSQL lost");
            }
        });
        let millis = timeout.as_millis().max(1);
        // What the planner is told: take the index. Batches and tables that grow within minutes mislead its statistics,
        // and then it reads whole tables or hashes them.
        client
            .batch_execute(&format!(
                "SET search_path TO \"{schema}\";
                 SET synchronous_commit TO on;
                 SET statement_timeout TO {millis};
                 SET lock_timeout TO {millis};
                 SET idle_in_transaction_session_timeout TO {millis};
                 SET plan_cache_mode TO force_generic_plan;
                 SET enable_seqscan TO off;
                 SET enable_bitmapscan TO off;
                 SET enable_hashjoin TO off;
                 SET enable_mergejoin TO off;
                 SET jit TO off"
            ))
            .await?;
        Ok(Self { client, statements: HashMap::new() })
    }

    /// The session, for what needs no prepared statement.
    pub(super) fn client(&mut self) -> &mut Client {
        &mut self.client
    }

    pub(super) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// Prepares what is not prepared yet, all in one flush.
    pub(super) async fn prepare(&mut self, wanted: &[&'static str]) -> Result<(), Error> {
        let missing: Vec<_> = wanted.iter().filter(|sql| !self.statements.contains_key(*sql)).copied().collect();
        let client = &self.client;
        let prepared = in_order(missing.iter().map(|sql| client.prepare(sql)).collect()).await;
        for (sql, statement) in missing.into_iter().zip(prepared) {
            self.statements.insert(sql, statement?);
        }
        Ok(())
    }

    /// Sends statements in one flush, and gives their results in order. Each must be prepared.
    pub(super) async fn pipeline(&self, calls: &[(&'static str, Params<'_>)]) -> Vec<Result<u64, Error>> {
        let mut sent = Vec::with_capacity(calls.len());
        for (sql, params) in calls {
            sent.push(self.client.execute(&self.statements[sql], params));
        }
        in_order(sent).await
    }

    /// Runs one statement; returns how many rows it changed.
    pub(super) async fn execute(&mut self, sql: &'static str, params: Params<'_>) -> Result<u64, Error> {
        self.prepare(&[sql]).await?;
        self.client.execute(&self.statements[sql], params).await
    }

    /// Runs one query.
    pub(super) async fn query(&mut self, sql: &'static str, params: Params<'_>) -> Result<Vec<Row>, Error> {
        self.prepare(&[sql]).await?;
        self.client.query(&self.statements[sql], params).await
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("statements", &self.statements.len()).finish_non_exhaustive()
    }
}

/// Runs all, the first polls in order: a statement is sent at its first poll, so they are sent in this order.
async fn in_order<F: Future>(calls: Vec<F>) -> Vec<F::Output> {
    let mut calls: Vec<Pin<Box<F>>> = calls.into_iter().map(Box::pin).collect();
    let mut outputs: Vec<Option<F::Output>> = calls.iter().map(|_| None).collect();
    poll_fn(|context| {
        for (call, output) in calls.iter_mut().zip(&mut outputs) {
            if output.is_none()
                && let Poll::Ready(ready) = call.as_mut().poll(context)
            {
                *output = Some(ready);
            }
        }
        if outputs.iter().all(Option::is_some) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    outputs.into_iter().flatten().collect()
}
