//! The trace that an invocation began.

use mcp_client::trace::{trace_id_of, traceparent_of};
use tracing::Span;

use crate::output::print;

/// The trace id on standard error.
pub(super) fn print_trace() {
    if let Some(id) = trace_id() {
        print::note(format!("trace {id}"));
    }
}

/// The id of this invocation's trace.
pub(super) fn trace_id() -> Option<String> {
    trace_id_of(&traceparent_of(&Span::current())?)
}
