//! What can be chosen.

use std::{env, path::PathBuf};

use scheduler::config::DatabaseUrl;

/// How to run the services.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where the data lies.
    pub data: Data,
    /// Port of the gateway on 127.0.0.1; 0 takes a free one.
    pub port: u16,
    /// Port of the wire frame on 127.0.0.1; 0 takes a free one.
    pub frame_port: u16,
    /// The database that keeps the tasks; `None` keeps them in the data folder. What the services own lies in the folder
    /// either way.
    pub postgres: Option<DatabaseUrl>,
    /// The worker.
    pub worker: WorkerOptions,
}

/// What the worker is like.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WorkerOptions {
    /// Tasks that it runs at the same time; `None` leaves it to the worker.
    pub slots: Option<usize>,
    /// Its labels, each `key=value`.
    pub labels: Vec<String>,
    /// Its taints, each `key=value` or `key`.
    pub taints: Vec<String>,
    /// CPU for tasks, in thousandths of a core; 0 means it is not counted.
    pub cpu_millis: u32,
    /// Memory for tasks, in bytes; 0 means it is not counted.
    pub memory_bytes: u64,
}

/// Where the data lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Data {
    /// In this folder, which is made when it is missing. Tasks and revisions survive a restart.
    Folder(PathBuf),
    /// In a temporary folder that is removed at the end.
    Ephemeral,
}

impl Options {
    /// Temporary data and a free port: for tests and benchmarks.
    pub fn ephemeral() -> Self {
        Self { data: Data::Ephemeral, port: 0, frame_port: 0, postgres: None, worker: WorkerOptions::default() }
    }
}

impl Data {
    /// The folder for whoever names none: `mcp/dev` in `$XDG_DATA_HOME` or `~/.local/share`, else in the current one.
    pub fn default_folder() -> PathBuf {
        let set = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let share = set("XDG_DATA_HOME").or_else(|| set("HOME").map(|home| home.join(".local/share")));
        share.map_or_else(|| PathBuf::from("mcp-data"), |share| share.join("mcp").join("dev"))
    }
}
