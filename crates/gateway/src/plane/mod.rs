//! The data plane: threads that serve connections, each with a runtime and connections of its own.
//!
//! One thread for each core, and nothing shared between them on a request's way, costs 40 % less than one runtime over
//! all cores: no task moves, no lock is taken, and a connection's two sides are served by the same core.

mod acceptor;
mod connection;
mod per_ip;
mod prefix;
mod resets;
mod thread;
mod transport;

pub(crate) use acceptor::{Accepted, Acceptor, Held, Speaks};
pub(crate) use connection::secure;
pub(crate) use per_ip::PerIp;
pub(crate) use thread::DataPlane;
pub(crate) use transport::Transport;
