//! Workflows between the wire, the rules of `mcp-flow` and the store: forms only, no decisions.
//!
//! The rules speak JSON. [`json`] brings tasks, values and errors into it and back; [`plan`] does so with a whole
//! workflow; [`records`] is what the store keeps of a run; [`Brief`] and [`view`](mod@view) are what callers see of it.

mod brief;
pub(crate) mod json;
mod plan;
pub(crate) mod records;
mod view;

use mcp_flow::RunId;
use mcp_proto::TaskId;

pub(crate) use self::{
    brief::{Brief, RunStates, Showing},
    plan::{Extra, Fire, Plan, at_home, task_of},
    view::whole,
};

/// The rules' form of the id of a workflow.
pub(crate) fn run_id(id: TaskId) -> RunId {
    RunId(id.as_u128())
}

/// The wire's form of the id of a run.
pub(crate) fn workflow_id(run: RunId) -> TaskId {
    TaskId::from_u128(run.0)
}

/// The rules' form of the id of a task.
pub(crate) fn flow_task_id(id: TaskId) -> mcp_flow::TaskId {
    mcp_flow::TaskId(id.as_u128())
}

/// The wire's form of the id of a step's task.
pub(crate) fn wire_task_id(id: mcp_flow::TaskId) -> TaskId {
    TaskId::from_u128(id.0)
}
