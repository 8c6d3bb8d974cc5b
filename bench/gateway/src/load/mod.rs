//! Load for one address, and what was seen.
//!
//! Each kind of load has a thread of its own with a single-threaded runtime, so that it takes as little of the machine as
//! it can. Every answer is checked: status, `grpc-status` in the trailers, and that it is what was sent. A first failure
//! ends the load, and with it the measurement.

mod call;
mod idle;
mod json;
mod meter;
mod paced;
mod streams;
mod unary;

use std::{net::SocketAddr, time::Duration};

use anyhow::Context as _;
use serde::Serialize;
use tokio::{runtime, sync::oneshot, task::LocalSet};

pub use call::{Call, Connection};
pub use idle::Idle;
pub use json::json;
pub use paced::paced;
pub use streams::streams;
pub use unary::unary;

/// Whom the load is for, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Where the proxy listens.
    pub address: SocketAddr,
    /// The proxy's process, whose processor time and memory are told with the result.
    pub pid: Option<u32>,
    /// How long it runs before anything counts.
    pub warm_up: Duration,
    /// How long it is measured.
    pub time: Duration,
}

/// What was seen.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Calls, or messages of streams, that were answered.
    pub done: u64,
    /// Time that they took together, in seconds.
    pub seconds: f64,
    /// Of them a second.
    pub per_second: f64,
    /// Latencies in microseconds.
    pub p50: u32,
    /// 99 % were at most this.
    pub p99: u32,
    /// 99.9 % were at most this.
    pub p999: u32,
    /// The longest.
    pub max: u32,
    /// Processor time of the proxy for 100,000 of them, in seconds, and its resident memory at the end in MiB.
    pub cpu_per_100k: Option<f64>,
    /// Its resident memory at the end, in MiB.
    pub resident_mib: Option<f64>,
}

/// Runs `load` on a thread of its own, and gives its result.
pub(crate) async fn on_own_thread<T, Fut>(load: impl FnOnce() -> Fut + Send + 'static) -> anyhow::Result<T>
where
    T: Send + 'static,
    Fut: Future<Output = anyhow::Result<T>> + 'static,
{
    let (sender, receiver) = oneshot::channel();
    std::thread::Builder::new().name("load".to_owned()).spawn(move || {
        let runtime = runtime::Builder::new_current_thread().enable_all().build();
        let result = match runtime {
            Ok(runtime) => LocalSet::new().block_on(&runtime, load()),
            Err(error) => Err(error.into()),
        };
        // Nobody to tell: the caller has gone.
        drop(sender.send(result));
    })?;
    receiver.await.context("the thread of the load has panicked")?
}
