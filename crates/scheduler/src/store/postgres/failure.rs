//! From PostgreSQL's errors to the store's.

use tokio_postgres::Error as PgError;

use crate::store::{Error, Ticket, error::unavailable};

/// What the `fence` function raises; its detail is the partition and the newest epoch.
const FENCED: &str = "MCP01";

/// The store's error, when it is the fence that refused.
pub(super) fn fenced(tickets: &[Ticket], error: &PgError) -> Option<Error> {
    let error = error.as_db_error().filter(|error| error.code().code() == FENCED)?;
    let (partition, newest) = error.detail()?.split_once(' ')?;
    let (partition, newest) = (partition.parse().ok()?, newest.parse().ok()?);
    let epoch = tickets.iter().find(|ticket| ticket.partition == partition).map_or(0, |ticket| ticket.epoch);
    Some(Error::Fenced { partition, epoch, newest })
}

/// A failure to do `what`.
pub(super) fn failed(what: &'static str) -> impl Fn(PgError) -> Error {
    move |error| unavailable(what, Box::new(error))
}
