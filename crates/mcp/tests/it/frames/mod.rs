//! The wire frame from end to end: its clients against a real gateway in front of real services.

mod client;
mod failover;
mod many;
mod python;

use serde_json::{Value, json};

/// A workflow of one step that runs a program.
pub(crate) fn workflow() -> Value {
    json!({"workflow": {"name": "one", "steps": [{"name": "only", "task": {"process": {"argv": ["true"]}}}]}})
}
