//! A TCP proxy that breaks connections on purpose, to stand between the parts of a system under test.

use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::watch,
    task::{AbortHandle, JoinSet},
    time::sleep,
};

/// How much is read at once.
const READ_BYTES: usize = 16 * 1024;
/// Connections that may wait to be accepted.
const BACKLOG: u32 = 1_024;
/// How often a port that was just given up is asked for again.
const BIND_PAUSE: Duration = Duration::from_millis(5);

/// What happens to the bytes of one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// They go through.
    Pass,
    /// They wait, and go through when the flow passes again. The other end sees a connection that is alive and says
    /// nothing.
    Hold,
    /// They are read and lost, an end of the stream too. What comes later lacks them, so only cut it afterwards.
    Swallow,
    /// They go through this much later, one group of at most 16 KiB after the other, so it bounds the throughput, too.
    Delay(Duration),
}

/// What the proxy does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Connections are made, and their bytes go as told.
    Open {
        /// From the one who connects to the target.
        to_target: Flow,
        /// From the target to the one who connected.
        from_target: Flow,
    },
    /// Connections are reset, and new ones refused.
    Cut,
    /// New connections are accepted, though not made to the target; nothing comes out of old and new ones any more. What
    /// came in is lost, and so they are reset when the mode changes again.
    BlackHole,
}

impl Mode {
    /// As if the proxy were not there.
    pub const PASS: Self = Self::Open { to_target: Flow::Pass, from_target: Flow::Pass };
    /// Nothing goes through for a while; what was said meanwhile arrives afterwards.
    pub const STALL: Self = Self::Open { to_target: Flow::Hold, from_target: Flow::Hold };

    /// Both directions are so much later.
    pub const fn delay(by: Duration) -> Self {
        Self::Open { to_target: Flow::Delay(by), from_target: Flow::Delay(by) }
    }
}

/// A mode, and how many there were before it.
#[derive(Debug, Clone, Copy)]
struct Numbered {
    number: u64,
    mode: Mode,
}

/// A proxy on a free port of the loopback interface. Dropping it resets its connections and frees the port.
#[derive(Debug)]
pub struct FaultProxy {
    address: SocketAddr,
    mode: watch::Sender<Numbered>,
    /// The number of the mode that is in force.
    settled: watch::Receiver<u64>,
    task: AbortHandle,
}

