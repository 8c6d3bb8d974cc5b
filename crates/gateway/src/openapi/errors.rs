//! What failures look like, and what each of them means. Pure.

use mcp_proto::Code;
use serde_json::{Map, Value, json};

/// The schema of every failure: the shape of `mcp_proto::Error::to_json`.
pub(super) fn schema() -> Value {
    let names: Vec<&str> = Code::ALL.iter().map(|code| code.name()).collect();
    json!({
        "type": "object",
        "description": "Why a request failed. What each name means stands in `x-mcp-errors`.",
        "required": ["code", "name", "message", "retryable", "details"],
        "properties": {
            "code": {"type": "integer", "description": "The number in the catalogue of errors."},
            "name": {"type": "string", "enum": names, "description": "Match on this."},
            "message": {"type": "string", "description": "For people; may change."},
            "retryable": {"type": "boolean", "description": "True when the same request may succeed later."},
            "details": {
                "type": "array",
                "description": "More about it: `google.rpc.ErrorInfo`, `RetryInfo`, `BadRequest`.",
                "items": {
                    "type": "object", "required": ["@type"], "additionalProperties": true,
                    "properties": {"@type": {"type": "string"}},
                },
            },
        },
    })
}

/// The responses that operations refer to.
pub(super) fn responses() -> Value {
    let content = json!({"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}});
    json!({
        "Unauthenticated": {
            "description": "The credentials are missing, wrong or expired; the metadata `reason` says which.",
            "headers": {"www-authenticate": {"schema": {"type": "string"}, "description": "What to bring (RFC 6750)."}},
            "content": content,
        },
        "PermissionDenied": {
            "description": "The caller is known and may not do this; the metadata `role` says what is needed.",
            "content": content,
        },
        "Error": {
            "description": "Any other failure. `retry-after` says when to come again, if it is worth it.",
            "headers": {"retry-after": {"schema": {"type": "integer"}, "description": "Seconds."}},
            "content": content,
        },
    })
}

/// Every error by its name.
pub(super) fn catalogue() -> Value {
    let told = Code::ALL.iter().map(|code| {
        let about = json!({
            "code": code.number(), "http": code.http(), "grpc": code.grpc() as i32,
            "retryable": code.retryable(), "text": code.text(),
        });
        (code.name().to_owned(), about)
    });
    Map::from_iter(told).into()
}
