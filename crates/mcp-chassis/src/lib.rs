//! What every service shares: settings, telemetry, health, metrics, server, shutdown, registration.
//!
//! A service is a settings type ([`ServiceConfig`]), a `run` function, and a `main` that is one call of
//! [`service_main`]. Inside `run` it gives its gRPC services to a [`Server`], which adds health, reflection, metrics,
//! the layers around every call, registration under a lease, and the order in which everything stops.
//!
//! This crate knows no service: not their names, not their ports, not their contracts.

mod health;
pub mod metrics;
mod program;
pub mod server;
pub mod settings;
pub mod telemetry;
pub mod trace;

pub use program::{Deps, service_main};
pub use server::{Readiness, Server};
pub use settings::{CoordSettings, ServiceConfig, ServiceSettings, TelemetrySettings};
