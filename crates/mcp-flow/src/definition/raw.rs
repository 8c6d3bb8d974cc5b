//! Workflows as they are submitted.

use serde::{Deserialize, Serialize};

use crate::{json::Json, time::Millis};

/// A workflow as it was submitted: nothing of it was checked.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct RawDefinition {
    /// Name for people, at most 200 bytes.
    #[serde(default)]
    pub name: String,
    /// The nodes of the graph, 1 to 10,000.
    pub steps: Vec<RawStep>,
    /// Runs when the workflow is about to fail, after every other step has ended. Has no dependencies.
    #[serde(default)]
    pub on_failure: Option<RawStep>,
    /// CEL expression for the output. Empty means: the outputs of the steps that nothing depends on, by name.
    #[serde(default)]
    pub output: String,
    /// How long the whole may take, at most 366 days. None means for ever.
    #[serde(default)]
    pub timeout: Option<Millis>,
}

/// A step as it was submitted.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct RawStep {
    /// Unique name: a letter or `_`, then at most 62 of `a-zA-Z0-9_`.
    pub name: String,
    /// The step's task as proto3-JSON of a `TaskSpec`; strings below `process` and `handler.input` may hold templates.
    pub task: Json,
    /// Names of the steps that must have ended before.
    #[serde(default)]
    pub depends_on: Vec<String>,
    /// CEL condition; empty means: every step it depends on succeeded or was skipped.
    #[serde(default)]
    pub condition: String,
    /// CEL expression for a list to run it for each item of; empty means: it runs once.
    #[serde(default)]
    pub for_each: String,
    /// Items that may run at a time; 0 means all.
    #[serde(default)]
    pub parallel_max: u32,
    /// What a failure of it means.
    #[serde(default)]
    pub failure_mode: FailureMode,
}

/// What a step's failure means for its workflow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum FailureMode {
    /// The workflow fails; steps that have not started do not start.
    #[default]
    Fail,
    /// The workflow goes on: what depends on the step decides by its condition, or is skipped when it has none.
    Continue,
}

/// Something that is wrong with a definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Path of the field from the request's root: `workflow.steps[3].condition`.
    pub field: String,
    /// What is wrong with it and what is expected.
    pub description: String,
}
