//! Serves one caller's connection until it ends or is told to go away.

use std::{convert::Infallible, net::SocketAddr, pin::pin, rc::Rc};

use hyper::{
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{net::TcpStream, time::timeout};
use tokio_util::sync::CancellationToken;

use super::{
    acceptor::Accepted,
    prefix::{self, Http, Rewound},
};
use crate::{
    config::DownstreamSettings,
    core::Core,
    flow::{CONNECTION_WINDOW_BYTES, STREAM_WINDOW_BYTES},
    pipeline,
    upstream::LocalExecutor,
};

/// Serves a connection to its end. `drain`: finish what is running and take nothing new.
///
/// # Cancellation
/// Dropping the future cuts the connection off.
pub(crate) async fn serve(core: Rc<Core>, accepted: Accepted, drain: CancellationToken) {
    let Accepted { stream, peer, held } = accepted;
    let settings = &core.shared.settings.downstream;
    let stream = match TcpStream::from_std(stream).and_then(|stream| stream.set_nodelay(true).map(|()| stream)) {
        Ok(stream) => stream,
        Err(error) => return tracing::debug!(%peer, %error, "connection lost at once"),
    };
    let detected = tokio::select! {
        detected = timeout(settings.header_timeout, prefix::detect(stream)) => detected,
        () = drain.cancelled() => return,
    };
    let result = match detected {
        Ok(Ok(Some((Http::One, stream)))) => one(&core, stream, peer, &drain).await,
        Ok(Ok(Some((Http::Two, stream)))) => two(&core, stream, peer, &drain).await,
        // It said nothing, or too slowly.
        Ok(Ok(None) | Err(_)) | Err(_) => Ok(()),
    };
    if let Err(error) = result {
        tracing::debug!(%peer, %error, "connection broke");
    }
    drop(held);
}

async fn one(core: &Rc<Core>, stream: Rewound, peer: SocketAddr, drain: &CancellationToken) -> hyper::Result<()> {
    let settings = &core.shared.settings.downstream;
    let service = service_fn(|request| {
        let answer = pipeline::handle(Rc::clone(core), request, peer);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(settings.header_timeout)
            .max_header_size(header_bytes(settings))
            .serve_connection(TokioIo::new(stream), service)
    );
    tokio::select! {
        result = connection.as_mut() => return result,
        () = drain.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    connection.await
}

async fn two(core: &Rc<Core>, stream: Rewound, peer: SocketAddr, drain: &CancellationToken) -> hyper::Result<()> {
    let settings = &core.shared.settings.downstream;
    let calls = Rc::clone(core);
    let service = service_fn(move |request| {
        let answer = pipeline::handle(Rc::clone(&calls), request, peer);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let mut connection = pin!(
        http2::Builder::new(LocalExecutor)
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_concurrent_streams(settings.streams_max)
            .max_header_list_size(settings.header_bytes_max)
            .keep_alive_interval(settings.ping_interval)
            .keep_alive_timeout(settings.ping_timeout)
            .serve_connection(TokioIo::new(stream), service)
    );
    tokio::select! {
        result = connection.as_mut() => return result,
        () = drain.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    connection.await
}

fn header_bytes(settings: &DownstreamSettings) -> usize {
    usize::try_from(settings.header_bytes_max).unwrap_or(usize::MAX)
}
