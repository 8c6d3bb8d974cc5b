//! Routes and policies: any number of them in a file.

use mcp_proto::gateway::v1::{Policy, Route};

use super::{
    Document, Fault, message,
    tree::{Kind, Node},
    yaml,
};

/// Most records of one file.
const RECORDS_MAX: usize = 20_000;

/// A record of a file.
#[derive(Debug)]
pub enum Resource {
    /// A route.
    Route(Box<Document<Route>>),
    /// A policy.
    Policy(Box<Document<Policy>>),
}

/// Reads routes and policies: several documents, lists of them, or both. A record is a route unless `kind: policy` says
/// otherwise.
///
/// # Errors
/// What is wrong with the first wrong one, and where.
pub fn resources(text: &str) -> Result<Vec<Resource>, Fault> {
    let mut nodes = Vec::new();
    for node in yaml::parse_all(text)? {
        match node.kind {
            Kind::List(items) => nodes.extend(items),
            Kind::Plain(..) if node.is_null() => {}
            _ => nodes.push(node),
        }
    }
    if nodes.len() > RECORDS_MAX {
        return Err(Fault { line: None, why: format!("more than {RECORDS_MAX} routes and policies") });
    }
    nodes.into_iter().map(resource).collect()
}

fn resource(mut node: Node) -> Result<Resource, Fault> {
    let kind = node.take(&["kind"]);
    let name = match kind.as_ref().map(|kind| &kind.value.kind) {
        None => "route",
        Some(Kind::Text(name)) => name.as_str(),
        Some(_) => "",
    };
    match (name.to_ascii_lowercase().as_str(), &kind) {
        ("route", _) => message(node).map(Box::new).map(Resource::Route),
        ("policy", _) => message(node).map(Box::new).map(Resource::Policy),
        (_, Some(field)) => Err(Fault::at(field.line, "`kind` must be `route` or `policy`")),
        (_, None) => Err(Fault::at(node.line, "`kind` must be `route` or `policy`")),
    }
}
