//! The variables that every program gets. A task cannot set them.

/// Id of the task.
pub const TASK_ID: &str = "MCP_TASK_ID";
/// Number of the attempt, from 1.
pub const ATTEMPT: &str = "MCP_ATTEMPT";
/// Fencing token of the attempt, `epoch.sequence`: hand it to whatever the program writes to.
pub const FENCING_TOKEN: &str = "MCP_FENCING_TOKEN";
/// Path of the file into which the program may write its output, one JSON text of at most 1 MiB.
pub const OUTPUT: &str = "MCP_OUTPUT";
/// W3C trace context of the program's span, for programs that make spans of their own.
pub const TRACEPARENT: &str = "TRACEPARENT";
