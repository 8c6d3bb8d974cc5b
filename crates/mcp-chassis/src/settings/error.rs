//! What can be wrong with settings.

use std::{fmt, path::PathBuf};

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The program itself.
    Default,
    /// The settings file.
    File(PathBuf),
    /// A variable of the environment, by its name.
    Environment(String),
    /// A flag of the command line, as typed.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("the defaults"),
            Self::File(path) => write!(f, "file `{}`", path.display()),
            Self::Environment(name) => write!(f, "environment variable `{name}`"),
            Self::Flag(flag) => write!(f, "flag `{flag}`"),
        }
    }
}

/// Why settings were refused. All are for the person who starts the program: nothing has been opened yet.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The settings file cannot be read, or is not TOML or YAML.
    #[error("settings file `{}` cannot be loaded", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: config::ConfigError,
    },
    /// A key that does not exist, or a value of the wrong type.
    #[error("setting `{key}` from {origin} is wrong: {reason}")]
    Key {
        /// Path of the key, for instance `service.listen`.
        key: String,
        /// Which layer it came from.
        origin: Origin,
        /// What is wrong and what is expected.
        reason: String,
    },
    /// A value that has the right type but cannot work.
    #[error("setting `{key}` is wrong: {reason}")]
    Invalid {
        /// Path of the key.
        key: String,
        /// What is wrong and what is expected.
        reason: String,
    },
    /// A variable or flag that cannot be read as a key and a value.
    #[error("{origin} is malformed: {reason}")]
    Malformed {
        /// The variable or flag.
        origin: Origin,
        /// What is wrong with it.
        reason: String,
    },
    /// The settings cannot be written as TOML or read back; a fault of the settings type, not of the person.
    #[error("the settings cannot be represented")]
    Representation(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Error {
    /// A value of the right type that cannot work; for [`ServiceConfig::validate`](super::ServiceConfig::validate).
    pub fn invalid(key: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Invalid { key: key.into(), reason: reason.into() }
    }
}
