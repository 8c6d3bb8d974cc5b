//! Tests of routes: no sockets, no store.

mod changes;
mod many;
mod matching;
mod memory;
mod naive;
mod split;
mod validation;

use std::{collections::BTreeMap, sync::Arc};

use http::Request;
use mcp_proto::gateway::v1::{Policy, Route};
use serde_json::Value;

use super::{compiled::CompiledRoute, predicate::Head, record, table::RouteTable};

/// A route out of JSON.
fn route(json: &Value) -> Route {
    let id = json["id"].as_str().expect("a route has an id").to_owned();
    record::decode(&id, 1, json.to_string().as_bytes()).unwrap_or_else(|reason| panic!("{json}: {reason}"))
}

/// A policy out of JSON.
fn policy(json: &Value) -> Arc<Policy> {
    let id = json["id"].as_str().expect("a policy has an id").to_owned();
    Arc::new(record::decode(&id, 1, json.to_string().as_bytes()).unwrap_or_else(|reason| panic!("{json}: {reason}")))
}

/// A table of routes out of JSON.
fn table(routes: &[Value]) -> RouteTable {
    let compiled = routes.iter().map(|json| {
        let compiled = CompiledRoute::new(&route(json), &BTreeMap::new());
        Arc::new(compiled.unwrap_or_else(|error| panic!("{json}: {error}")))
    });
    RouteTable::new(compiled.collect(), Arc::new(CompiledRoute::default_route()))
}

/// The id of the route of a request, written as `METHOD path` and header lines; a gRPC method may follow the path.
fn taken(table: &RouteTable, request: &str) -> String {
    let mut lines = request.lines().map(str::trim);
    let mut first = lines.next().expect("there is a first line").split(' ');
    let (method, path) = (first.next().expect("a method"), first.next().expect("a path"));
    let rpc_path = first.next().map(str::to_owned);
    let mut built = Request::builder().method(method).uri(path);
    for line in lines {
        let (name, value) = line.split_once(": ").expect("a header");
        built = built.header(name, value);
    }
    let request = built.body(()).expect("a request");
    table.find(Head::from(&request), || rpc_path.map(Into::into)).route.facts.id.to_string()
}
