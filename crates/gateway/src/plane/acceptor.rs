//! Accepts connections and hands them to the data-plane threads in turn.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    net::TcpListener,
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
};

use super::per_ip::{PerIp, Place};
use crate::metrics::{Instruments, Raised};

/// Pause after a failed accept: usually out of file descriptors, which only time mends.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A connection on its way to the thread that will serve it.
#[derive(Debug)]
pub(crate) struct Accepted {
    /// The connection, bound to no runtime.
    pub(crate) stream: std::net::TcpStream,
    /// The caller.
    pub(crate) peer: SocketAddr,
    /// To be dropped when the connection ends.
    pub(crate) held: Held,
}

/// A connection's place among those that may be open.
#[derive(Debug)]
pub(crate) struct Held {
    _permit: OwnedSemaphorePermit,
    _counted: Raised,
    _of_address: Place,
}

/// Accepts for ever. When `connections_max` are open, further ones wait in the listen queue. One from an address that has
/// as many as it may is closed at once.
///
/// # Cancellation
/// Dropping the future closes the listener; a connection that was accepted and not yet handed on is closed.
pub(crate) async fn accept(
    listener: TcpListener,
    connections_max: usize,
    per_ip: PerIp,
    instruments: Instruments,
    threads: Vec<mpsc::Sender<Accepted>>,
) {
    let free = Arc::new(Semaphore::new(connections_max.min(Semaphore::MAX_PERMITS)));
    let mut turn = 0;
    loop {
        let permit = Arc::clone(&free).acquire_owned().await.expect("the semaphore is never closed");
        let accepted = match listener.accept().await {
            Ok((stream, peer)) => stream.into_std().map(|stream| (stream, peer)),
            Err(error) => Err(error),
        };
        match accepted {
            Ok((stream, peer)) => {
                let Some(of_address) = per_ip.enter(peer.ip()) else {
                    instruments.connection_refused();
                    tracing::debug!(%peer, "the address has as many connections as it may");
                    continue;
                };
                let held = Held { _permit: permit, _counted: instruments.connections.raise(), _of_address: of_address };
                let accepted = Accepted { stream, peer, held };
                turn = (turn + 1) % threads.len();
                if threads[turn].send(accepted).await.is_err() {
                    tracing::error!(thread = turn, "a data-plane thread is gone");
                }
            }
            Err(error) => {
                tracing::warn!(%error, "a connection cannot be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}
