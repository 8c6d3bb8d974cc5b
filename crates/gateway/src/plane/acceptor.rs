//! Accepts connections and hands them to the data-plane threads in turn.

use std::{
    io,
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};

use mcp_proto::frame::Profile;
use tokio::{
    net::TcpListener,
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
};
use tokio_util::sync::CancellationToken;

use super::per_ip::{PerIp, Place};
use crate::metrics::{Instruments, Raised};

/// Pause after a failed accept: usually out of file descriptors, which only time mends.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Connections in the listen queue that are still taken when the port closes; the kernel keeps no more by default.
const QUEUED_MAX: usize = 4_096;

/// What a port speaks.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Speaks {
    /// HTTP/1.1 and HTTP/2.
    Http,
    /// The wire frame.
    Frames(Profile),
}

/// A connection on its way to the thread that will serve it.
#[derive(Debug)]
pub(crate) struct Accepted {
    /// The connection, bound to no runtime.
    pub(crate) stream: TcpStream,
    /// The caller.
    pub(crate) peer: SocketAddr,
    /// What the port speaks.
    pub(crate) speaks: Speaks,
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

/// Gives connections to the threads in turn.
#[derive(Debug)]
pub(crate) struct Acceptor {
    speaks: Speaks,
    free: Arc<Semaphore>,
    per_ip: PerIp,
    instruments: Instruments,
    threads: Vec<mpsc::Sender<Accepted>>,
    turn: usize,
}

impl Acceptor {
    /// For a port. At most `connections_max` of its connections are open at a time.
    pub(crate) fn new(
        (connections_max, speaks): (usize, Speaks),
        per_ip: PerIp,
        instruments: Instruments,
        threads: Vec<mpsc::Sender<Accepted>>,
    ) -> Self {
        let free = Arc::new(Semaphore::new(connections_max.min(Semaphore::MAX_PERMITS)));
        Self { speaks, free, per_ip, instruments, threads, turn: 0 }
    }

    /// Accepts until `closing`. When `connections_max` are open, further ones wait in the listen queue. One from an
    /// address that has as many as it may is closed at once. In the end the listener is closed, and what has been
    /// waiting in its queue is served: their callers could not know whether a call was carried out.
    ///
    /// # Cancellation
    /// Dropping the future closes the listener; a connection that was accepted and not yet handed on is closed.
    pub(crate) async fn accept(mut self, listener: TcpListener, closing: CancellationToken) {
        loop {
            let accepted = tokio::select! {
                accepted = self.next(&listener) => accepted,
                () = closing.cancelled() => break,
            };
            match accepted {
                Ok((stream, peer, permit)) => self.hand_on(stream, peer, permit).await,
                Err(error) => {
                    tracing::warn!(%error, "a connection cannot be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        let Ok(listener) = listener.into_std() else {
            return;
        };
        for _ in 0..QUEUED_MAX {
            let Ok(permit) = Arc::clone(&self.free).try_acquire_owned() else {
                return;
            };
            // It does not block: the queue is empty when it fails.
            let Ok((stream, peer)) = listener.accept() else {
                return;
            };
            if stream.set_nonblocking(true).is_ok() {
                self.hand_on(stream, peer, permit).await;
            }
        }
    }

    /// # Cancellation
    /// Nothing that was accepted is lost.
    async fn next(&self, listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
        let permit = Arc::clone(&self.free).acquire_owned().await.expect("the semaphore is never closed");
        let (stream, peer) = listener.accept().await?;
        Ok((stream.into_std()?, peer, permit))
    }

    async fn hand_on(&mut self, stream: TcpStream, peer: SocketAddr, permit: OwnedSemaphorePermit) {
        let Some(of_address) = self.per_ip.enter(peer.ip()) else {
            self.instruments.connection_refused();
            tracing::debug!(%peer, "the address has as many connections as it may");
            return;
        };
        let counted = self.instruments.connections.raise();
        let held = Held { _permit: permit, _counted: counted, _of_address: of_address };
        self.turn = (self.turn + 1) % self.threads.len();
        if self.threads[self.turn].send(Accepted { stream, peer, speaks: self.speaks, held }).await.is_err() {
            tracing::error!(thread = self.turn, "a data-plane thread is gone");
        }
    }
}
