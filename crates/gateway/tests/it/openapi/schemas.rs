//! The document is one of OpenAPI 3.1, and what it says of messages is true.

use std::{collections::BTreeSet, path::Path};

use prost_reflect::DynamicMessage;
use rand::{SeedableRng, rngs::StdRng};
use serde_json::{Value, json};

use super::{platform, validator::Validator};
use crate::{
    dynamic::random,
    sink::{EVERYTHING, everything, sink},
};

/// Compares with a file of `tests/golden`, and says how to take over what differs.
fn check(name: &str, found: &str) {
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    let golden = std::fs::read_to_string(place).unwrap();
    if golden == found {
        return;
    }
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&place, found).unwrap();
    let differs = golden.lines().zip(found.lines()).position(|(a, b)| a != b);
    let line = differs.unwrap_or_else(|| golden.lines().count().min(found.lines().count()));
    panic!(
        "tests/golden/{name} differs at line {}:\n  {}\n  {}\nif that is meant: cp {} tests/golden/",
        line + 1,
        golden.lines().nth(line).unwrap_or_default(),
        found.lines().nth(line).unwrap_or_default(),
        place.display(),
    );
}

/// Every `$ref` in a document.
fn references<'v>(value: &'v Value, found: &mut BTreeSet<&'v str>) {
    match value {
        Value::Object(map) => {
            found.extend(map.get("$ref").and_then(Value::as_str));
            map.values().for_each(|value| references(value, found));
        }
        Value::Array(list) => list.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

#[tokio::test]
async fn the_document_is_openapi_3_1_and_refers_to_nothing_that_is_not_there() {
    let (_platform, _sink, cluster) = platform().await;
    let document = cluster.get("/openapi.json").await.json();
    let schema: Value = serde_json::from_str(include_str!("../../data/openapi-3.1.schema.json")).unwrap();
    let validator = Validator::new(&schema);
    assert_eq!(validator.errors("#", &document), Vec::<String>::new());
    // The check is one: a document without a title is none.
    let mut wrong = document.clone();
    wrong["info"].as_object_mut().unwrap().remove("title");
    assert_eq!(validator.errors("#", &wrong), ["/info: no title"]);

    let mut found = BTreeSet::new();
    references(&document, &mut found);
    for reference in found {
        assert!(document.pointer(reference.strip_prefix('#').unwrap()).is_some(), "{reference}");
    }
    let items = document["paths"].as_object().unwrap().values().flat_map(|item| item.as_object().unwrap().values());
    let ids: Vec<&str> = items.filter_map(|operation| operation["operationId"].as_str()).collect();
    assert!(ids.len() > 100, "{}", ids.len());
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len());
    let tags: Vec<&str> =
        document["tags"].as_array().unwrap().iter().map(|tag| tag["name"].as_str().unwrap()).collect();
    assert!(
        tags.is_sorted() && tags.contains(&"mcp.scheduler.v1.TaskService") && tags.contains(&"sink.v1.Sink"),
        "{tags:?}"
    );
    let task = &document["components"]["schemas"]["mcp.scheduler.v1.TaskSpec"];
    assert!(task["description"].is_string(), "comments of the platform's protos are there");
}

