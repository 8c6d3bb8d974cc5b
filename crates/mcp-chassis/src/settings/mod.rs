//! Settings in four layers: defaults in code < file < environment < flags.
//!
//! Nobody guesses: a key that does not exist, or a value that does not fit, stops the start from whichever layer it
//! came, with an error that names the key and the layer. Environment variables are `MCP_<SERVICE>__<SECTION>__<KEY>`;
//! the double underscore keeps variables such as Kubernetes' `MCP_SCHEDULER_PORT` from being read as keys.

mod error;
mod flags;
mod layers;
mod sections;
mod values;

pub use error::{Error, Origin};
pub use flags::Flags;
pub use layers::{Sources, to_toml};
pub use sections::{CoordSettings, LogFormat, ServiceConfig, ServiceSettings, TelemetrySettings};

#[cfg(test)]
mod tests;
