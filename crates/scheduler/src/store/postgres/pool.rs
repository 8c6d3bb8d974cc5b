//! The connections for reads and sweeps: a bounded number, made when needed, so that they never delay a commit.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::{runtime::Handle, sync::Semaphore, time::timeout};
use tokio_postgres::Config;

use super::{
    connection::Connection,
    failure::{failed, late},
};
use crate::store::{Error, PostgresSettings, error::unavailable};

/// The pool.
#[derive(Debug)]
pub(super) struct Pool {
    config: Config,
    settings: PostgresSettings,
    handle: Handle,
    permits: Semaphore,
    idle: Mutex<Vec<Connection>>,
}

impl Pool {
    pub(super) fn new(config: Config, settings: PostgresSettings, handle: Handle) -> Self {
        let permits = Semaphore::new(settings.pool_size);
        Self { config, settings, handle, permits, idle: Mutex::new(Vec::new()) }
    }

    /// Runs `call` on a connection within the read timeout. A connection on which it failed is given up: nobody
    /// knows what is under way on it.
    pub(super) async fn run<T>(
        &self,
        what: &'static str,
        call: impl AsyncFnOnce(&mut Connection) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let run = async {
            let _permit = self.permits.acquire().await.map_err(|error| unavailable(what, error))?;
            let idle = self.idle().pop();
            let mut connection = match idle.filter(|connection| !connection.is_closed()) {
                Some(connection) => connection,
                None => {
                    let PostgresSettings { schema, read_timeout, .. } = &self.settings;
                    Connection::open(&self.config, &self.handle, schema, *read_timeout).await.map_err(failed(what))?
                }
            };
            let result = call(&mut connection).await;
            if result.is_ok() {
                self.idle().push(connection);
            }
            result
        };
        timeout(self.settings.read_timeout, run).await.map_err(|_| late(what, self.settings.read_timeout))?
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
