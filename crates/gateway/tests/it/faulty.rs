//! A service that goes wrong on demand, frame by frame.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::{BufMut, Bytes, BytesMut};
use h2::{Reason, RecvStream, SendStream, server::SendResponse};
use http::{HeaderMap, HeaderValue, Request, Response};
use mcp_coord::InstanceRecord;
use mcp_proto::scheduler::v1::{GetTaskResponse, Task};
use prost::Message;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::backend::record;

/// Streams of one connection, mostly.
const STREAMS_MAX: u32 = 1_000;

/// How it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// As it should.
    Well,
    /// With this status and nothing else.
    Status(i32),
    /// Not at all.
    Hang,
    /// When the test lets it.
    Held,
    /// It resets the stream instead.
    Reset,
    /// It refuses the stream.
    Refuse,
    /// It begins well and resets the stream within the message.
    ResetWithin,
    /// A byte of its message now and then.
    Trickle,
    /// It ends without a status.
    NoStatus,
    /// A status that is none.
    WrongStatus,
    /// A message of 1 GiB, as its length says.
    Oversize,
    /// HTTP 503.
    Http503,
    /// It closes the connection.
    Die,
}

/// A running backend. It stops when dropped.
pub(crate) struct Faulty {
    pub(crate) record: InstanceRecord,
    pub(crate) state: Arc<State>,
    _stop: DropGuard,
}

pub(crate) struct State {
    name: String,
    manner: Mutex<Manner>,
    /// Requests that have this text are answered so, whatever else holds.
    exceptions: Mutex<Vec<(&'static str, Manner)>>,
    calls: AtomicUsize,
    cancelled: AtomicUsize,
    timeouts: Mutex<Vec<String>>,
    /// One permit lets one held call go on.
    pub(crate) release: Semaphore,
    /// Cancelled: it takes no new calls and closes its connections when those that run have ended.
    pub(crate) leave: CancellationToken,
}

impl Faulty {
    /// Serves on a free port.
    pub(crate) async fn start(name: &str, manner: Manner) -> Self {
        Self::allowing(STREAMS_MAX, name, manner).await
    }

    /// The same with so many streams on one connection.
    pub(crate) async fn allowing(streams_max: u32, name: &str, manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let state = Arc::new(State {
            name: name.into(),
            manner: Mutex::new(manner),
            exceptions: Mutex::default(),
            calls: AtomicUsize::new(0),
            cancelled: AtomicUsize::new(0),
            timeouts: Mutex::default(),
            release: Semaphore::new(0),
            leave: CancellationToken::new(),
        });
        let (stop, serving) = (CancellationToken::new(), Arc::clone(&state));
        tokio::spawn(stop.clone().run_until_cancelled_owned(async move {
            // Also when it leaves: a connection that nobody accepts is reset with the call on it.
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream, streams_max, Arc::clone(&serving)));
            }
        }));
        Self { record: record(name, &address), state, _stop: stop.drop_guard() }
    }

    pub(crate) fn behave(&self, manner: Manner) {
        *self.state.manner.lock().unwrap() = manner;
    }

    /// Requests that have this text are answered so.
    pub(crate) fn except(&self, text: &'static str, manner: Manner) {
        self.state.exceptions.lock().unwrap().push((text, manner));
    }

    /// Calls that reached it.
    pub(crate) fn calls(&self) -> usize {
        self.state.calls.load(Ordering::SeqCst)
    }

    /// Calls that were broken off while it did not answer.
    pub(crate) fn cancelled(&self) -> usize {
        self.state.cancelled.load(Ordering::SeqCst)
    }

    /// The `grpc-timeout` of each call.
    pub(crate) fn timeouts(&self) -> Vec<String> {
        self.state.timeouts.lock().unwrap().clone()
    }
}

async fn serve(stream: TcpStream, streams_max: u32, state: Arc<State>) {
    let mut builder = h2::server::Builder::new();
    builder.max_concurrent_streams(streams_max).initial_window_size(1 << 20);
    // So that as many may call at once as it says, with a small message each.
    builder.data_frame_budget(256 * streams_max as usize);
    let Ok(mut connection) = builder.handshake::<_, Bytes>(stream).await else {
        return;
    };
    let dead = CancellationToken::new();
    let mut leaving = false;
    loop {
        let accepted = tokio::select! {
            accepted = connection.accept() => accepted,
            () = state.leave.cancelled(), if !leaving => {
                leaving = true;
                connection.graceful_shutdown();
                continue;
            }
            () = dead.cancelled() => return,
        };
        let Some(Ok((request, respond))) = accepted else {
            if leaving {
                // It has said its last. Closed with something unread, the connection would be reset, and answers on
                // their way lost: it is for the other end to close it.
                dead.cancelled().await;
            }
            return;
        };
        let (state, dead) = (Arc::clone(&state), dead.clone());
        tokio::spawn(async move {
            // An error is the caller's, who has gone.
            if answer(request, respond, &state, &dead).await.is_err() {
                state.cancelled.fetch_add(1, Ordering::SeqCst);
            }
        });
    }
}

