//! The worker SDK: a program that runs tasks.
//!
//! ```no_run
//! # async fn example(discovery: mcp_client::Discovery, stop: tokio_util::sync::CancellationToken) {
//! use mcp_client::worker::{AttemptContext, Schedulers, Worker};
//!
//! let worker = Worker::builder(Schedulers::Discovered(discovery))
//!     .slots(8)
//!     .handler("greet", |context: AttemptContext, input: serde_json::Value| async move {
//!         context.log("greeting").await;
//!         Ok(serde_json::json!({ "greeting": format!("hello {}", input["name"]) }))
//!     })
//!     .build();
//! worker.run(stop).await;
//! # }
//! ```
//!
//! A worker keeps one session, a bidirectional stream, with each scheduler replica. It grants credits, never more than
//! it has free slots, and gets at most that many attempts. Results are kept until the scheduler acknowledged them, and
//! repeated in the next session; running attempts go on while a session is broken and are claimed by the next one. The
//! rules of the protocol are in `mcp/worker/v1/worker_session_service.proto`.
//!
//! Inside, `book` is the state (pure, under one lock that is never held across an await), `hub` wakes who
//! waits for a change of it, `session` talks on one stream, `supervisor` opens and closes sessions as replicas come
//! and go and leads the drain, `runner` runs one attempt in one task.

mod abilities;
mod attempt;
mod book;
mod builder;
mod context;
mod executor;
mod handler;
mod hub;
mod options;
mod output;
mod queue;
mod runner;
mod session;
mod stop;
mod supervisor;

pub use attempt::FencingToken;
pub use builder::WorkerBuilder;
pub use context::AttemptContext;
pub use executor::{ProcessExecutor, ProcessOutcome};
pub use handler::HandlerError;
pub use options::{
    KEY_BYTES_MAX, LABELS_MAX, SLOTS_MAX, Schedulers, TAINTS_MAX, Taint, VALUE_BYTES_MAX, WorkerOptions,
};
pub use output::to_output;
pub use supervisor::Worker;

/// Largest output of a task, in bytes of its JSON text and of its form on the wire (1 MiB).
pub const OUTPUT_BYTES_MAX: usize = 1024 * 1024;

/// Longest line of a task's log, in bytes (16 KiB); longer ones are split.
pub const LOG_LINE_BYTES_MAX: usize = 16 * 1024;
