//! Hostile input: whatever comes, it is converted or refused, and nothing panics.

use bytes::Bytes;
use http::Method;
use proptest::prelude::*;
use prost_reflect::DynamicMessage;

use super::{
    json::{self, Options, Reader},
    request::{self, Parts},
    trie::Found,
};
use crate::descriptors::{Known, Snapshot, built_in};

fn snapshot() -> Snapshot {
    let schema = built_in().unwrap();
    let known = |service: &std::sync::Arc<_>| Known { service: std::sync::Arc::clone(service), schema: schema.clone() };
    Snapshot::new(schema.services.values().map(known).collect::<Vec<_>>())
}

thread_local! {
    /// Compiled once for all cases.
    static SNAPSHOT: Snapshot = snapshot();
}

/// Builds the request that a path, a query and a body make, if there is a route.
fn convert(method: &Method, path: &str, query: &str, body: &str, ignore_unknown: bool) {
    SNAPSHOT.with(|snapshot| {
        let Found::Route(route, segments) = snapshot.find(method, path) else {
            return;
        };
        let body = Bytes::copy_from_slice(body.as_bytes());
        let parts = Parts { segments: &segments, query: Some(query), content_type: "", body: &body };
        let reader = Reader { snapshot, options: Options { ignore_unknown } };
        if let Ok(message) = request::build(route, parts, reader) {
            // What could be read can be written.
            json::write(snapshot, &message, None).unwrap();
        }
    });
}

/// Text that looks like JSON of our messages, up to a point.
fn near_json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        "-?[0-9]{1,20}(\\.[0-9]{0,5})?([eE][-+]?[0-9]{1,4})?",
        "\"-?[0-9]{1,22}(\\.[0-9]{0,12})?s?\"",
        "\"[0-9]{4,6}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\\.[0-9]{0,10})?(Z|[-+][0-9]{2}:[0-9]{2})\"",
        "\"\\PC{0,8}\"",
        "\\PC{0,4}",
    ];
    let name = prop_oneof![
        Just("namespace"),
        Just("name"),
        Just("process"),
        Just("argv"),
        Just("handler"),
        Just("input"),
        Just("labels"),
        Just("runTimeout"),
        Just("run_timeout"),
        Just("tasks"),
        Just("priority"),
        Just("retry"),
        Just("@type"),
        Just("value"),
        Just("notBefore"),
        Just("x"),
    ];
    leaf.prop_recursive(5, 40, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(","))),
            prop::collection::vec((name.clone(), inner), 0..4).prop_map(|fields| {
                let fields: Vec<String> = fields.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
                format!("{{{}}}", fields.join(","))
            }),
        ]
    })
}

proptest! {
    #[test]
    fn a_body_never_panics(body in near_json(), ignore_unknown: bool) {
        convert(&Method::POST, "/v1/tasks", "", &body, ignore_unknown);
        convert(&Method::POST, "/v1/tasks:batchSubmit", "", &body, ignore_unknown);
    }

    #[test]
    fn a_query_never_panics(
        query in "((namespace|page_size|states|pageToken|a\\.b|\\PC{0,5}|%[0-9a-fA-F]{0,2})=?(\\PC{0,6}|%[0-9a-f]{0,2}|[0-9]{1,12})&?){0,6}",
        ignore_unknown: bool,
    ) {
        convert(&Method::GET, "/v1/tasks", &query, "", ignore_unknown);
        convert(&Method::GET, "/v1/tasks/7:wait", &query, "", ignore_unknown);
    }

    #[test]
    fn a_path_never_panics(path in "/v1/(tasks|services|\\PC{0,4})(/(\\PC{0,6}|%[0-9a-f]{0,2}|\\.\\.|instances)){0,4}(:\\PC{0,4})?") {
        for method in [Method::GET, Method::POST, Method::DELETE] {
            convert(&method, &path, "", "", false);
        }
    }

    #[test]
    fn an_answer_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        SNAPSHOT.with(|snapshot| {
            for path in ["/mcp.scheduler.v1.TaskService/SubmitTask", "/mcp.scheduler.v1.WorkflowService/GetWorkflow"] {
                if let Some((_, facts)) = snapshot.method(path) {
                    for kind in [facts.by_name.rpc.input(), facts.by_name.rpc.output()] {
                        if let Ok(message) = DynamicMessage::decode(kind, bytes.as_slice()) {
                            drop(json::write(snapshot, &message, None));
                        }
                    }
                }
            }
        });
    }
}

#[test]
fn depth_is_bounded() {
    for (open, close) in [(r#"{"handler":{"input":"#, "}}"), ("[", "]"), (r#"{"a":"#, "}")] {
        let body = format!("{}1{}", open.repeat(50_000), close.repeat(50_000));
        convert(&Method::POST, "/v1/tasks", "", &body, false);
        convert(&Method::POST, "/v1/tasks", "", &body, true);
    }
    let query = format!("{}=1", vec!["spec"; 50_000].join("."));
    convert(&Method::GET, "/v1/tasks", &query, "", false);
}
