//! One way to call one method, as an OpenAPI operation. Pure.

use prost_reflect::{FieldDescriptor, MethodDescriptor};
use serde_json::{Map, Value, json};

use super::{
    access::Access,
    comments, parameters,
    path::Pattern,
    schema::{Schemas, is_deprecated},
};
use crate::transcode::rules::{BodyRule, Route};

/// The subprotocol of a WebSocket.
const SUBPROTOCOL: &str = "mcp.json";

/// What is described.
#[derive(Debug, Clone, Copy)]
pub(super) struct Operation<'a> {
    /// The way.
    pub(super) route: &'a Route,
    /// Its path, the parameters under the names that the document has for them.
    pub(super) pattern: &'a Pattern,
    /// Its id, once in the document.
    pub(super) id: &'a str,
}

impl Operation<'_> {
    /// The operation object.
    pub(super) fn describe(self, schemas: &mut Schemas, access: &Access) -> Value {
        let rpc = &self.route.rpc;
        let service = rpc.parent_service();
        let mut told = Map::new();
        told.insert("operationId".into(), self.id.into());
        told.insert("tags".into(), json!([service.full_name()]));
        let comment = schemas.comments.of(&rpc.parent_file(), rpc.path());
        let summary = if comment.is_empty() { rpc.name().to_owned() } else { comments::summary(comment) };
        if !comment.is_empty() {
            told.insert("description".into(), comment.into());
        }
        told.insert("summary".into(), summary.into());
        if is_deprecated(&rpc.options()) || is_deprecated(&service.options()) {
            told.insert("deprecated".into(), true.into());
        }
        let parameters = parameters::all(schemas, self.route, self.pattern);
        if !parameters.is_empty() {
            told.insert("parameters".into(), parameters.into());
        }
        let is_socket = rpc.is_client_streaming();
        if let Some(body) = self.body(schemas).filter(|_| !is_socket) {
            told.insert("requestBody".into(), body);
        }
        told.insert("responses".into(), self.responses(schemas, is_socket));
        if let Some(security) = access.of(self.route.rpc_path.path()) {
            told.insert("security".into(), security);
        }
        told.insert("x-mcp-grpc".into(), json!({"path": self.route.rpc_path.path(), "streams": streams(rpc)}));
        if rpc.is_client_streaming() || rpc.is_server_streaming() {
            told.insert("x-mcp-websocket".into(), self.socket(schemas));
        }
        told.into()
    }

    fn body(self, schemas: &mut Schemas) -> Option<Value> {
        if self.route.raw_request {
            return Some(json!({"description": "Content of any type.", "content": {"*/*": {}}}));
        }
        let schema = self.message_sent(schemas)?;
        Some(json!({"content": {"application/json": {"schema": schema}}}))
    }

    /// The schema of the JSON that a request has as its body.
    fn message_sent(self, schemas: &mut Schemas) -> Option<Value> {
        let variables: Vec<&[FieldDescriptor]> = self.route.variables.iter().map(Vec::as_slice).collect();
        match &self.route.body {
            BodyRule::None => None,
            BodyRule::Whole => Some(schemas.message_without(&self.route.rpc.input(), &variables)),
            BodyRule::Field(field) => {
                let inside = variables.iter().filter(|steps| steps.first() == Some(field)).map(|steps| &steps[1..]);
                let inside: Vec<&[FieldDescriptor]> = inside.collect();
                Some(match field.kind().as_message().filter(|_| !inside.is_empty()) {
                    Some(message) => schemas.message_without(message, &inside),
                    None => schemas.content(field),
                })
            }
        }
    }

    /// The schema of one answer.
    fn message_received(self, schemas: &mut Schemas) -> Value {
        match &self.route.response_field {
            Some(field) => schemas.content(field),
            None => schemas.message(&self.route.rpc.output()),
        }
    }

    fn responses(self, schemas: &mut Schemas, is_socket: bool) -> Value {
        let (status, well) = if is_socket {
            (
                "101",
                json!({"description": "A WebSocket, see `x-mcp-websocket`. A request that asks for none is refused."}),
            )
        } else {
            ("200", self.done(schemas))
        };
        json!({
            status: well,
            "401": {"$ref": "#/components/responses/Unauthenticated"},
            "403": {"$ref": "#/components/responses/PermissionDenied"},
            "default": {"$ref": "#/components/responses/Error"},
        })
    }

    fn done(self, schemas: &mut Schemas) -> Value {
        let is_stream = self.route.rpc.is_server_streaming();
        if self.route.raw_response {
            let text = if is_stream { "Content of any type, as it comes." } else { "Content of any type." };
            return json!({"description": text, "content": {"*/*": {}}});
        }
        let message = self.message_received(schemas);
        if !is_stream {
            return json!({"description": "Done.", "content": {"application/json": {"schema": message}}});
        }
        let failed = json!({"type": "object", "required": ["error"],
            "properties": {"error": {"$ref": "#/components/schemas/Error"}}});
        json!({
            "description": "A stream: each line is a message; with `accept: text/event-stream`, each event. An error in the \
                            middle is the last line, `{\"error\": …}`, or the last event, `error`. Events that ended well \
                            end with an event `end`.",
            "content": {
                "application/x-ndjson": {"schema": {"anyOf": [message, failed]}, "x-mcp-stream": "lines"},
                "text/event-stream": {"schema": message, "x-mcp-stream": "events"},
            },
        })
    }

    fn socket(self, schemas: &mut Schemas) -> Value {
        let sent = self.message_sent(schemas);
        json!({
            "subprotocol": SUBPROTOCOL,
            "send": sent.unwrap_or_else(|| json!({"type": "object", "description": "Nothing of it is read: send `{}`."})),
            "receive": self.message_received(schemas),
            "end": "an empty text message ends the caller's side",
            "error": "`{\"error\": …}`, then a close with 4000 + gRPC status code",
        })
    }
}

/// Which sides of a method stream.
fn streams(rpc: &MethodDescriptor) -> &'static str {
    match (rpc.is_client_streaming(), rpc.is_server_streaming()) {
        (false, false) => "none",
        (true, false) => "client",
        (false, true) => "server",
        (true, true) => "both",
    }
}
