//! Who may call: over real sockets, with real tokens and certificates.

mod abuse;
mod documents;
mod issuer;
mod keys;
pub(crate) mod pki;
mod rates;
mod tls;
mod tokens;

use bytes::Bytes;
use gateway::Config;
use http::Method;
use mcp_proto::{
    Error,
    scheduler::v1::{GetTaskRequest, Task, task_service_client::TaskServiceClient},
};
use tonic::{Request, Status};

use crate::support::{Answer, Cluster};

/// A bootstrap key.
const BOOTSTRAP: &str = "bootstrap-key-of-the-tests-0123456789";

/// Settings with a bootstrap key and nobody else.
fn closed() -> Config {
    let mut config = Config::default();
    config.gateway.security.bootstrap_key = BOOTSTRAP.to_owned().into();
    config
}

impl Cluster {
    /// A request over HTTP with a credential; empty: without.
    async fn with_token(&self, method: Method, path: &str, token: &str, json: &str) -> Answer {
        let bearer = format!("Bearer {token}");
        let mut headers = vec![("content-type", "application/json")];
        if !token.is_empty() {
            headers.push(("authorization", bearer.as_str()));
        }
        self.send(method, path, &headers, Bytes::from(json.to_owned())).await
    }

    async fn get_with(&self, path: &str, token: &str) -> Answer {
        self.with_token(Method::GET, path, token, "").await
    }

    /// The same task over gRPC.
    async fn task_with(&self, id: &str, token: &str) -> Result<Task, Status> {
        let mut client = TaskServiceClient::new(self.channel().await);
        let answer = client.get_task(bearing(GetTaskRequest { task_id: id.into() }, token)).await?;
        Ok(answer.into_inner().task.unwrap())
    }
}

/// A gRPC request with a credential; empty: without.
fn bearing<M>(message: M, token: &str) -> Request<M> {
    let mut request = Request::new(message);
    if !token.is_empty() {
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    }
    request
}

/// The reason that a refusal gives over HTTP.
fn reason(answer: &Answer) -> String {
    let details = answer.json()["details"].as_array().cloned().unwrap_or_default();
    let reason = details.iter().find_map(|detail| detail["metadata"]["reason"].as_str());
    reason.unwrap_or_default().to_owned()
}

/// The name and the reason that a refusal gives over gRPC.
fn refusal(status: &Status) -> (&'static str, String) {
    let error = Error::from(status);
    (error.code().name(), error.metadata().get("reason").cloned().unwrap_or_default())
}
