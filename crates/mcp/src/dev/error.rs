//! Why the services cannot be started or stopped.

use std::{io, path::PathBuf, time::Duration};

/// One variant for each thing a caller can do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Something else listens on the gateway's port. Take another one.
    #[error("port {port} on 127.0.0.1 is in use")]
    PortInUse {
        /// The port.
        port: u16,
    },
    /// A port cannot be listened on.
    #[error("cannot listen on 127.0.0.1:{port}")]
    Listen {
        /// The port; 0 stands for any.
        port: u16,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Another process works on the same data. Stop it, or take another folder.
    #[error("the data folder {} is in use by process {owner}", folder.display())]
    FolderInUse {
        /// The folder.
        folder: PathBuf,
        /// Id of the process that has it.
        owner: String,
    },
    /// The data folder cannot be read or written.
    #[error("the data folder {} cannot be used", folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The data in the folder cannot be opened.
    #[error("the coordination data cannot be opened")]
    Coordination(#[source] mcp_coord::Error),
    /// A service ended by itself, at its start or later.
    #[error("the {service} failed: {reason}")]
    Service {
        /// Its name.
        service: &'static str,
        /// The chain of causes.
        reason: String,
    },
    /// The services did not get ready.
    #[error("not ready within {limit:?}: {state}")]
    NotReady {
        /// How long they had.
        limit: Duration,
        /// What was missing last.
        state: String,
    },
}

impl Error {
    /// What to do next, for people.
    pub fn next_step(&self) -> &'static str {
        match self {
            Self::PortInUse { .. } => "stop what listens there, or take another port: mcp dev --port 0",
            Self::Listen { .. } => "take another port: mcp dev --port 0",
            Self::FolderInUse { .. } => "stop that process, or take another folder: --data-dir DIR or --ephemeral",
            Self::Folder { .. } => "make the folder writable, or take another one: --data-dir DIR or --ephemeral",
            Self::Coordination(_) => "take another folder: --data-dir DIR or --ephemeral",
            Self::Service { .. } | Self::NotReady { .. } => "run again with --log info to see more",
        }
    }
}
