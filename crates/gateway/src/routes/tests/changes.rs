//! What is in force as the store changes.

use std::sync::Arc;

use bytes::Bytes;
use mcp_coord::{Change, KeyValue, Revision, Snapshot};
use serde_json::{Value, json};

use super::{CompiledRoute, taken};
use crate::routes::known::Known;

fn known() -> Known {
    Known::new("/r/".into(), "/p/".into(), Arc::new(CompiledRoute::default_route()))
}

fn entry(key: &str, revision: i64, json: &Value) -> KeyValue {
    let value = Bytes::from(json.to_string());
    KeyValue { key: key.into(), value, created: Revision(1), modified: Revision(revision), lease: None }
}

fn put(key: &str, revision: i64, json: &Value) -> Change {
    Change::Put(entry(key, revision, json))
}

fn snapshot(entries: Vec<KeyValue>) -> Change {
    Change::Snapshot(Snapshot { entries, revision: Revision(1) })
}

fn deleted(key: &str) -> Change {
    Change::Delete { key: key.into(), revision: Revision(99) }
}

fn problems(known: &Known) -> Vec<String> {
    let line = |problem: mcp_proto::gateway::v1::RecordProblem| {
        format!("{} {} {} {}", problem.kind, problem.id, problem.version, problem.version_in_force)
    };
    known.problems().into_iter().map(line).collect()
}

fn at(path: &str) -> Value {
    json!({"match": {"path": {"exact": path}}})
}

#[test]
fn routes_come_and_go_and_a_snapshot_replaces_all() {
    let mut known = known();
    assert!(!known.is_synced());
    known.apply_route(snapshot(vec![entry("/r/a", 1, &at("/a")), entry("/r/b", 1, &at("/b"))]));
    known.apply_policy(snapshot(vec![]));
    assert!(known.is_synced());
    assert_eq!(taken(&known.table(), "GET /a"), "a");
    assert!(!known.apply_route(put("/r/a", 1, &at("/a"))), "nothing new");
    assert!(known.apply_route(put("/r/a", 2, &at("/c"))));
    assert_eq!((taken(&known.table(), "GET /a"), taken(&known.table(), "GET /c")), ("default".into(), "a".into()));
    assert!(known.apply_route(deleted("/r/a")) && !known.apply_route(deleted("/r/a")));
    assert_eq!(taken(&known.table(), "GET /c"), "default");
    assert!(known.apply_route(snapshot(vec![entry("/r/d", 3, &at("/d"))])));
    assert_eq!((taken(&known.table(), "GET /b"), taken(&known.table(), "GET /d")), ("default".into(), "d".into()));
}

#[test]
fn a_broken_record_keeps_the_last_good_one_and_is_shown() {
    let mut known = known();
    known.apply_policy(snapshot(vec![]));
    known.apply_route(snapshot(vec![entry("/r/a", 1, &at("/a")), entry("/r/b", 2, &json!([]))]));
    assert_eq!(problems(&known), ["route b 2 0"]);
    for (revision, broken) in [(5, json!({"nonsense": 1})), (6, json!({"match": {"path": {"prefix": "x"}}}))] {
        assert!(known.apply_route(put("/r/a", revision, &broken)));
        assert_eq!(taken(&known.table(), "GET /a"), "a");
        assert!(problems(&known).contains(&format!("route a {revision} 1")), "{:?}", problems(&known));
    }
    known.apply_route(put("/r/a", 7, &at("/new")));
    known.apply_route(deleted("/r/b"));
    assert_eq!((taken(&known.table(), "GET /new"), problems(&known)), ("a".into(), vec![]));
}

#[test]
fn routes_follow_their_policies_and_outlive_them() {
    let mut known = known();
    let route = json!({"match": {"path": {"exact": "/a"}}, "policies": ["p"]});
    let layers = |known: &Known| {
        let request = http::Request::builder().uri("/a").body(()).unwrap();
        known.table().find((&request).into(), || None).route.layers.len()
    };
    known.apply_route(snapshot(vec![entry("/r/a", 1, &route)]));
    assert_eq!(problems(&known), ["route a 1 0"], "its policy is not known yet");
    known.apply_policy(snapshot(vec![entry("/p/p", 2, &json!({"settings": {"timeout": "1s"}}))]));
    assert_eq!((layers(&known), problems(&known)), (1, vec![]));
    known.apply_policy(put("/p/p", 3, &json!({"settings": {"timeout": "1s", "body_bytes_max": 9}})));
    assert_eq!(layers(&known), 2);
    known.apply_policy(put("/p/p", 4, &json!({"settings": {"timeout": "0s"}})));
    assert_eq!((layers(&known), problems(&known)), (2, vec!["policy p 4 3".to_owned()]));
    known.apply_policy(deleted("/p/p"));
    assert_eq!((layers(&known), problems(&known)), (2, vec!["route a 1 1".to_owned()]));
    known.apply_route(deleted("/r/a"));
    assert_eq!((layers(&known), problems(&known)), (0, vec![]));
}
