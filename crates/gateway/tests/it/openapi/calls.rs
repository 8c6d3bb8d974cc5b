//! What the document tells can be called, in the way that it tells.

use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};

use super::platform;
use crate::support::Cluster;

/// Where a `$ref` leads.
fn resolved<'d>(document: &'d Value, schema: &'d Value) -> &'d Value {
    match schema["$ref"].as_str() {
        Some(reference) => document.pointer(reference.strip_prefix('#').unwrap()).unwrap(),
        None => schema,
    }
}

/// A text that fits a parameter.
fn sample(document: &Value, schema: &Value) -> String {
    let schema = resolved(document, schema);
    if let Some(example) = schema["examples"].get(0).or_else(|| schema["enum"].as_array()?.last()) {
        return example.as_str().unwrap().to_owned();
    }
    let kind = schema["type"].as_str().or_else(|| schema["type"][0].as_str());
    match kind {
        Some("array") => sample(document, &schema["items"]),
        Some("integer") => "1".into(),
        Some("boolean") => "true".into(),
        Some("null") => "NULL_VALUE".into(),
        _ if schema["format"] == "int64" || schema["format"] == "uint64" => "1".into(),
        _ if schema["contentEncoding"] == "base64" => "AQ==".into(),
        _ if schema["oneOf"].is_array() => "1.5".into(),
        _ => "x".into(),
    }
}

/// The path and query that set every parameter.
fn target(document: &Value, path: &str, operation: &Value) -> String {
    let (mut path, mut query) = (path.to_owned(), Vec::new());
    for parameter in operation["parameters"].as_array().into_iter().flatten() {
        let (name, value) = (parameter["name"].as_str().unwrap(), sample(document, &parameter["schema"]));
        match parameter["in"].as_str().unwrap() {
            "path" => path = path.replace(&format!("{{{name}}}"), &value),
            _ => query.push(format!("{name}={}", value.replace('=', "%3D"))),
        }
    }
    if query.is_empty() { path } else { format!("{path}?{}", query.join("&")) }
}

/// Calls an operation, and says what came of it.
async fn call(cluster: &Cluster, document: &Value, method: &str, path: &str, operation: &Value) -> String {
    let target = target(document, path, operation);
    if operation["responses"].get("101").is_some() {
        let handshake = [
            ("connection", "upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "AAAAAAAAAAAAAAAAAAAAAA=="),
        ];
        return cluster.open(Method::GET, &target, &handshake, Bytes::new()).await.status().as_u16().to_string();
    }
    let method = Method::from_bytes(method.to_ascii_uppercase().as_bytes()).unwrap();
    let content = &operation["requestBody"]["content"];
    let (kind, body) = match content.get("application/json") {
        Some(content) if resolved(document, &content["schema"])["type"] == "array" => ("application/json", "[]"),
        Some(_) => ("application/json", "{}"),
        None if content.is_object() => ("text/plain", "text"),
        None => ("application/json", ""),
    };
    let answer = cluster.send(method, &target, &[("content-type", kind)], body.into()).await;
    if answer.status.is_success() { answer.status.as_u16().to_string() } else { answer.error() }
}

/// Every operation: its method, its path, itself.
fn operations(document: &Value) -> Vec<(String, String, Value)> {
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        let custom = item.get("x-mcp-methods").and_then(Value::as_object).into_iter().flatten();
        for (method, operation) in item.as_object().unwrap().iter().chain(custom) {
            if operation["operationId"].is_string() {
                found.push((method.clone(), path.clone(), operation.clone()));
            }
        }
    }
    found
}

#[tokio::test]
async fn every_operation_can_be_called_as_it_is_told() {
    let (_platform, _sink, cluster) = platform().await;
    let document = cluster.get("/openapi.json").await.json();
    let all = operations(&document);
    for service in ["mcp.scheduler.v1.TaskService", "mcp.gateway.v1.RouteService", "mcp.registry.v1.RegistryService"] {
        assert!(all.iter().any(|(_, _, operation)| operation["tags"] == json!([service])), "{service}");
    }
    for (method, path, operation) in all {
        let outcome = call(&cluster, &document, &method, &path, &operation).await;
        let is_own = operation["tags"][0].as_str().unwrap().starts_with("mcp.gateway.");
        // The gateway's own services look at what they are asked, which was made up.
        let is_fine = match outcome.as_str() {
            "200" | "101" => true,
            "400 INVALID_ARGUMENT" | "400 INVALID_PAGE_TOKEN" => is_own,
            other => is_own && other.starts_with("404 ") && other.ends_with("NOT_FOUND") && !other.contains("PATH"),
        };
        assert!(is_fine, "{method} {path}: {outcome}");
    }
}
