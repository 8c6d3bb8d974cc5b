//! What the path and the query of a request may set. Pure.

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Value, json};

use super::{
    known,
    path::{Parameter, Pattern},
    schema::{Schemas, is_deprecated, is_output_only, is_required},
};
use crate::transcode::rules::{BodyRule, Route};

/// Deepest message whose fields a query is told to set.
const DEPTH_MAX: usize = 5;

/// Most query parameters that are told of one operation.
const QUERY_MAX: usize = 200;

/// The parameters of a route: those of its path, then those of its query.
pub(super) fn all(schemas: &mut Schemas, route: &Route, pattern: &Pattern) -> Vec<Value> {
    let mut all: Vec<Value> = pattern.parameters.iter().map(|parameter| in_path(schemas, route, parameter)).collect();
    if !matches!(route.body, BodyRule::Whole) {
        let mut query = Query { schemas, route, found: Vec::new() };
        query.fields(&route.rpc.input(), &mut Vec::new());
        all.append(&mut query.found);
    }
    all
}

fn in_path(schemas: &mut Schemas, route: &Route, parameter: &Parameter) -> Value {
    let field = parameter.variable.and_then(|variable| route.variables.get(variable)?.last());
    let schema = match field {
        Some(field) if parameter.is_whole => schemas.value(&field.kind()),
        _ => json!({"type": "string"}),
    };
    let mut notes: Vec<String> =
        field.map(|field| schemas.comment(field)).filter(|text| !text.is_empty()).into_iter().collect();
    if let Some(field) = field.filter(|_| !parameter.is_whole) {
        notes.push(format!("A part of `{}`.", field.json_name()));
    }
    if parameter.is_rest {
        notes.push("Any number of segments, with `/` between them.".to_owned());
    }
    let mut told = json!({"name": parameter.name, "in": "path", "required": true, "schema": schema});
    if !notes.is_empty() {
        told["description"] = notes.join("\n\n").into();
    }
    if parameter.is_rest {
        told["x-mcp-segments"] = "any".into();
    }
    told
}

struct Query<'a> {
    schemas: &'a mut Schemas,
    route: &'a Route,
    found: Vec<Value>,
}

impl Query<'_> {
    /// The fields of a message, and of messages in it. `above` are the steps that lead there.
    fn fields(&mut self, message: &MessageDescriptor, above: &mut Vec<FieldDescriptor>) {
        for field in message.fields() {
            if self.found.len() >= QUERY_MAX || is_output_only(&field) {
                continue;
            }
            above.push(field.clone());
            if !self.is_set_elsewhere(above) {
                self.field(&field, above);
            }
            above.pop();
        }
    }

    fn field(&mut self, field: &FieldDescriptor, steps: &mut Vec<FieldDescriptor>) {
        match field.kind() {
            _ if field.is_map() => {}
            Kind::Message(kind) if known::is_one_value(kind.full_name()) => self.parameter(field, steps),
            Kind::Message(_) if field.is_list() => {}
            Kind::Message(kind) if known::message(kind.full_name()).is_some() => {}
            // A message in itself would never end.
            Kind::Message(kind) => {
                let is_inside = steps.iter().any(|step| *step.parent_message() == kind);
                if !is_inside && steps.len() < DEPTH_MAX {
                    self.fields(&kind, steps);
                }
            }
            _ => self.parameter(field, steps),
        }
    }

    fn parameter(&mut self, field: &FieldDescriptor, steps: &[FieldDescriptor]) {
        let name = steps.iter().map(FieldDescriptor::json_name).collect::<Vec<_>>().join(".");
        let schema = self.schemas.content(field);
        let mut told = json!({"name": name, "in": "query", "schema": schema});
        let comment = self.schemas.comment(field);
        if !comment.is_empty() {
            told["description"] = comment.into();
        }
        // What is deeper is only there when its message is.
        if steps.len() == 1 && is_required(field) {
            told["required"] = true.into();
        }
        if is_deprecated(&field.options()) {
            told["deprecated"] = true.into();
        }
        self.found.push(told);
    }

    fn is_set_elsewhere(&self, steps: &[FieldDescriptor]) -> bool {
        let is_body = matches!(&self.route.body, BodyRule::Field(field) if steps.first() == Some(field));
        is_body || self.route.variables.iter().any(|variable| variable == steps)
    }
}
