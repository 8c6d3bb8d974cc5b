//! The `mcp` program: the command line, and all services in one process.
//!
//! - [`args`] is what can be typed; [`commands`] are the commands that talk to a gateway; [`exit`] is how they end;
//!   [`output`] is what they print, [`document`] the files that people write workflows and schedules in.
//! - [`dev`] runs the four services in this process. [`dev::start`] does so for other programs too: tests, benchmarks.
//!
//! It holds no rule of any service: it wires them together, and otherwise speaks to them as any client does.

pub mod args;
pub mod commands;
pub mod dev;
pub mod document;
pub mod exit;
pub mod output;
mod program;

pub use program::main;
