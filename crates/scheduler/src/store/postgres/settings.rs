//! How to reach PostgreSQL.

use std::{fmt, time::Duration};

use tokio_postgres::Config;

/// Schema when none is named.
const SCHEMA_DEFAULT: &str = "mcp";
/// Longest name of a schema, which is PostgreSQL's.
const SCHEMA_BYTES_MAX: usize = 63;
/// Connections for reads when nothing is said.
const POOL_SIZE_DEFAULT: usize = 4;

/// Where the store is, and how long to wait for it.
#[derive(Clone)]
pub struct PostgresSettings {
    /// `postgres://user:password@host:port/database`, or keywords and values. Secret: never logged.
    pub url: String,
    /// Schema that holds the store's tables: a lower-case letter, then lower-case letters, digits or `_`; at most 63
    /// bytes. It is made when it is missing.
    pub schema: String,
    /// Connections for reads, at least 1. One more is for commits.
    pub pool_size: usize,
    /// Longest wait for a connection.
    pub connect_timeout: Duration,
    /// Longest wait for a commit. After it, nobody knows whether the commit is there.
    pub commit_timeout: Duration,
    /// Longest wait for a read, the wait for a free connection included.
    pub read_timeout: Duration,
}

impl PostgresSettings {
    /// The defaults: schema `mcp`, 4 connections for reads, 5 s to connect, 10 s for a commit or a read.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            schema: SCHEMA_DEFAULT.to_owned(),
            pool_size: POOL_SIZE_DEFAULT,
            connect_timeout: Duration::from_secs(5),
            commit_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(10),
        }
    }

    /// Checks all of it, and reads the URL.
    pub(super) fn check(&self) -> Result<Config, SettingsError> {
        let is_plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_');
        let fits = (1..=SCHEMA_BYTES_MAX).contains(&self.schema.len())
            && self.schema.bytes().all(is_plain)
            && self.schema.starts_with(|first: char| first.is_ascii_lowercase());
        if !fits {
            return Err(SettingsError::Schema { schema: self.schema.clone() });
        }
        if self.pool_size == 0 {
            return Err(SettingsError::Pool);
        }
        let mut config: Config = self.url.parse().map_err(SettingsError::Url)?;
        config.connect_timeout(self.connect_timeout);
        if config.get_application_name().is_none() {
            config.application_name("mcp-scheduler");
        }
        Ok(config)
    }
}

impl fmt::Debug for PostgresSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { url: _, schema, pool_size, connect_timeout, commit_timeout, read_timeout } = self;
        f.debug_struct("PostgresSettings")
            .field("url", &"<redacted>")
            .field("schema", schema)
            .field("pool_size", pool_size)
            .field("connect_timeout", connect_timeout)
            .field("commit_timeout", commit_timeout)
            .field("read_timeout", read_timeout)
            .finish()
    }
}

/// Why a store cannot be made of settings.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The URL makes no sense.
    #[error("the PostgreSQL URL cannot be read")]
    Url(#[source] tokio_postgres::Error),
    /// The schema's name is not allowed.
    #[error("`{schema}` is no name for a schema: a lower-case letter, then lower-case letters, digits or `_`")]
    Schema {
        /// The name.
        schema: String,
    },
    /// No connection is allowed.
    #[error("the PostgreSQL pool needs at least 1 connection")]
    Pool,
    /// Its thread does not start.
    #[error("the thread for PostgreSQL does not start")]
    Thread(#[source] std::io::Error),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_settings_are_refused_and_the_url_is_never_shown() {
        let settings = PostgresSettings::new("postgres://me:secret@localhost/x");
        assert!(!format!("{settings:?}").contains("secret"));
        assert!(settings.check().is_ok());
        for schema in ["", "Mcp", "1a", "a-b", "a\"b", &"a".repeat(64)] {
            let settings = PostgresSettings { schema: schema.to_owned(), ..settings.clone() };
            assert!(matches!(settings.check(), Err(SettingsError::Schema { .. })), "{schema}");
        }
        assert!(matches!(PostgresSettings { pool_size: 0, ..settings }.check(), Err(SettingsError::Pool)));
        let error = PostgresSettings::new("postgres://me:secret@host:port/x").check().unwrap_err();
        let source = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        assert!(!format!("{error} {error:?} {source}").contains("secret"), "{source}");
    }
}
