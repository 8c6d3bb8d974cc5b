//! The client of the wire frame: calls, streams and topics over one connection to a gateway.
//!
//! A [`FrameClient`] keeps a connection up: it reconnects with exponential backoff and jitter, goes on with its session
//! when the server still has it, and subscribes again when it does not. With [`FrameClientBuilder::standby`] a second
//! connection is kept ready and takes over at once. Calls that were under way when a connection broke are answered by the
//! resumed session; where that fails, those that may be repeated are sent again and the others end with
//! `OUTCOME_UNKNOWN`.
//!
//! ```no_run
//! # async fn example() -> Result<(), mcp_proto::Error> {
//! use mcp_client::frame::{FrameClient, FrameRequest};
//!
//! let client = FrameClient::builder("mcp://127.0.0.1:7070").token("mcp_k1_secret").build()?;
//! let request = FrameRequest::method("/mcp.scheduler.v1.TaskService/GetTask").json_text(r#"{"taskId":"…"}"#);
//! let task: serde_json::Value = client.call(request).await?.json()?;
//!
//! let mut events = client.subscribe("tasks/default/#").await?;
//! while let Some(event) = events.next().await {
//!     println!("{}: {:?}", event.topic, event.body);
//! }
//! # Ok(()) }
//! ```
//!
//! What decides is apart from what does I/O: `pending` knows which answers are awaited and until when, `lanes` when and
//! where to connect, `topics` who gets an event; `link` is one connection, `driver` the loop around all of it.

mod address;
mod builder;
mod client;
mod driver;
mod inbox;
mod lanes;
mod link;
mod pending;
mod request;
mod stream;
mod topics;
mod waiter;

pub use address::DEFAULT_PORT;
pub use builder::FrameClientBuilder;
pub use client::FrameClient;
pub use request::{FrameRequest, FrameResponse};
pub use stream::{FrameEvent, FrameStream, FrameSubscription};
