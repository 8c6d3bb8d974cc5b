//! What a load balancer in front of the gateways knows: which of them are ready.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use testkit::eventually;
use tokio::{
    net::TcpStream,
    task::AbortHandle,
    time::{interval, sleep, timeout},
};

use crate::support::SOON;

/// How often each gateway is asked.
const EVERY: Duration = Duration::from_millis(50);
/// How long it may take to answer.
const ANSWER_MAX: Duration = Duration::from_millis(500);
/// Pause while no gateway is ready.
const PAUSE: Duration = Duration::from_millis(5);

/// The gateways, and whether they are ready.
pub(super) struct Balancer {
    addresses: [SocketAddr; 2],
    ready: [AtomicBool; 2],
    turn: AtomicUsize,
    polls: std::sync::Mutex<Vec<AbortHandle>>,
}

impl Balancer {
    /// Asks the gateways from now on.
    pub(super) fn start(addresses: [SocketAddr; 2]) -> Arc<Self> {
        let balancer = Arc::new(Self {
            addresses,
            ready: [false, false].map(AtomicBool::new),
            turn: AtomicUsize::new(0),
            polls: std::sync::Mutex::default(),
        });
        let polls = (0..addresses.len()).map(|index| {
            let balancer = Arc::downgrade(&balancer);
            let poll = async move {
                let mut ticks = interval(EVERY);
                loop {
                    ticks.tick().await;
                    let is_ready = matches!(timeout(ANSWER_MAX, ready(addresses[index])).await, Ok(Some(true)));
                    let Some(balancer) = balancer.upgrade() else { return };
                    balancer.ready[index].store(is_ready, Ordering::Release);
                }
            };
            tokio::spawn(poll).abort_handle()
        });
        balancer.polls.lock().expect("nobody panics").extend(polls);
        balancer
    }

    /// A gateway that is ready, each in its turn.
    pub(super) async fn pick(&self) -> SocketAddr {
        loop {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed);
            let found = (0..self.addresses.len()).map(|step| (turn + step) % self.addresses.len());
            if let Some(index) = found.into_iter().find(|&index| self.ready[index].load(Ordering::Acquire)) {
                return self.addresses[index];
            }
            sleep(PAUSE).await;
        }
    }

    /// A connection to one of them; one that refuses gets no other try before the next.
    pub(super) async fn connect(&self) -> (SocketAddr, TcpStream) {
        loop {
            let address = self.pick().await;
            if let Ok(stream) = TcpStream::connect(address).await {
                stream.set_nodelay(true).expect("it is a TCP connection");
                return (address, stream);
            }
            sleep(PAUSE).await;
        }
    }

    /// True while new calls should go there.
    pub(super) fn wants(&self, address: SocketAddr) -> bool {
        let index = self.addresses.iter().position(|known| *known == address).expect("it is one of them");
        self.ready[index].load(Ordering::Acquire)
    }

    /// Waits until a gateway is ready.
    pub(super) async fn is_ready(&self, index: usize) {
        eventually(SOON, || async {
            self.ready[index].load(Ordering::Acquire).then_some(()).ok_or_else(|| format!("{index} is not ready"))
        })
        .await;
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.polls.lock().expect("nobody panics").drain(..).for_each(|poll| poll.abort());
    }
}

/// What a gateway says of itself; `None` when it does not answer.
async fn ready(address: SocketAddr) -> Option<bool> {
    let stream = TcpStream::connect(address).await.ok()?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
    let driver = tokio::spawn(connection);
    let request = Request::get("/readyz").header("host", "gateway").body(Empty::<Bytes>::new()).ok()?;
    let answer = sender.send_request(request).await.ok();
    driver.abort();
    answer.map(|answer| answer.status() == StatusCode::OK)
}