/// A few lines for each operation: method, path, id, parameters, body, answer. What is in a query is told in full once.
fn lines(document: &Value, prefix: &str) -> String {
    let kind = |schema: &Value| match (&schema["$ref"], &schema["properties"]) {
        (Value::String(reference), _) => reference.rsplit('/').next().unwrap().to_owned(),
        (_, Value::Object(fields)) => Vec::from_iter(fields.keys().map(String::as_str)).join(" "),
        _ => schema.to_string(),
    };
    let mut text = String::new();
    for (path, item) in document["paths"].as_object().unwrap().iter().filter(|(path, _)| path.starts_with(prefix)) {
        let custom = item.get("x-mcp-methods").and_then(Value::as_object).into_iter().flatten();
        for (method, operation) in
            item.as_object().unwrap().iter().chain(custom).filter(|(_, it)| it["tags"].is_array())
        {
            text.push_str(&format!("{method} {path}\n  id {}\n", operation["operationId"].as_str().unwrap()));
            let mut names = Vec::new();
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                let (place, name) = (parameter["in"].as_str().unwrap(), parameter["name"].as_str().unwrap());
                if place == "path" || path == "/sink/v1/echo" {
                    text.push_str(&format!("  {place} {name}: {}\n", kind(&parameter["schema"])));
                } else {
                    names.push(name);
                }
            }
            if !names.is_empty() {
                text.push_str(&format!("  query {}\n", names.join(" ")));
            }
            for (content_type, content) in operation["requestBody"]["content"].as_object().into_iter().flatten() {
                text.push_str(&format!("  body {content_type}: {}\n", kind(&content["schema"])));
            }
            for (content_type, content) in operation["responses"]["200"]["content"].as_object().into_iter().flatten() {
                text.push_str(&format!("  200 {content_type}: {}\n", kind(&content["schema"])));
            }
            if let Some(socket) = operation.get("x-mcp-websocket") {
                text.push_str(&format!("  socket {} -> {}\n", kind(&socket["send"]), kind(&socket["receive"])));
            }
        }
    }
    text
}

#[tokio::test]
async fn one_of_everything_is_told_as_it_was() {
    let (_backend, cluster) = sink().await;
    let document = cluster.get("/openapi.json").await.json();
    check("sink-operations.txt", &lines(&document, "/sink"));
    let mut schemas = document["components"]["schemas"].as_object().unwrap().clone();
    schemas.retain(|name, _| name.starts_with("sink.") || name.starts_with("google."));
    let schemas = format!("{:#}\n", Value::Object(schemas));
    check("sink-schemas.json", &schemas);
}

/// Enums whose number has no name are numbers, which the schema does not say: they are left out here.
fn named(value: &mut Value) {
    const ENUMS: [&str; 4] = ["fColor", "rColor", "mColors", "pColor"];
    match value {
        Value::Object(map) => {
            for (name, value) in map {
                if ENUMS.contains(&name.as_str()) {
                    rename(value);
                } else {
                    named(value);
                }
            }
        }
        Value::Array(list) => list.iter_mut().for_each(named),
        _ => {}
    }
}

fn rename(value: &mut Value) {
    match value {
        Value::Number(_) => *value = json!("COLOR_RED"),
        Value::Object(map) => map.values_mut().for_each(rename),
        Value::Array(list) => list.iter_mut().for_each(rename),
        _ => {}
    }
}

#[tokio::test]
async fn requests_and_answers_fit_their_schemas() {
    let (backend, cluster) = sink().await;
    let document = cluster.get("/openapi.json").await.json();
    let validator = Validator::new(&document);
    let errors = |value: &Value| validator.errors("#/components/schemas/sink.v1.Everything", value);
    let mut whole = everything();
    named(&mut whole);
    assert_eq!(errors(&whole), Vec::<String>::new());
    let kind = backend.pool.get_message_by_name(EVERYTHING).unwrap();
    for seed in 0..60 {
        let message = random::message(&kind, &mut StdRng::seed_from_u64(seed), 0);
        let json = serde_json::to_string(&message).unwrap();
        let mut answer = cluster.post("/sink/v1/echo", &json).await.json();
        named(&mut answer);
        assert_eq!(errors(&answer), Vec::<String>::new(), "seed {seed}: {answer}");
    }
    // And what does not fit is refused, by the schema and by the gateway.
    for wrong in [
        json!({"fInt64": "x"}),
        json!({"fInt32": 2_147_483_648_u64}),
        json!({"fUint32": -1}),
        json!({"fColor": "NO_SUCH"}),
        json!({"oText": "a", "oNumber": "1"}),
        json!({"wDuration": "soon"}),
        json!({"mInner": {"x": {}}}),
        json!({"mFlags": {"maybe": 1}}),
        json!({"rBool": true}),
        json!({"fDouble": "many"}),
        json!({"inner": []}),
    ] {
        assert!(!errors(&wrong).is_empty(), "{wrong}");
        assert!(DynamicMessage::deserialize(kind.clone(), wrong.clone()).is_err(), "{wrong}");
        assert_eq!(cluster.post("/sink/v1/echo", &wrong.to_string()).await.status, 400, "{wrong}");
    }
}
