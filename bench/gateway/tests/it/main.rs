//! The loads against the real backend, and against servers that answer wrongly.

#![expect(clippy::unwrap_used, reason = "a test may panic, and so may its helpers")]

mod loads;
mod wrong;

use std::{net::SocketAddr, time::Duration};

use gateway_bench::{backend, load::Target};
use tokio::net::TcpListener;

/// A load that is over soon.
fn target(address: SocketAddr) -> Target {
    let pid = Some(std::process::id());
    Target { address, pid, warm_up: Duration::from_millis(50), time: Duration::from_secs(1) }
}

/// A backend in this process, for as long as the runtime lives.
async fn backend() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(backend::serve(listener));
    address
}
