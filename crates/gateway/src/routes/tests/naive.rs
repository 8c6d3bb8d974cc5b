//! The table against the rule by which it is described: of all routes that accept a request, the first.

use std::{cmp::Reverse, collections::BTreeMap, sync::Arc};

use http::Request;
use proptest::{
    collection::vec,
    option,
    prelude::{Just, Strategy, prop_oneof, proptest},
    sample::select,
};
use serde_json::{Value, json};

use super::{CompiledRoute, Head, route, table};
use crate::{
    routes::hosts::{HostPattern, host_of},
    transcode::template::Segment,
};

const SEGMENTS: [&str; 3] = ["a", "b", "c"];
const HOSTS: [&str; 5] = ["x.y", "*.y", "*.x.y", "z", "*.z"];
const NAMES: [&str; 6] = ["x.y", "w.x.y", "y", "z", "a.z", ""];

fn path() -> impl Strategy<Value = Value> {
    let text = |segments: Vec<&str>| format!("/{}", segments.join("/"));
    prop_oneof![
        vec(select(&SEGMENTS), 0..3).prop_map(move |segments| json!({"prefix": text(segments)})),
        vec(select(&SEGMENTS), 1..4).prop_map(move |segments| json!({"exact": text(segments)})),
        (vec(select(&["a", "b", "*"]), 1..4), select(&["", ":v", ":w", "/**"]))
            .prop_map(move |(segments, end)| json!({"template": format!("{}{end}", text(segments))})),
    ]
}

fn header() -> impl Strategy<Value = Value> {
    let kind = prop_oneof![
        4 => select(&["1", "2"]).prop_map(|value| ("exact", json!(value))),
        1 => Just(("prefix", json!("1"))),
        1 => Just(("present", json!(false))),
    ];
    (select(&["h", "i"]), kind).prop_map(|(name, (kind, value))| json!({"name": name, kind: value}))
}

/// The match of a route, and its priority.
fn wanted() -> impl Strategy<Value = (Value, i32)> {
    let place = prop_oneof![
        3 => path().prop_map(|path| ("path", path)),
        1 => (select(&SEGMENTS), select(&["", "a", "b"]))
            .prop_map(|(service, method)| ("grpc", json!({"service": service, "method": method}))),
    ];
    let parts = (vec(select(&HOSTS), 0..2), vec(select(&["GET", "PUT"]), 0..2), vec(header(), 0..3));
    (place, parts, select(&[0, 0, 0, 1])).prop_map(|((kind, place), (hosts, methods, headers), priority)| {
        (json!({kind: place, "hosts": hosts, "methods": methods, "headers": headers}), priority)
    })
}

/// Whether segments are those of a pattern, segment by segment.
fn is_like(pattern: &[Segment], segments: &[&str]) -> bool {
    match (pattern, segments) {
        ([], []) | ([Segment::Rest], _) => true,
        ([Segment::Literal(text), pattern @ ..], [first, segments @ ..]) if text == first => is_like(pattern, segments),
        ([Segment::Any, pattern @ ..], [first, segments @ ..]) if !first.is_empty() => is_like(pattern, segments),
        _ => false,
    }
}

fn accepts_path(route: &CompiledRoute, path: &str) -> bool {
    let path = match route.path.verb.as_deref() {
        None => path,
        Some(verb) => match path.rsplit_once(':') {
            Some((before, of)) if of == verb => before,
            _ => return false,
        },
    };
    is_like(&route.path.segments, &path[1..].split('/').collect::<Vec<_>>())
}

fn accepts_host(pattern: &HostPattern, host: &str) -> bool {
    match pattern {
        HostPattern::Any => true,
        HostPattern::Exact(name) => name == host,
        HostPattern::Below(_, name) => host.strip_suffix(name.as_str()).is_some_and(|before| before.ends_with('.')),
    }
}

/// The id of the route that a request takes, by looking at all.
fn first(routes: &[CompiledRoute], head: Head<'_>, rpc_path: Option<&str>) -> String {
    let host = host_of(head.uri, head.headers);
    let path_of = |route: &CompiledRoute| if route.is_grpc { rpc_path } else { Some(head.uri.path()) };
    let fits = |route: &&CompiledRoute| {
        path_of(route).is_some_and(|path| accepts_path(route, path)) && route.predicate.accepts(head)
    };
    let standing = |route: &CompiledRoute, host: &HostPattern| {
        let segments = route.path.segments.iter().map(|segment| match segment {
            Segment::Literal(_) => 3,
            Segment::Any => 2,
            Segment::Rest => 1,
        });
        let end = if route.path.segments.last() == Some(&Segment::Rest) { vec![] } else { vec![4] };
        let path: Vec<u8> = segments.chain(end).collect();
        let order = (route.priority, host.clone(), route.path.verb.is_some(), path, route.predicate.specificity());
        (order, Reverse(route.facts.id.to_string()))
    };
    let candidates = routes.iter().filter(fits).flat_map(|route| {
        let hosts = route.hosts.iter().filter(|pattern| accepts_host(pattern, &host));
        hosts.map(move |host| standing(route, host))
    });
    candidates.max().map_or_else(|| "default".to_owned(), |(_, Reverse(id))| id)
}

proptest! {
    #[test]
    fn a_request_takes_the_first_of_the_routes_that_accept_it(
        routes in vec(wanted(), 0..30),
        requests in vec((vec(select(&["a", "b", "c", ""]), 1..5), select(&["", ":v"]), select(&NAMES),
                         vec((select(&["h", "i"]), select(&["1", "12", "2"])), 0..3), option::of("/[abc]/[abc]")), 20),
    ) {
        let routes: Vec<Value> = routes
            .into_iter()
            .enumerate()
            .map(|(number, (wanted, priority))| json!({"id": format!("r{number}"), "match": wanted, "priority": priority}))
            .collect();
        let table = table(&routes);
        let all: Vec<_> =
            routes.iter().map(|json| CompiledRoute::new(&route(json), &BTreeMap::new()).unwrap()).collect();
        for (segments, verb, host, headers, rpc_path) in requests {
            let mut request = Request::builder().uri(format!("/{}{verb}", segments.join("/"))).header("host", host);
            for (name, value) in headers {
                request = request.header(name, value);
            }
            let request = request.body(()).unwrap();
            let head = Head::from(&request);
            let found = table.find(head, || rpc_path.as_deref().map(Into::into)).route;
            let expected = first(&all, head, rpc_path.as_deref());
            assert_eq!(*found.facts.id, *expected, "{request:?} {rpc_path:?} among {routes:#?}");
        }
        let ids: Vec<_> = table.in_order().map(|route| Arc::clone(route).facts.id.to_string()).collect();
        assert_eq!(ids.len(), routes.len() + 1);
    }
}
