//! Bidirectional streams with one message under way on each.

use std::{rc::Rc, time::Instant};

use anyhow::Context as _;
use bytes::Bytes;
use tokio::task::JoinSet;

use super::{Call, Connection, Report, Target, call::ensure_ok, meter::Meter, on_own_thread};
use crate::message::{self, STREAM_PATH};

/// `streams` over `connections` in turn; each sends its next message when the last one came back.
///
/// # Errors
/// The first stream that fails.
pub async fn streams(target: Target, connections: usize, streams: usize) -> anyhow::Result<Report> {
    on_own_thread(move || async move {
        let call = Rc::new(Call::new(target.address, STREAM_PATH, message::streamed())?);
        let connections = Connection::open_many(target.address, connections).await?;
        let (meter, mut callers) = (Rc::new(Meter::default()), JoinSet::new());
        for connection in connections.iter().cycle().take(streams) {
            callers.spawn_local(caller(connection.clone(), Rc::clone(&call), Rc::clone(&meter)));
        }
        meter.measure(&target, callers).await
    })
    .await
}

async fn caller(mut connection: Connection, call: Rc<Call>, meter: Rc<Meter>) -> anyhow::Result<()> {
    let (answer, mut messages) = call.begin(&mut connection).await?;
    let mut start = Instant::now();
    messages.send_data(call.message().clone(), false)?;
    let mut body = answer.await.context("no answer")?.into_body();
    loop {
        let mut seen = 0;
        while seen < call.message().len() {
            let chunk = body.data().await.context("the stream ended")??;
            seen += call.compare(seen, &chunk, &mut body)?;
        }
        meter.answered(start);
        if meter.is_over() {
            break;
        }
        start = Instant::now();
        messages.send_data(call.message().clone(), false)?;
    }
    messages.send_data(Bytes::new(), true)?;
    ensure_ok(&body.trailers().await?.context("a stream without trailers")?)
}