async fn answer(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    state: &State,
    dead: &CancellationToken,
) -> Result<(), h2::Error> {
    state.calls.fetch_add(1, Ordering::SeqCst);
    if let Some(timeout) = request.headers().get("grpc-timeout") {
        state.timeouts.lock().unwrap().push(timeout.to_str().unwrap().to_owned());
    }
    let manner = manner(request.into_body(), state).await?;
    match manner {
        Manner::Well => well(&mut respond, state),
        Manner::Status(code) => {
            respond.send_response(head([("grpc-status", &code.to_string())]), true)?;
            Ok(())
        }
        Manner::Hang => Err(gone(&mut respond).await),
        Manner::Held => {
            tokio::select! {
                permit = state.release.acquire() => permit.unwrap().forget(),
                error = gone(&mut respond) => return Err(error),
            }
            well(&mut respond, state)
        }
        Manner::Reset => reset(&mut respond, Reason::INTERNAL_ERROR),
        Manner::Refuse => reset(&mut respond, Reason::REFUSED_STREAM),
        Manner::ResetWithin => {
            let mut body = respond.send_response(head([]), false)?;
            body.send_data(message(state).slice(..3), false)?;
            tokio::task::yield_now().await;
            body.send_reset(Reason::INTERNAL_ERROR);
            Ok(())
        }
        Manner::Trickle => trickle(&mut respond, state).await,
        Manner::NoStatus => {
            respond.send_response(head([]), false)?.send_data(message(state), true)?;
            Ok(())
        }
        Manner::WrongStatus => {
            let mut body = respond.send_response(head([]), false)?;
            body.send_data(message(state), false)?;
            body.send_trailers(headers([("grpc-status", "very well")]))
        }
        Manner::Oversize => {
            let mut body = respond.send_response(head([]), false)?;
            body.send_data(Bytes::from_static(b"\0\x40\0\0\0abc"), false)?;
            body.send_trailers(headers([("grpc-status", "0")]))
        }
        Manner::Http503 => {
            respond.send_response(Response::builder().status(503).body(()).unwrap(), true)?;
            Ok(())
        }
        Manner::Die => {
            dead.cancel();
            Ok(())
        }
    }
}

async fn manner(mut body: RecvStream, state: &State) -> Result<Manner, h2::Error> {
    let mut request = BytesMut::new();
    while let Some(data) = body.data().await {
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
        request.extend_from_slice(&data);
    }
    let has = |text: &str| request.windows(text.len()).any(|window| window == text.as_bytes());
    let exceptions = state.exceptions.lock().unwrap();
    let exception = exceptions.iter().find(|(text, _)| has(text)).map(|(_, manner)| *manner);
    Ok(exception.unwrap_or_else(|| *state.manner.lock().unwrap()))
}

fn well(respond: &mut SendResponse<Bytes>, state: &State) -> Result<(), h2::Error> {
    let mut body = respond.send_response(head([]), false)?;
    body.send_data(message(state), false)?;
    body.send_trailers(headers([("grpc-status", "0")]))
}

/// Its name, as a task that it would have run.
fn message(state: &State) -> Bytes {
    let task = Task { id: "7".into(), worker_id: state.name.clone(), ..Task::default() };
    let message = GetTaskResponse { task: Some(task) }.encode_to_vec();
    let mut frame = BytesMut::new();
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).unwrap());
    frame.extend_from_slice(&message);
    frame.freeze()
}

async fn trickle(respond: &mut SendResponse<Bytes>, state: &State) -> Result<(), h2::Error> {
    let mut body: SendStream<Bytes> = respond.send_response(head([]), false)?;
    let message = message(state);
    for byte in message.iter().cycle() {
        body.send_data(Bytes::copy_from_slice(&[*byte]), false)?;
        tokio::select! {
            reset = std::future::poll_fn(|cx| body.poll_reset(cx)) => return Err(reset?.into()),
            () = tokio::time::sleep(Duration::from_millis(20)) => {}
        }
    }
    Ok(())
}

/// Resolves when the caller breaks off.
async fn gone(respond: &mut SendResponse<Bytes>) -> h2::Error {
    match std::future::poll_fn(|cx| respond.poll_reset(cx)).await {
        Ok(reason) => reason.into(),
        Err(error) => error,
    }
}

fn reset(respond: &mut SendResponse<Bytes>, reason: Reason) -> Result<(), h2::Error> {
    respond.send_reset(reason);
    Ok(())
}

fn head<const N: usize>(more: [(&'static str, &str); N]) -> Response<()> {
    let mut response = Response::new(());
    *response.headers_mut() = headers(more);
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    response
}

fn headers<const N: usize>(entries: [(&'static str, &str); N]) -> HeaderMap {
    entries.into_iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
}
