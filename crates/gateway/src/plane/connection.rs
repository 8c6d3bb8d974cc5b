//! Serves one caller's connection until it ends or is told to go away.

use std::{convert::Infallible, io, net::SocketAddr, pin::pin, rc::Rc, time::Instant};

use http::{HeaderValue, StatusCode, header};
use hyper::{
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ProtocolVersion;
use tokio::{
    net::TcpStream,
    time::{sleep, sleep_until, timeout},
};
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use super::{
    acceptor::Accepted,
    prefix::{self, Http, Rewound},
    resets::Resets,
    transport::{self, Transport},
};
use crate::{
    caller::{Caller, Spoken},
    config::DownstreamSettings,
    core::Core,
    flow::{CONNECTION_WINDOW_BYTES, STREAM_WINDOW_BYTES},
    pipeline,
    security::tls::server::peer_name,
    upstream::LocalExecutor,
};

/// Calls that were reset before we took them, which h2 holds until we do; with more it closes the connection. Source:
/// CVE-2023-44487 ("rapid reset").
const PENDING_RESETS_MAX: usize = 64;

/// Tells an HTTP/1.1 caller not to use its connection again.
const CLOSE: HeaderValue = HeaderValue::from_static("close");

/// A connection on which the first bytes have come.
struct Opened {
    http: Http,
    stream: Rewound,
    caller: Caller,
}

/// Serves a connection to its end. `drain`: finish what is running and take nothing new.
///
/// # Cancellation
/// Dropping the future cuts the connection off.
pub(crate) async fn serve(core: Rc<Core>, accepted: Accepted, drain: CancellationToken) {
    let Accepted { stream, peer, held, .. } = accepted;
    let settings = &core.shared.settings.downstream;
    let stream = match TcpStream::from_std(stream).and_then(|stream| stream.set_nodelay(true).map(|()| stream)) {
        Ok(stream) => stream,
        Err(error) => return tracing::debug!(%peer, %error, "connection lost at once"),
    };
    let opened = tokio::select! {
        opened = timeout(settings.header_timeout, open(&core, stream, peer)) => opened,
        () = lingered(&core, &drain) => return,
    };
    let result = match opened {
        Ok(Ok(Some(Opened { http: Http::One, stream, caller }))) => one(&core, stream, caller, &drain).await,
        Ok(Ok(Some(Opened { http: Http::Two, stream, caller }))) => two(&core, stream, caller, &drain).await,
        Ok(Err(error)) => return tracing::debug!(%peer, %error, "connection not opened"),
        // It said nothing, or too slowly.
        Ok(Ok(None)) | Err(_) => Ok(()),
    };
    if let Err(error) = result {
        tracing::debug!(%peer, %error, "connection broke");
    }
    drop(held);
}

/// Waits until a connection that says nothing is to be closed: its caller may have sent a call that is on its way, and
/// could not know whether it was carried out.
async fn lingered(core: &Core, drain: &CancellationToken) {
    drain.cancelled().await;
    sleep(core.shared.settings.drain_linger).await;
}

/// Does the handshake of TLS where that is spoken, and finds out what is spoken in it. `None`: nothing is.
async fn open(core: &Core, stream: TcpStream, address: SocketAddr) -> io::Result<Option<Opened>> {
    let (stream, caller) = secure(core, stream, address).await?;
    let detected = prefix::detect(stream).await?;
    Ok(detected.map(|(http, stream)| {
        caller.activity.protocol.set(if http == Http::Two { Spoken::Http2 } else { Spoken::Http1 });
        Opened { http, stream, caller }
    }))
}

/// Does the handshake of TLS where that is spoken.
///
/// # Errors
/// The connection broke, or the other end has no certificate that is accepted.
pub(crate) async fn secure(core: &Core, stream: TcpStream, address: SocketAddr) -> io::Result<(Transport, Caller)> {
    let tls = core.shared.security.tls.as_ref();
    let mut caller = Caller::at(address, Instant::now());
    let stream = match tls {
        None => Transport::Plain(stream),
        Some(tls) if transport::speaks_tls(&stream).await? => {
            let stream = tls.accept(stream).await?;
            caller.certificate = peer_name(&stream).map(String::into_boxed_str);
            caller.tls = version(&stream);
            Transport::Tls(Box::new(stream))
        }
        Some(_) => {
            caller.lacks_tls = true;
            Transport::Plain(stream)
        }
    };
    Ok((stream, caller))
}

async fn one(core: &Rc<Core>, stream: Rewound, caller: Caller, drain: &CancellationToken) -> hyper::Result<()> {
    let settings = &core.shared.settings.downstream;
    let caller = Rc::new(caller);
    core.connections.join(&caller);
    let service = service_fn(|request| {
        let answer = Box::pin(pipeline::handle(Rc::clone(core), request, Rc::clone(&caller)));
        async move {
            let mut answer = answer.await;
            if core.shared.state.is_draining() && answer.status() != StatusCode::SWITCHING_PROTOCOLS {
                // The caller opens its next connection elsewhere.
                answer.headers_mut().insert(header::CONNECTION, CLOSE);
            }
            Ok::<_, Infallible>(answer)
        }
    });
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(settings.header_timeout)
            .max_headers(settings.header_count_max)
            .max_header_size(header_bytes(settings))
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades()
    );
    tokio::select! {
        result = connection.as_mut() => return result,
        () = lingered(core, drain) => connection.as_mut().graceful_shutdown(),
    }
    connection.await
}

