//! Puts the document together.

use std::{collections::HashMap, sync::Arc};

use http::Method;
use serde_json::{Map, Value, json};

use super::{
    access::Access,
    errors,
    operation::Operation,
    path::Pattern,
    schema::{Schemas, is_deprecated},
};
use crate::{
    descriptors::{Known, live::Shown},
    transcode::rules::Route,
};

/// The version of OpenAPI.
const VERSION: &str = "3.1.0";

/// Most operations of a document; services beyond it are named in `x-mcp-left-out`.
const OPERATIONS_MAX: usize = 10_000;

/// The methods that OpenAPI has a place for.
const METHODS: [Method; 8] = [
    Method::GET,
    Method::PUT,
    Method::POST,
    Method::DELETE,
    Method::OPTIONS,
    Method::HEAD,
    Method::PATCH,
    Method::TRACE,
];

/// Those that a rule for every method stands under.
const EVERY: [&str; 5] = ["get", "put", "post", "delete", "patch"];

const ABOUT: &str = "Every service that is registered at this gateway, as HTTP/JSON: by its `google.api.http` rules, and \
    each method also as `POST /package.Service/Method`. The document follows the registry; ask again with \
    `if-none-match`. The same services are there as gRPC on the same port, with server reflection.\n\nA request may say \
    how long it waits: `x-timeout: 1.5s`. Every answer has an `x-trace-id`.";

/// Makes the document of what is registered. `is_page` tells the paths that the gateway keeps for itself.
pub(crate) fn document(shown: &Shown, access: &Access, is_page: fn(&str) -> bool) -> Value {
    let mut document = Document::new(*access, is_page);
    let mut left_out = Vec::new();
    for known in shown.described() {
        if document.operations + ways(known) > OPERATIONS_MAX {
            left_out.push(known.service.name().to_owned());
            continue;
        }
        document.service(known, shown);
    }
    let undescribed: Vec<&str> = shown.undescribed().collect();
    document.finish(&left_out, &undescribed)
}

/// The most operations that a service may have.
fn ways(known: &Known) -> usize {
    known.service.methods.len() + known.service.routes.len() * EVERY.len()
}

struct Document {
    access: Access,
    is_page: fn(&str) -> bool,
    schemas: Schemas,
    tags: Vec<Value>,
    paths: Map<String, Value>,
    /// The first path of each shape.
    shapes: HashMap<String, Pattern>,
    operations: usize,
}

impl Document {
    fn new(access: Access, is_page: fn(&str) -> bool) -> Self {
        Self {
            access,
            is_page,
            schemas: Schemas::reserving("Error"),
            tags: Vec::new(),
            paths: Map::new(),
            shapes: HashMap::new(),
            operations: 0,
        }
    }

    fn service(&mut self, known: &Known, shown: &Shown) {
        let service = &known.service;
        self.tag(known, shown);
        for rpc in service.descriptor.methods() {
            let of_rpc = |route: &&Arc<Route>| route.rpc == rpc && shown.snapshot.is_used(route);
            let mut count = 0;
            for route in service.routes.iter().filter(of_rpc) {
                count += 1;
                let id = if count == 1 { rpc.full_name().to_owned() } else { format!("{}.{count}", rpc.full_name()) };
                self.route(route, &id);
            }
            if let Some(facts) = service.methods.get(rpc.name()) {
                let name = rpc.full_name();
                let id = if count == 0 { name.to_owned() } else { format!("{name}.byName") };
                self.route(&facts.by_name, &id);
            }
        }
    }

    fn tag(&mut self, known: &Known, shown: &Shown) {
        let descriptor = &known.service.descriptor;
        let builds = shown.live.builds(known.service.name()).into_iter().flatten();
        let builds: Vec<Value> =
            builds.map(|build| json!({"service": build.service, "version": build.version})).collect();
        let mut tag = json!({"name": known.service.name(), "x-mcp-builds": builds});
        let comment = self.schemas.comments.of(&descriptor.parent_file(), descriptor.path());
        if !comment.is_empty() {
            tag["description"] = comment.into();
        }
        if is_deprecated(&descriptor.options()) {
            tag["x-mcp-deprecated"] = true.into();
        }
        self.tags.push(tag);
    }

    /// Adds a way to call a method, under each HTTP method that it has.
    fn route(&mut self, route: &Route, id: &str) {
        let pattern = Pattern::of(&route.template);
        if pattern.parameters.is_empty() && (self.is_page)(&pattern.path) {
            return;
        }
        let shape = pattern.shape();
        let pattern = match self.shapes.get(&shape) {
            Some(first) => pattern.renamed(first),
            None => {
                self.shapes.insert(shape, pattern.clone());
                pattern
            }
        };
        let http_method = route.http_method.as_str();
        // The handshake of a WebSocket is a GET, whatever the rule says.
        if route.rpc.is_client_streaming() {
            self.add(route, &pattern, "get", id);
        } else if http_method == "*" {
            for slot in EVERY {
                self.add(route, &pattern, slot, &format!("{id}.{slot}"));
            }
        } else if METHODS.contains(&route.http_method) {
            self.add(route, &pattern, &http_method.to_ascii_lowercase(), id);
        } else {
            self.add_custom(route, &pattern, http_method, id);
        }
    }

    /// The first one of a path and method stays: more than one there can be when a WebSocket stands beside a GET, or a rule
    /// for any number of segments beside one for a single.
    fn add(&mut self, route: &Route, pattern: &Pattern, slot: &str, id: &str) {
        if self.paths.get(&pattern.path).is_some_and(|item| item.get(slot).is_some()) {
            return;
        }
        let told = Operation { route, pattern, id }.describe(&mut self.schemas, &self.access);
        self.item(&pattern.path)[slot] = told;
        self.operations += 1;
    }

    /// OpenAPI has no place for other methods, so they stand in an extension.
    fn add_custom(&mut self, route: &Route, pattern: &Pattern, method: &str, id: &str) {
        let told = Operation { route, pattern, id }.describe(&mut self.schemas, &self.access);
        self.item(&pattern.path)["x-mcp-methods"][method] = told;
        self.operations += 1;
    }

    fn item(&mut self, path: &str) -> &mut Value {
        self.paths.entry(path).or_insert_with(|| json!({}))
    }

    fn finish(self, left_out: &[String], undescribed: &[&str]) -> Value {
        let mut schemas = self.schemas.finish();
        schemas.insert("Error".into(), errors::schema());
        let mut document = json!({
            "openapi": VERSION,
            "info": {"title": "MCP gateway", "version": env!("CARGO_PKG_VERSION"), "description": ABOUT},
            "tags": self.tags,
            "paths": self.paths,
            "components": {
                "schemas": schemas,
                "responses": errors::responses(),
                "securitySchemes": self.access.schemes(),
            },
            "security": self.access.usual(),
            "x-mcp-errors": errors::catalogue(),
        });
        if !undescribed.is_empty() {
            document["x-mcp-undescribed"] = undescribed.into();
        }
        if !left_out.is_empty() {
            document["x-mcp-left-out"] = left_out.into();
        }
        document
    }
}

#[cfg(test)]
mod tests;
