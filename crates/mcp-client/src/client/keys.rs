//! API keys.

use std::time::Duration;

use mcp_proto::{
    Error,
    gateway::v1::{CreateKeyRequest, CreateKeyResponse, Grant, ListKeysRequest, ListKeysResponse, RevokeKeyRequest},
};

use super::Client;

impl Client {
    /// Makes an API key that holds for `ttl`, or until it is revoked. Its secret is in the answer and nowhere else.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT`, and those of every call.
    pub async fn create_key(
        &self,
        name: &str,
        grants: Vec<Grant>,
        ttl: Option<Duration>,
    ) -> Result<CreateKeyResponse, Error> {
        let ttl = ttl.map(prost_types::Duration::try_from).transpose();
        let ttl = ttl.map_err(|_| Error::invalid("ttl", "is too long"))?;
        let request = CreateKeyRequest { name: name.to_owned(), grants, ttl };
        self.write().unary(request, |request| async { self.keys.clone().create_key(request).await }).await
    }

    /// Lists API keys by id, a page at a time.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn keys(&self, page_size: i32, page_token: &str) -> Result<ListKeysResponse, Error> {
        let request = ListKeysRequest { page_size, page_token: page_token.to_owned() };
        self.read().unary(request, |request| async { self.keys.clone().list_keys(request).await }).await
    }

    /// Ends an API key.
    ///
    /// # Errors
    /// `NOT_FOUND`, and those of every call.
    pub async fn revoke_key(&self, id: &str) -> Result<(), Error> {
        let request = RevokeKeyRequest { id: id.to_owned() };
        self.write().unary(request, |request| async { self.keys.clone().revoke_key(request).await }).await.map(drop)
    }
}
