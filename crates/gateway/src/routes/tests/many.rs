//! Ten thousand routes.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use http::Request;
use serde_json::{Value, json};

use super::{CompiledRoute, Head, RouteTable, route, table, taken};

const MANY: usize = 10_000;

/// Route number `n`, of one of five kinds.
pub(super) fn nth(n: usize) -> Value {
    let id = format!("r{n}");
    match n % 5 {
        0 => json!({"id": id, "match": {"path": {"prefix": format!("/s{n}/api")}}}),
        1 => json!({"id": id, "match": {"hosts": [format!("h{n}.example.com")], "path": {"prefix": "/"}}}),
        2 => json!({"id": id, "match": {"path": {"template": format!("/shops/{{shop}}/i{n}/*")}}}),
        3 => {
            json!({"id": id, "match": {"path": {"exact": "/tenants"}, "headers": [{"name": "x-t", "exact": n.to_string()}]}})
        }
        _ => json!({"id": id, "match": {"grpc": {"service": format!("acme.S{n}")}}}),
    }
}

fn request(n: usize) -> String {
    match n % 5 {
        0 => format!("GET /s{n}/api/x"),
        1 => format!("GET /x\nhost: h{n}.example.com"),
        2 => format!("GET /shops/berlin/i{n}/x"),
        3 => format!("GET /tenants\nx-t: {n}"),
        _ => format!("POST /acme.S{n}/Get /acme.S{n}/Get"),
    }
}

#[test]
fn each_of_ten_thousand_routes_is_found() {
    let routes: Vec<Value> = (0..MANY).map(nth).collect();
    let table = table(&routes);
    for n in 0..MANY {
        assert_eq!(taken(&table, &request(n)), format!("r{n}"));
    }
    assert_eq!(taken(&table, "GET /nothing"), "default");
}

/// How many of the routes' predicates were tried is what the cost depends on; the time is only printed.
#[test]
fn the_cost_of_finding_does_not_grow_with_the_number_of_routes() {
    let build = |count: usize| {
        let compiled = (0..count).map(|n| Arc::new(CompiledRoute::new(&route(&nth(n)), &BTreeMap::new()).unwrap()));
        RouteTable::new(compiled.collect(), Arc::new(CompiledRoute::default_route()))
    };
    let request = Request::builder().uri("/tenants").header("x-t", "8").body(()).unwrap();
    for count in [10, MANY] {
        let table = build(count);
        let started = Instant::now();
        for _ in 0..1_000 {
            assert_eq!(&*table.find(Head::from(&request), || None).route.facts.id, "r8");
        }
        println!("{count} routes: {:?} for each of 1000 lookups", started.elapsed() / 1_000);
    }
}
