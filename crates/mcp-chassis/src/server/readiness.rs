//! Whether a service wants calls.

use std::sync::Arc;

use tokio::sync::watch;

/// A handle that says whether the service wants calls; clones share the state.
///
/// It drives `/readyz` and gRPC health. An instance is registered when it is ready for the first time.
#[derive(Debug, Clone)]
pub struct Readiness(Arc<watch::Sender<bool>>);

impl Default for Readiness {
    /// Not ready.
    fn default() -> Self {
        Self::new(false)
    }
}

impl Readiness {
    /// A handle in the given state.
    pub fn new(ready: bool) -> Self {
        Self(Arc::new(watch::Sender::new(ready)))
    }

    /// Says whether calls are wanted from now on.
    pub fn set_ready(&self, ready: bool) {
        self.0.send_if_modified(|now| std::mem::replace(now, ready) != ready);
    }

    /// Whether calls are wanted.
    pub fn is_ready(&self) -> bool {
        *self.0.borrow()
    }

    /// Follows the state.
    pub fn subscribe(&self) -> watch::Receiver<bool> {
        self.0.subscribe()
    }
}
