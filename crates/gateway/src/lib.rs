//! The gateway: one public port for gRPC and HTTP/JSON in front of every registered service.
//!
//! The control plane (registration, discovery, metrics) runs on the runtime that called [`run`]. The data plane is a
//! thread for each core (`plane`) with a runtime and upstream connections of its own. A request goes through
//! `pipeline`: it gets its place in a trace, then it is for a page of the gateway's own (`builtin`), or gRPC,
//! passed on without being decoded (`proxy`), or HTTP/JSON, made a gRPC call by its service's HTTP rules
//! (`transcode`). `upstream` knows the instances and balances between them.
//!
//! Deadlines, cancellation, metadata, trailers and trace context cross the gateway in both directions. Whatever fails
//! here is an entry of the error catalogue, on gRPC and on HTTP.

mod body;
mod builtin;
mod call;
pub mod config;
mod control;
mod core;
mod deadline;
mod ending;
mod flow;
mod form;
mod headers;
mod metrics;
mod pipeline;
mod plane;
mod proxy;
mod reply;
mod trace;
mod transcode;
mod upstream;

use std::{ffi::OsString, process::ExitCode};

pub use config::Config;
pub use control::run;

/// The whole program: flags, settings, telemetry, [`run`], exit code. `args` begins with the program's name.
pub fn main(args: impl Iterator<Item = OsString>) -> ExitCode {
    mcp_chassis::service_main::<Config, _, _>(config::SERVICE, args, |config, deps| {
        run(config, deps.listener, deps.coord, deps.stop)
    })
}