async fn two(core: &Rc<Core>, stream: Rewound, caller: Caller, drain: &CancellationToken) -> hyper::Result<()> {
    let settings = &core.shared.settings.downstream;
    let calls = Rc::clone(core);
    let resets = Resets::new(settings.resets_max, Instant::now());
    let (counted, peer, caller) = (Rc::clone(&resets), caller.address, Rc::new(caller));
    core.connections.join(&caller);
    let service = service_fn(move |request| {
        let begun = counted.begin(Instant::now());
        // hyper and tokio move what they are given several times before they let it rest: better a pointer.
        let answer = Box::pin(pipeline::handle(Rc::clone(&calls), request, Rc::clone(&caller)));
        async move {
            let answer = answer.await;
            begun.answered();
            Ok::<_, Infallible>(answer)
        }
    });
    let mut connection = pin!(
        http2::Builder::new(LocalExecutor)
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_concurrent_streams(settings.streams_max)
            .max_header_list_size(settings.header_bytes_max)
            .max_pending_accept_reset_streams(PENDING_RESETS_MAX)
            // h2 would count what comes late for a call that we have answered early, and close the connection of a caller
            // who did nothing wrong. Who makes us reset calls (CVE-2025-8671) is told by `Resets`: they end unanswered.
            .max_local_error_reset_streams(None)
            .keep_alive_interval(settings.ping_interval)
            .keep_alive_timeout(settings.ping_timeout)
            .serve_connection(TokioIo::new(stream), service)
    );
    tokio::select! {
        result = connection.as_mut() => return result,
        () = drain.cancelled() => {}
        () = idle(&resets, settings) => {}
        () = resets.abused() => return cut(core, peer),
    }
    connection.as_mut().graceful_shutdown();
    tokio::select! {
        result = connection.as_mut() => result,
        () = resets.abused() => cut(core, peer),
    }
}

/// The version of TLS.
fn version(stream: &TlsStream<TcpStream>) -> Option<&'static str> {
    match stream.get_ref().1.protocol_version()? {
        ProtocolVersion::TLSv1_3 => Some("1.3"),
        ProtocolVersion::TLSv1_2 => Some("1.2"),
        _ => Some("other"),
    }
}

/// Waits until no call has begun for as long as may be.
async fn idle(resets: &Resets, settings: &DownstreamSettings) {
    loop {
        let until = resets.last_call() + settings.idle_timeout;
        if until <= Instant::now() {
            return;
        }
        sleep_until(until.into()).await;
    }
}

/// Says why the connection is cut off, which dropping it does.
fn cut(core: &Core, peer: SocketAddr) -> hyper::Result<()> {
    core.shared.instruments.connection_cut();
    tracing::warn!(%peer, "connection cut off: it gave up too many calls at once");
    Ok(())
}

fn header_bytes(settings: &DownstreamSettings) -> usize {
    usize::try_from(settings.header_bytes_max).unwrap_or(usize::MAX)
}
