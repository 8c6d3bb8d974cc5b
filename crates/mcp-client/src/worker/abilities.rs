//! What a worker can run.

use std::{collections::HashMap, fmt, sync::Arc};

use super::{executor::ProcessExecutor, handler::Handler};

/// The functions that were registered, and what runs programs.
#[derive(Default)]
pub(super) struct Abilities {
    pub(super) handlers: HashMap<String, Handler>,
    pub(super) processes: Option<Arc<dyn ProcessExecutor>>,
}

impl fmt::Debug for Abilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Abilities")
            .field("handlers", &self.handlers.keys())
            .field("processes", &self.processes)
            .finish()
    }
}

impl Abilities {
    /// The names of the functions, sorted.
    pub(super) fn handler_names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.handlers.keys().cloned().collect();
        names.sort_unstable();
        names
    }
}
