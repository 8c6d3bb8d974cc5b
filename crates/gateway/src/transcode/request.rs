//! Builds a request message from the path, the query and the body of an HTTP request.

use std::collections::HashSet;

use bytes::Bytes;
use mcp_proto::{Code, Error};
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, Value};

use super::{
    json::Reader,
    percent::{self, Mode},
    raw,
    rules::{BodyRule, Route},
    scalar,
};

/// Most parameters of one query.
const PARAMETERS_MAX: usize = 2_000;

/// The parts of an HTTP request that become a message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parts<'a> {
    /// The segments of the path as the route sees them, percent-encoded.
    pub(crate) segments: &'a [&'a str],
    /// What follows `?`.
    pub(crate) query: Option<&'a str>,
    /// What the body says that it is; raw content is passed on with it.
    pub(crate) content_type: &'a str,
    /// The body; empty counts as none.
    pub(crate) body: &'a Bytes,
}

/// Builds the message. The body goes first, then the path, which wins over it; the query may set what neither sets.
///
/// # Errors
/// `MALFORMED_BODY`, `UNKNOWN_FIELD` or `INVALID_ARGUMENT`, each naming the place.
pub(crate) fn build(route: &Route, parts: Parts<'_>, reader: Reader<'_>) -> Result<DynamicMessage, Error> {
    let input = route.rpc.input();
    let mut message = match &route.body {
        _ if route.raw_request && !parts.body.is_empty() => raw_request(route, parts),
        BodyRule::Whole if !parts.body.is_empty() => reader.read(input, parts.body)?,
        BodyRule::Field(field) if !parts.body.is_empty() => {
            let value = reader.read_field(field, parts.body)?;
            let mut message = DynamicMessage::new(input);
            message.set_field(field, value);
            message
        }
        BodyRule::None | BodyRule::Whole | BodyRule::Field(_) => DynamicMessage::new(input),
    };
    for (variable, steps) in route.template.variables.iter().zip(&route.variables) {
        let end = variable.len.map_or(parts.segments.len(), |len| variable.start + len);
        let text = captured(parts.segments.get(variable.start..end).unwrap_or_default()).ok_or_else(|| {
            Error::invalid(variable.field_path.join("."), "is not valid percent-encoding in the path")
        })?;
        set(&mut message, steps, &variable.field_path.join("."), &text)?;
    }
    let mut seen = HashSet::new();
    for (name, text) in parameters(parts.query.unwrap_or_default())? {
        let steps = match parameter(route, &name) {
            Err(error) if error.code() == Code::UnknownField && reader.options.ignore_unknown => continue,
            steps => steps?,
        };
        set(&mut message, &steps, &name, &text)?;
        let is_list = steps.last().is_some_and(FieldDescriptor::is_list);
        if !is_list && !seen.insert(name.clone()) {
            return Err(Error::invalid(name, "is there twice in the query, but is not a list"));
        }
    }
    Ok(message)
}

/// Content that is not JSON, as the message or the field of it that takes such.
fn raw_request(route: &Route, parts: Parts<'_>) -> DynamicMessage {
    let mut message = DynamicMessage::new(route.rpc.input());
    set_content(route, &mut message, parts.content_type, parts.body.clone());
    message
}

/// Puts content that is not JSON where a request of this route has it.
pub(crate) fn set_content(route: &Route, message: &mut DynamicMessage, content_type: &str, content: Bytes) {
    match &route.body {
        BodyRule::Field(field) => {
            if let Kind::Message(kind) = field.kind() {
                let mut inner = DynamicMessage::new(kind);
                raw::fill(&mut inner, content_type, content);
                message.set_field(field, Value::Message(inner));
            }
        }
        BodyRule::None | BodyRule::Whole => raw::fill(message, content_type, content),
    }
}

/// The text of a variable.
fn captured(segments: &[&str]) -> Option<String> {
    match segments {
        [segment] => percent::decode(segment, Mode::Segment).map(std::borrow::Cow::into_owned),
        segments => percent::decode(&segments.join("/"), Mode::Segments).map(std::borrow::Cow::into_owned),
    }
}

/// The decoded names and values of a query.
fn parameters(query: &str) -> Result<Vec<(String, String)>, Error> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    if pairs.clone().count() > PARAMETERS_MAX {
        return Err(Error::invalid("query", format!("has more than {PARAMETERS_MAX} parameters")));
    }
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match (percent::decode(name, Mode::Query), percent::decode(value, Mode::Query)) {
                (Some(name), Some(value)) => Ok((name.into_owned(), value.into_owned())),
                _ => Err(Error::invalid(name, "is not valid percent-encoding in the query")),
            }
        })
        .collect()
}

/// The steps from the request down to the field that a parameter names.
fn parameter(route: &Route, name: &str) -> Result<Vec<FieldDescriptor>, Error> {
    let unknown = || {
        let text = format!("the request has no field `{name}` (query parameter)");
        Error::new(Code::UnknownField, text).with_violation(name, "is not a field of the request")
    };
    let mut message = route.rpc.input();
    let mut steps = Vec::new();
    let mut parts = name.split('.').peekable();
    while let Some(part) = parts.next() {
        let field = field_of(&message, part).ok_or_else(unknown)?;
        if parts.peek().is_some() {
            match field.kind() {
                Kind::Message(next) if !field.is_list() && !field.is_map() => message = next,
                _ => return Err(unknown()),
            }
        }
        steps.push(field);
    }
    let set_elsewhere = match &route.body {
        BodyRule::Whole => Some("body"),
        BodyRule::Field(field) if steps.first() == Some(field) => Some("body"),
        BodyRule::None | BodyRule::Field(_) => route.variables.contains(&steps).then_some("path"),
    };
    match set_elsewhere {
        Some(place) => Err(Error::invalid(name, format!("is part of the {place} here, not of the query"))),
        None => Ok(steps),
    }
}

/// A field by its name in either form.
fn field_of(message: &MessageDescriptor, name: &str) -> Option<FieldDescriptor> {
    message.get_field_by_name(name).or_else(|| message.get_field_by_json_name(name))
}

/// Sets the field at the end of `steps`, or adds to it when it is a list.
fn set(message: &mut DynamicMessage, steps: &[FieldDescriptor], name: &str, text: &str) -> Result<(), Error> {
    let Some((field, above)) = steps.split_last() else {
        return Ok(());
    };
    let mut message = message;
    for step in above {
        match message.get_field_mut(step) {
            Value::Message(next) => message = next,
            _ => return Err(Error::invalid(name, "leads through a field that is not a message")),
        }
    }
    let value = scalar::read(field, text).map_err(|reason| Error::invalid(name, reason))?;
    match value {
        Value::List(values) if field.is_list() => {
            if let Value::List(list) = message.get_field_mut(field) {
                list.extend(values);
            }
        }
        value => message.set_field(field, value),
    }
    Ok(())
}
