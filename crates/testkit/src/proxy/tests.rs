use std::{io::ErrorKind, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::{Instant, timeout},
};

use super::{FaultProxy, Flow, Mode};
use crate::eventually;

/// How long a test waits for what must come.
const SOON: Duration = Duration::from_secs(10);
/// How long a test waits for what must not come.
const A_WHILE: Duration = Duration::from_millis(100);

/// Gives back what it gets, on every connection.
struct Echo(SocketAddr, JoinHandle<()>);

impl Drop for Echo {
    fn drop(&mut self) {
        self.1.abort();
    }
}

async fn echo() -> Echo {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = stream.split();
                drop(tokio::io::copy(&mut read, &mut write).await);
                drop(write.shutdown().await);
            });
        }
    });
    Echo(address, task)
}

async fn say(stream: &mut TcpStream, word: &[u8; 4]) {
    stream.write_all(word).await.unwrap();
}

async fn hear(stream: &mut TcpStream) -> [u8; 4] {
    let mut word = [0; 4];
    timeout(SOON, stream.read_exact(&mut word)).await.expect("an answer comes soon").unwrap();
    word
}

async fn is_silent(stream: &mut TcpStream) -> bool {
    timeout(A_WHILE, stream.read_u8()).await.is_err()
}

async fn ends_with(stream: &mut TcpStream) -> ErrorKind {
    timeout(SOON, stream.read_u8()).await.expect("it ends soon").unwrap_err().kind()
}

async fn connected(proxy: &FaultProxy) -> TcpStream {
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    say(&mut stream, b"here").await;
    assert_eq!(&hear(&mut stream).await, b"here");
    stream
}

#[tokio::test]
async fn it_passes_everything_and_the_end_of_it() {
    let echo = echo().await;
    let proxy = FaultProxy::start(echo.0).await;
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    let sent: Vec<u8> = (0..3_000_000_u32).map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[1]).collect();
    let (mut read, mut write) = stream.split();
    let sending = async {
        write.write_all(&sent).await.unwrap();
        write.shutdown().await.unwrap();
    };
    let mut got = Vec::new();
    timeout(SOON, async { tokio::join!(sending, read.read_to_end(&mut got)) }).await.unwrap().1.unwrap();
    assert!(got == sent, "{} of {} bytes", got.len(), sent.len());
}

#[tokio::test]
async fn a_cut_resets_and_refuses_until_it_passes_again() {
    let echo = echo().await;
    let proxy = FaultProxy::start(echo.0).await;
    let mut stream = connected(&proxy).await;
    proxy.set(Mode::Cut).await;
    assert_eq!(ends_with(&mut stream).await, ErrorKind::ConnectionReset);
    let refused = TcpStream::connect(proxy.address()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    proxy.set(Mode::PASS).await;
    connected(&proxy).await;
}

#[tokio::test]
async fn a_reset_is_for_the_connections_of_the_moment() {
    let echo = echo().await;
    let proxy = FaultProxy::start(echo.0).await;
    let mut stream = connected(&proxy).await;
    proxy.reset().await;
    assert_eq!(ends_with(&mut stream).await, ErrorKind::ConnectionReset);
    connected(&proxy).await;
}

#[tokio::test]
async fn a_black_hole_accepts_and_answers_nothing() {
    let echo = echo().await;
    let proxy = FaultProxy::start(echo.0).await;
    let mut old = connected(&proxy).await;
    proxy.set(Mode::BlackHole).await;
    let mut new = TcpStream::connect(proxy.address()).await.unwrap();
    for stream in [&mut old, &mut new] {
        say(stream, b"lost").await;
        assert!(is_silent(stream).await);
    }
    proxy.set(Mode::PASS).await;
    for stream in [&mut old, &mut new] {
        assert_eq!(ends_with(stream).await, ErrorKind::ConnectionReset, "what it said is lost");
    }
    connected(&proxy).await;
}

#[tokio::test]
async fn what_stalls_arrives_later() {
    let echo = echo().await;
    let proxy = FaultProxy::start(echo.0).await;
    let mut stream = connected(&proxy).await;
    proxy.set(Mode::STALL).await;
    say(&mut stream, b"wait").await;
    assert!(is_silent(&mut stream).await);
    proxy.set(Mode::PASS).await;
    assert_eq!(&hear(&mut stream).await, b"wait");
}

#[tokio::test]
async fn one_direction_may_stall_alone() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let proxy = FaultProxy::start(listener.local_addr().unwrap()).await;
    let mut near = TcpStream::connect(proxy.address()).await.unwrap();
    let (mut far, _) = listener.accept().await.unwrap();
    proxy.set(Mode::Open { to_target: Flow::Pass, from_target: Flow::Hold }).await;
    say(&mut near, b"over").await;
    assert_eq!(&hear(&mut far).await, b"over");
    say(&mut far, b"back").await;
    assert!(is_silent(&mut near).await);
    proxy.set(Mode::Open { to_target: Flow::Swallow, from_target: Flow::Pass }).await;
    assert_eq!(&hear(&mut near).await, b"back");
    say(&mut near, b"lost").await;
    assert!(is_silent(&mut far).await);
}

#[tokio::test]
async fn a_delay_is_that_of_each_direction() {
    let echo = echo().await;
    let proxy = FaultProxy::start(echo.0).await;
    let mut stream = connected(&proxy).await;
    let by = Duration::from_millis(60);
    proxy.set(Mode::delay(by)).await;
    let start = Instant::now();
    say(&mut stream, b"slow").await;
    assert_eq!(&hear(&mut stream).await, b"slow");
    assert!(start.elapsed() >= 2 * by, "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_target_that_is_away_resets_and_may_come_back() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let target = listener.local_addr().unwrap();
    drop(listener);
    let proxy = FaultProxy::start(target).await;
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(ends_with(&mut stream).await, ErrorKind::ConnectionReset);
    let listener = TcpListener::bind(target).await.unwrap();
    TcpStream::connect(proxy.address()).await.unwrap();
    timeout(SOON, listener.accept()).await.expect("it comes through").unwrap();
}

#[tokio::test]
async fn nothing_of_it_outlives_it() {
    let echo = echo().await;
    let proxy = FaultProxy::start(echo.0).await;
    let address = proxy.address();
    let mut stream = connected(&proxy).await;
    drop(proxy);
    assert_eq!(ends_with(&mut stream).await, ErrorKind::ConnectionReset);
    eventually(SOON, || async move {
        match TcpStream::connect(address).await {
            Ok(_) => Err("somebody listens".to_owned()),
            Err(_) => Ok(()),
        }
    })
    .await;
}
