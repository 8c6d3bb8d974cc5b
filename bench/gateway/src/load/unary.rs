//! Unary gRPC calls as fast as they are answered.

use std::{rc::Rc, time::Instant};

use tokio::task::JoinSet;

use super::{Call, Connection, Report, Target, meter::Meter, on_own_thread};
use crate::message::{self, UNARY_PATH};

/// `connections` with `streams` callers each; every caller has one call under way at any time.
///
/// # Errors
/// The first call that fails.
pub async fn unary(target: Target, connections: usize, streams: usize) -> anyhow::Result<Report> {
    on_own_thread(move || async move {
        let call = Rc::new(Call::new(target.address, UNARY_PATH, message::unary())?);
        let (meter, mut callers) = (Rc::new(Meter::default()), JoinSet::new());
        for connection in Connection::open_many(target.address, connections).await? {
            for _ in 0..streams {
                callers.spawn_local(caller(connection.clone(), Rc::clone(&call), Rc::clone(&meter)));
            }
        }
        meter.measure(&target, callers).await
    })
    .await
}

async fn caller(mut connection: Connection, call: Rc<Call>, meter: Rc<Meter>) -> anyhow::Result<()> {
    while !meter.is_over() {
        let start = Instant::now();
        call.unary(&mut connection).await?;
        meter.answered(start);
    }
    Ok(())
}
