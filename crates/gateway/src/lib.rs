//! The gateway: one public port for gRPC and HTTP/JSON in front of every registered service.
//!
//! The control plane (registration, discovery, metrics) runs on the runtime that called [`run`]. The data plane is a
//! thread for each core (`plane`) with a runtime and upstream connections of its own. A request goes through
//! `pipeline`: it gets its place in a trace, finds its route (`routes`) and goes through that route's layers (`onion`).
//! Inside of them it passes `gate`: who calls (`security`), and how often (`limits`). Then it is gRPC, passed on without
//! being decoded (`proxy`), or made a gRPC call: HTTP/JSON (`transcode`), WebSocket (`websocket`) or gRPC-Web
//! (`grpc_web`), by what its service tells of itself (`descriptors`). Sessions of the wire frame (`frames`) make their
//! requests gRPC ones, which go the same way. `upstream` knows the instances, balances between them and decides what is
//! tried again. `builtin` are pages about the gateway, `admin` those for who runs it, `platform` its own services. A
//! request's identity (`trace`) carries its `record`, which is counted (`metrics`) and logged (`access_log`) once, when
//! everything about the request has ended.
//! `openapi` and `reflect` show what is registered.
//!
//! Deadlines, cancellation, metadata, trailers and trace context cross the gateway in both directions. Whatever fails
//! here is an entry of the error catalogue, on gRPC and on HTTP.

mod access_log;
mod admin;
mod body;
mod builtin;
mod call;
mod caller;
pub mod config;
mod connections;
mod contract;
mod control;
mod core;
mod deadline;
mod descriptors;
mod ending;
mod exchange;
mod flow;
mod form;
mod forwarded;
mod frames;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod gate;
mod grpc_web;
mod headers;
mod limits;
mod metrics;
mod onion;
mod onward;
mod openapi;
mod pipeline;
mod plane;
mod platform;
mod proxy;
mod record;
mod reflect;
mod reply;
mod routes;
mod safe;
mod security;
mod trace;
mod transcode;
mod upstream;
mod websocket;

use std::{ffi::OsString, process::ExitCode};

pub use config::Config;
pub use control::run;
pub use upstream::policy;

/// The whole program: flags, settings, telemetry, [`run`], exit code. `args` begins with the program's name.
pub fn main(args: impl Iterator<Item = OsString>) -> ExitCode {
    mcp_chassis::service_main::<Config, _, _>(config::SERVICE, args, |config, deps| {
        run(config, deps.listener, deps.coord, deps.stop)
    })
}
