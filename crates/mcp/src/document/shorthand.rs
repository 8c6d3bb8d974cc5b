//! Short forms of steps and tasks.
//!
//! In a step, fields of its task may stand beside its own: `queue: images` is `task: {queue: images}`. In a task, and so in a
//! step too:
//!
//! - `run: TEXT` is the process `sh -c TEXT`, `argv: [..]` the process itself; `env`, `cwd` and `stdin` (as text, not
//!   base64) go with either;
//! - `handler: NAME` and `input: VALUE` are the handler's call.

use base64::{Engine, prelude::BASE64_STANDARD};
use prost_reflect::MessageDescriptor;

use super::{
    Fault,
    tree::{Field, Kind, Node, snake},
};

/// What belongs to a process.
const PROCESS: [&str; 5] = ["run", "argv", "env", "cwd", "stdin"];
/// What belongs to a handler's call.
const HANDLER: [&str; 2] = ["handler", "input"];

/// Writes a workflow's steps out.
///
/// # Errors
/// What is said twice.
pub(super) fn workflow(node: &mut Node, step: &MessageDescriptor, task: &MessageDescriptor) -> Result<(), Fault> {
    if let Some(Kind::List(steps)) = node.get_mut(&["steps"]).map(|steps| &mut steps.kind) {
        for node in steps {
            expand_step(node, step, task)?;
        }
    }
    match node.get_mut(&["on_failure", "onFailure"]) {
        Some(node) => expand_step(node, step, task),
        None => Ok(()),
    }
}

fn expand_step(node: &mut Node, step: &MessageDescriptor, task: &MessageDescriptor) -> Result<(), Fault> {
    let line = node.line;
    let Some(fields) = node.fields_mut() else { return Ok(()) };
    let is_of_task = |field: &Field| {
        let name = field.name.as_str();
        !knows(step, name) && (knows(task, name) || PROCESS.contains(&name) || HANDLER.contains(&name))
    };
    let mut moved: Vec<Field> = Vec::new();
    fields.retain(|field| {
        let moves = is_of_task(field);
        if moves {
            moved.push(field.clone());
        }
        !moves
    });
    if !moved.is_empty() {
        let Some(at) = fields.iter().position(|field| field.name == "task") else {
            let line = moved.first().map_or(line, |field| field.line);
            fields.push(Field { name: "task".to_owned(), line, value: Node::map(moved, line) });
            return expand_task_of(node);
        };
        let given = fields[at].value.fields_mut().ok_or_else(|| Fault::at(line, "`task` must have fields"))?;
        for field in moved {
            if given.iter().any(|other| snake(&other.name) == snake(&field.name)) {
                return Err(Fault::at(field.line, format!("`{}` stands in the step and in its task", field.name)));
            }
            given.push(field);
        }
    }
    expand_task_of(node)
}

/// Writes out the field `task` of a step or of a schedule.
fn expand_task_of(node: &mut Node) -> Result<(), Fault> {
    match node.get_mut(&["task"]) {
        Some(task) => expand_task(task),
        None => Ok(()),
    }
}

/// Writes a task out.
///
/// # Errors
/// What is said twice.
pub(super) fn expand_task(node: &mut Node) -> Result<(), Fault> {
    let line = node.line;
    let process: Vec<Field> = PROCESS.iter().filter_map(|name| node.take(&[name])).collect();
    if !process.is_empty() {
        let line = process.first().map_or(line, |field| field.line);
        let process = written_out(process)?;
        put(node, "process", Node::map(process, line))?;
    }
    // With a map as its value `handler` is in the long form already.
    let is_short = node.get_mut(&["handler"]).is_some_and(|handler| !matches!(handler.kind, Kind::Map(_)));
    if is_short {
        let call: Vec<Field> = HANDLER.iter().filter_map(|name| node.take(&[name])).collect();
        let line = call.first().map_or(line, |field| field.line);
        put(node, "handler", Node::map(call, line))?;
    }
    Ok(())
}

fn written_out(fields: Vec<Field>) -> Result<Vec<Field>, Fault> {
    let (mut process, mut has_program) = (Vec::new(), false);
    for mut field in fields {
        let is_program = matches!(field.name.as_str(), "run" | "argv");
        if is_program && std::mem::replace(&mut has_program, true) {
            return Err(Fault::at(field.line, "`run` and `argv` exclude each other"));
        }
        if field.name == "run" {
            let Kind::Text(text) = field.value.kind else {
                return Err(Fault::at(field.line, "`run` must be text: a line, or several, for `sh -c`"));
            };
            let words = ["sh", "-c", text.as_str()].map(|word| Node::text(word, field.line));
            field.value = Node { kind: Kind::List(words.into()), line: field.line };
            field.name = "argv".to_owned();
        } else if field.name == "stdin"
            && let Kind::Text(text) | Kind::Plain(_, text) = &field.value.kind
        {
            field.value = Node::text(BASE64_STANDARD.encode(text), field.line);
        }
        process.push(field);
    }
    Ok(process)
}

fn put(node: &mut Node, name: &str, value: Node) -> Result<(), Fault> {
    let line = value.line;
    let fields = node.fields_mut().ok_or_else(|| Fault::at(line, "a task must have fields"))?;
    if fields.iter().any(|field| field.name == name) {
        return Err(Fault::at(line, format!("`{name}` is there too, and says the same in another way")));
    }
    fields.push(Field { name: name.to_owned(), line, value });
    Ok(())
}

fn knows(message: &MessageDescriptor, name: &str) -> bool {
    message.get_field_by_json_name(name).is_some() || message.get_field_by_name(name).is_some()
}
