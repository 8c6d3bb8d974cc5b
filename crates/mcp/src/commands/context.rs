//! What every command that talks to a gateway has.

use std::{future::Future, time::Duration};

use mcp_client::Client;
use mcp_proto::Error;
use tokio::time::timeout;

use crate::{
    args::{Format, Global},
    exit::Failure,
    output::{json, print},
};

/// A client, and how to answer.
#[derive(Debug, Clone)]
pub(super) struct Context {
    /// The client of the gateway.
    pub(super) client: Client,
    /// The gateway's URL.
    pub(super) gateway: String,
    /// How to print.
    pub(super) format: Format,
    /// `--timeout`.
    pub(super) timeout: Option<Duration>,
}

impl Context {
    /// A context from the flags. Nothing is connected yet.
    ///
    /// # Errors
    /// A gateway URL that is none, roots that cannot be read, a token that cannot be sent.
    pub(super) fn new(global: &Global) -> Result<Self, Failure> {
        let ca = global.ca.as_deref().map(std::fs::read).transpose();
        let ca = ca.map_err(|error| Failure::usage(format!("--ca cannot be read: {error}"), "name a PEM file"))?;
        let client = Client::connect_trusting(&global.gateway, ca.as_deref())
            .map_err(|error| Failure::usage(error.message(), "write for instance --gateway http://127.0.0.1:8080"))?;
        let client = match &global.token {
            Some(token) => client
                .with_token(token)
                .map_err(|error| Failure::usage(error.message(), "write --token as `mcp key create` printed it"))?,
            None => client,
        };
        let client = match global.timeout {
            Some(timeout) => client.with_deadline(timeout),
            None => client,
        };
        Ok(Self { client, gateway: global.gateway.clone(), format: global.output, timeout: global.timeout })
    }

    /// The failure that an answer is.
    pub(super) fn failure(&self, error: impl Into<Error>) -> Failure {
        Failure::of(&error.into(), &self.gateway)
    }

    /// Does `work` for at most `--timeout`.
    ///
    /// # Errors
    /// Those of `work`; [`Failure::timed_out`].
    pub(super) async fn within<T>(&self, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        match self.timeout {
            Some(limit) => timeout(limit, work).await.unwrap_or_else(|_| Err(Failure::timed_out())),
            None => work.await,
        }
    }

    /// True when a program reads the answer.
    pub(super) fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// Prints a message as JSON, or what `table` makes of it.
    ///
    /// # Errors
    /// Of the output.
    pub(super) fn answer<M: json::Named>(&self, message: &M, table: impl FnOnce(&M) -> String) -> Result<(), Failure> {
        match self.format {
            Format::Json => print::line(json::pretty(&json::to_json(message))),
            Format::Table => print::line(table(message)),
        }
    }
}
