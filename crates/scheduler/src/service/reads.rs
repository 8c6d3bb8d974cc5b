//! Reads of the store: on threads of their own and bounded, so that queries never hold up dispatch.

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::{config::Settings, error::Error, store};

/// The permits of reads.
#[derive(Debug, Clone)]
pub(crate) struct Reads {
    running: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

impl Reads {
    /// With the bounds of the settings.
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            running: Arc::new(Semaphore::new(settings.queries_max)),
            waiting: Arc::new(Semaphore::new(settings.queries_max + settings.queries_waiting_max)),
        }
    }

    /// Reads something.
    ///
    /// # Errors
    /// [`Error::Overloaded`], or what the store says.
    ///
    /// # Cancellation
    /// The read goes on to its end and is forgotten.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce() -> Result<T, store::Error> + Send + 'static,
    ) -> Result<T, Error> {
        let _place = self.waiting.try_acquire().map_err(|_| Error::Overloaded { what: "queries" })?;
        let permit = Arc::clone(&self.running).acquire_owned().await.map_err(|_| Error::ShuttingDown)?;
        let reading = tokio::task::spawn_blocking(move || {
            let _permit = permit; // until the read is over, not until the caller goes away
            read()
        });
        match reading.await {
            Ok(read) => Ok(read?),
            Err(error) => Err(Error::Refused(mcp_proto::Error::internal(error))),
        }
    }
}
