//! `[scheduler.postgres]`: how to reach a store that replicas share.

use std::{fmt, time::Duration};

use mcp_chassis::settings::Error;
use serde::{Deserialize, Serialize, Serializer};

use crate::store::PostgresSettings;

/// Where tasks are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StoreKind {
    /// In a folder of this machine: nothing to install, one replica at a time.
    #[default]
    Embedded,
    /// In PostgreSQL: any number of replicas.
    Postgres,
}

/// `[scheduler.postgres]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Postgres {
    /// `postgres://user:password@host:port/database`, or keywords and values. Never shown.
    pub url: DatabaseUrl,
    /// Schema of the tables; made when it is missing. Clusters that share a database each need their own.
    pub schema: String,
    /// Connections for reads; one more is for commits.
    pub pool_size: usize,
    /// Longest wait for a connection.
    #[serde(with = "humantime_serde")]
    pub connect_timeout: Duration,
    /// Longest wait for a commit; after it partitions are opened anew.
    #[serde(with = "humantime_serde")]
    pub commit_timeout: Duration,
    /// Longest wait for a read.
    #[serde(with = "humantime_serde")]
    pub read_timeout: Duration,
}

impl Default for Postgres {
    fn default() -> Self {
        let PostgresSettings { schema, pool_size, connect_timeout, commit_timeout, read_timeout, .. } =
            PostgresSettings::new("");
        Self { url: DatabaseUrl::default(), schema, pool_size, connect_timeout, commit_timeout, read_timeout }
    }
}

impl Postgres {
    #[allow(clippy::result_large_err, reason = "the error of the trait; made at most once, at the start")]
    pub(super) fn validate(&self, kind: StoreKind) -> Result<(), Error> {
        if kind == StoreKind::Postgres && self.url.0.is_empty() {
            let reason = "is needed for `store = \"postgres\"`, for example postgres://user:password@host/database";
            return Err(Error::invalid("scheduler.postgres.url", reason));
        }
        Ok(())
    }

    /// The settings in the store's terms.
    pub(crate) fn settings(&self) -> PostgresSettings {
        PostgresSettings {
            url: self.url.0.clone(),
            schema: self.schema.clone(),
            pool_size: self.pool_size,
            connect_timeout: self.connect_timeout,
            commit_timeout: self.commit_timeout,
            read_timeout: self.read_timeout,
        }
    }
}

/// A URL with a password in it: read from settings, never shown.
#[derive(Clone, PartialEq, Eq, Default, Deserialize)]
pub struct DatabaseUrl(String);

impl From<String> for DatabaseUrl {
    fn from(url: String) -> Self {
        Self(url)
    }
}

impl DatabaseUrl {
    fn shown(&self) -> &str {
        if self.0.is_empty() { "" } else { "<redacted>" }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.shown())
    }
}

impl Serialize for DatabaseUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.shown())
    }
}

#[cfg(test)]
mod tests {
    use super::{Postgres, StoreKind};

    #[test]
    fn the_url_is_needed_and_never_shown() {
        let mut postgres = Postgres::default();
        assert!(postgres.validate(StoreKind::Embedded).is_ok());
        assert!(postgres.validate(StoreKind::Postgres).unwrap_err().to_string().contains("scheduler.postgres.url"));
        postgres.url = "postgres://me:secret@host/x".to_owned().into();
        assert!(postgres.validate(StoreKind::Postgres).is_ok());
        let shown = format!("{postgres:?} {}", serde_json::to_string(&postgres).unwrap());
        assert!(!shown.contains("secret"), "{shown}");
    }
}
