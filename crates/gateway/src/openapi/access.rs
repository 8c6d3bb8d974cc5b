//! Who may call, as the document tells it. Pure.

use serde_json::{Map, Value, json};

use crate::security::{roles, settings::SecuritySettings};

const BEARER: &str = "bearer";
const API_KEY: &str = "apiKey";
const CERTIFICATE: &str = "certificate";

/// How callers may prove who they are.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Access {
    is_anonymous: bool,
    has_certificates: bool,
}

impl Access {
    /// By the gateway's settings.
    pub(crate) fn new(settings: &SecuritySettings) -> Self {
        Self { is_anonymous: settings.anonymous, has_certificates: settings.tls.client_ca.is_some() }
    }

    /// The schemes of the document.
    pub(super) fn schemes(self) -> Value {
        let mut schemes = json!({
            BEARER: {
                "type": "http", "scheme": "bearer",
                "description": "An API key, as `mcp key create` prints it, or a token (JWT) of an issuer that the gateway \
                                knows.",
            },
            API_KEY: {"type": "apiKey", "in": "header", "name": "x-api-key", "description": "An API key."},
        });
        if self.has_certificates {
            schemes[CERTIFICATE] =
                json!({"type": "mutualTLS", "description": "A certificate, shown in the handshake of TLS."});
        }
        schemes
    }

    /// What every call needs that says nothing else.
    pub(super) fn usual(self) -> Value {
        self.with(&[])
    }

    /// What a call of one of the platform's methods needs: a role too. `None` for what is not the platform's.
    pub(super) fn of(self, rpc_path: &str) -> Option<Value> {
        roles::need(rpc_path).map(|need| self.with(&[need.role.name()]))
    }

    fn with(self, roles: &[&str]) -> Value {
        let mut names = vec![BEARER, API_KEY];
        if self.has_certificates {
            names.push(CERTIFICATE);
        }
        let mut all: Vec<Value> = Vec::new();
        if self.is_anonymous {
            all.push(json!({}));
        }
        all.extend(names.into_iter().map(|name| Map::from_iter([(name.to_owned(), json!(roles))]).into()));
        all.into()
    }
}