impl FaultProxy {
    /// Starts one in front of `target`, which need not be there yet. It passes everything.
    ///
    /// # Panics
    /// When no port can be had.
    pub async fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let mode = watch::Sender::new(Numbered { number: 0, mode: Mode::PASS });
        let (has_settled, settled) = watch::channel(0);
        let (watched, connections) = (mode.subscribe(), JoinSet::new());
        let proxy = Proxy { address, target, mode: watched, settled: has_settled, connections };
        // Its connections are tasks in a set of its own, which end with it.
        let task = tokio::spawn(proxy.run(listener)).abort_handle();
        Self { address, mode, settled, task }
    }

    /// Where it listens. It stays the same, whatever the mode.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://host:port`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Changes what it does. When this returns it is in force: new connections are made or refused, and those that are
    /// to be reset are.
    ///
    /// # Panics
    /// When its runtime is gone.
    pub async fn set(&self, mode: Mode) {
        let mut number = 0;
        self.mode.send_modify(|current| {
            number = current.number + 1;
            *current = Numbered { number, mode };
        });
        let mut settled = self.settled.clone();
        settled.wait_for(|settled| *settled >= number).await.expect("the proxy runs as long as this value");
    }

    /// Resets the connections of this moment; new ones are made as before.
    ///
    /// # Panics
    /// See [`set`](Self::set).
    pub async fn reset(&self) {
        let mode = self.mode.borrow().mode;
        self.set(Mode::Cut).await;
        self.set(mode).await;
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Proxy {
    address: SocketAddr,
    target: SocketAddr,
    mode: watch::Receiver<Numbered>,
    settled: watch::Sender<u64>,
    connections: JoinSet<()>,
}

impl Proxy {
    async fn run(mut self, listener: TcpListener) {
        let mut listener = Some(listener);
        let mut before = Mode::PASS;
        loop {
            let Numbered { number, mode } = *self.mode.borrow_and_update();
            if mode == Mode::Cut || (before == Mode::BlackHole && mode != before) {
                // Their sockets are closed with a reset.
                self.connections.shutdown().await;
            }
            match mode {
                Mode::Cut => listener = None,
                Mode::Open { .. } | Mode::BlackHole if listener.is_none() => listener = Some(self.listen().await),
                Mode::Open { .. } | Mode::BlackHole => {}
            }
            before = mode;
            self.settled.send_replace(number);
            if !self.serve(listener.as_ref()).await {
                return;
            }
        }
    }

    /// Takes connections until the mode changes; false when nobody will change it any more.
    async fn serve(&mut self, listener: Option<&TcpListener>) -> bool {
        loop {
            let accept = async {
                match listener {
                    Some(listener) => listener.accept().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                changed = self.mode.changed() => return changed.is_ok(),
                Some(_) = self.connections.join_next() => {}
                accepted = accept => {
                    if let Ok((stream, _)) = accepted {
                        self.connections.spawn(carry(stream, self.target, self.mode.clone()));
                    }
                }
            }
        }
    }

    /// The same port again. Nobody else gets it in between as a rule: it is asked for at once, and again and again.
    async fn listen(&self) -> TcpListener {
        loop {
            match bind(self.address) {
                Ok(listener) => return listener,
                Err(_) => sleep(BIND_PAUSE).await,
            }
        }
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// A connection that is closed with a reset, unless it came to its end.
struct Resetting {
    stream: TcpStream,
    is_over: bool,
}

impl Resetting {
    fn new(stream: TcpStream) -> Self {
        Self { stream, is_over: false }
    }
}

impl Drop for Resetting {
    fn drop(&mut self) {
        if !self.is_over {
            // It fails only when the other end has reset it already.
            drop(self.stream.set_zero_linger());
        }
    }
}

/// Carries one connection until both ends are done with it, or one breaks off, or the proxy resets it.
async fn carry(stream: TcpStream, target: SocketAddr, mode: watch::Receiver<Numbered>) {
    let mut near = Resetting::new(stream);
    if mode.borrow().mode == Mode::BlackHole {
        // What comes is lost, and nothing comes back, until the mode changes.
        let mut buffer = vec![0; READ_BYTES];
        while near.stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
        return std::future::pending().await;
    }
    let Ok(stream) = TcpStream::connect(target).await else { return };
    let mut far = Resetting::new(stream);
    let carried = {
        let (near_read, near_write) = near.stream.split();
        let (far_read, far_write) = far.stream.split();
        tokio::try_join!(
            copy(near_read, far_write, mode.clone(), |mode| match mode {
                Mode::Open { to_target, .. } => to_target,
                Mode::Cut | Mode::BlackHole => Flow::Swallow,
            }),
            copy(far_read, near_write, mode, |mode| match mode {
                Mode::Open { from_target, .. } => from_target,
                Mode::Cut | Mode::BlackHole => Flow::Swallow,
            }),
        )
    };
    if carried.is_ok() {
        (near.is_over, far.is_over) = (true, true);
    }
}

/// Copies one direction to its end, as `flow` says at each moment.
async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut mode: watch::Receiver<Numbered>,
    flow: impl Fn(Mode) -> Flow,
) -> io::Result<()> {
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let read = from.read(&mut buffer).await?;
        let passes = passes(&mut mode, &flow).await;
        match (read, passes) {
            (0, true) => return to.shutdown().await,
            (0, false) => {
                // The end is lost, too, until something may pass again.
                drop(mode.changed().await);
            }
            (_, true) => to.write_all(&buffer[..read]).await?,
            (_, false) => {}
        }
    }
}

/// Waits until bytes may go on, or are lost (false).
async fn passes(mode: &mut watch::Receiver<Numbered>, flow: impl Fn(Mode) -> Flow) -> bool {
    let mut was_delayed = false;
    loop {
        let now = mode.borrow_and_update().mode;
        match flow(now) {
            Flow::Pass => return true,
            Flow::Swallow => return false,
            Flow::Delay(_) if was_delayed => return true,
            Flow::Delay(by) => {
                sleep(by).await;
                was_delayed = true;
            }
            Flow::Hold => {
                if mode.changed().await.is_err() {
                    return false;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
