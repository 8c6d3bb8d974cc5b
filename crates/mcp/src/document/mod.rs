//! Files in which people write workflows and schedules: YAML or JSON, in the shape of the HTTP API, with short forms.
//!
//! A file becomes a tree that knows its lines (`yaml`, `tree`), short forms are written out (`shorthand`), values brought into
//! the form of proto3 JSON (`shape`), and the result read as the message. A field that the message does not have is
//! refused, and whatever is wrong is told with its path and its line: here, and by the server, whose violations name
//! paths too.

mod gateway;
mod shape;
mod shorthand;
#[cfg(test)]
mod tests;
mod tree;
mod yaml;

use mcp_proto::scheduler::v1::{Schedule, WorkflowSpec};
use prost::Message as _;
use prost_reflect::{DeserializeOptions, DynamicMessage, MessageDescriptor};
use serde_json::Value;

pub use self::gateway::{Resource, resources};
use self::tree::{Kind, Node, way};
use crate::output::json::{Named, descriptor, descriptor_named};

/// Full name of a step's message.
const STEP: &str = "mcp.scheduler.v1.StepSpec";
/// Full name of a task's message.
const TASK: &str = "mcp.scheduler.v1.TaskSpec";
/// How prost-reflect begins the text of its error for a field that does not exist.
const UNKNOWN_FIELD: &str = "unrecognized field name '";

/// What is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The line, from 1, when it is known.
    pub line: Option<usize>,
    /// What is wrong, with the path of the field when there is one.
    pub why: String,
}

impl Fault {
    fn at(line: usize, why: impl Into<String>) -> Self {
        Self { line: Some(line), why: why.into() }
    }
}

/// A message out of a file, and where the file says what.
#[derive(Debug)]
pub struct Document<M> {
    /// The message.
    pub message: M,
    tree: Node,
}

impl<M> Document<M> {
    /// The line of the field at `path` below the message, as errors of the server write it, or of the nearest around it
    /// that is there.
    pub fn line_of(&self, path: &str) -> usize {
        self.tree.line_of(&way(path))
    }
}

/// Reads a workflow.
///
/// # Errors
/// What is wrong with it, and where.
pub fn workflow(text: &str) -> Result<Document<WorkflowSpec>, Fault> {
    let mut tree = yaml::parse(text)?;
    shorthand::workflow(&mut tree, &descriptor_named(STEP), &descriptor_named(TASK))?;
    message(tree)
}

/// Reads a schedule. What it starts is a `task` or a `workflow`, in long or short form.
///
/// # Errors
/// What is wrong with it, and where.
pub fn schedule(text: &str) -> Result<Document<Schedule>, Fault> {
    let mut tree = yaml::parse(text)?;
    if let Some(workflow) = tree.get_mut(&["workflow"]) {
        shorthand::workflow(workflow, &descriptor_named(STEP), &descriptor_named(TASK))?;
    }
    if let Some(task) = tree.get_mut(&["task"]) {
        shorthand::expand_task(task)?;
    }
    message(tree)
}

/// Reads any value.
///
/// # Errors
/// Where it is neither YAML nor JSON.
pub fn value(text: &str) -> Result<Value, Fault> {
    yaml::parse(text).map(Node::into_json)
}

fn message<M: Named>(mut tree: Node) -> Result<Document<M>, Fault> {
    if !matches!(tree.kind, Kind::Map(_)) {
        return Err(Fault::at(tree.line, "the file must have fields, for instance `name: ...`"));
    }
    let kind = descriptor::<M>();
    shape::shape(&mut tree, &kind);
    let dynamic = deserialize(kind, &tree)?;
    let message = M::decode(&*dynamic.encode_to_vec());
    Ok(Document { message: message.expect("both types are the same message"), tree })
}

fn deserialize(kind: MessageDescriptor, tree: &Node) -> Result<DynamicMessage, Fault> {
    let json = tree.clone().into_json();
    let mut track = serde_path_to_error::Track::new();
    let tracked = serde_path_to_error::Deserializer::new(&json, &mut track);
    let options = DeserializeOptions::new().deny_unknown_fields(true);
    let read = DynamicMessage::deserialize_with_options(kind, tracked, &options);
    read.map_err(|error: serde_json::Error| {
        let path = track.path().to_string();
        fault(tree, &error.to_string(), if path == "." { "" } else { &path })
    })
}

/// What a reader's error means, in words.
fn fault(tree: &Node, reason: &str, path: &str) -> Fault {
    if let Some(name) = reason.strip_prefix(UNKNOWN_FIELD).and_then(|rest| rest.strip_suffix('\'')) {
        // Some versions of the path name the field itself already.
        let parent = path.strip_suffix(name).map_or(path, |parent| parent.trim_end_matches('.'));
        let field = if parent.is_empty() { name.to_owned() } else { format!("{parent}.{name}") };
        return Fault::at(tree.line_of(&way(&field)), format!("there is no field `{field}`"));
    }
    let line = tree.line_of(&way(path));
    if path.is_empty() { Fault::at(line, reason) } else { Fault::at(line, format!("`{path}`: {reason}")) }
}
