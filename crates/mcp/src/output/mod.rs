//! What the command prints.

pub mod explain;
pub mod json;
pub mod key;
pub mod print;
pub mod queue;
pub mod route;
pub mod schedule;
pub mod table;
pub mod task;
pub mod workflow;
