//! From PostgreSQL's errors to the store's.

use std::{error::Error as _, io, time::Duration};

use tokio_postgres::{Error as PgError, error::SqlState};

use crate::store::{Error, Ticket, error::unavailable};

/// What the `fence` function raises; its detail is the partition and the newest epoch.
const FENCED: &str = "MCP01";
const UNREACHABLE: &str = "the server does not answer: check the network, and host and port in the URL";

/// A failure that a person can mend: what to do, above what PostgreSQL says.
#[derive(Debug, thiserror::Error)]
#[error("{advice}")]
struct Advised {
    advice: &'static str,
    #[source]
    source: PgError,
}

/// The store's error, when it is the fence that refused.
pub(super) fn fenced(tickets: &[Ticket], error: &PgError) -> Option<Error> {
    let error = error.as_db_error().filter(|error| error.code().code() == FENCED)?;
    let (partition, newest) = error.detail()?.split_once(' ')?;
    let (partition, newest) = (partition.parse().ok()?, newest.parse().ok()?);
    let epoch = tickets.iter().find(|ticket| ticket.partition == partition).map_or(0, |ticket| ticket.epoch);
    Some(Error::Fenced { partition, epoch, newest })
}

/// A failure to do `what`, with advice when there is some.
pub(super) fn failed(what: &'static str) -> impl Fn(PgError) -> Error {
    move |source| match advice(&source) {
        Some(advice) => unavailable(what, Box::new(Advised { advice, source })),
        None => unavailable(what, Box::new(source)),
    }
}

/// Nothing came back for `what` in time.
pub(super) fn late(what: &'static str, limit: Duration) -> Error {
    unavailable(
        what,
        format!("no answer within {limit:?}: see whether the server is up or overloaded, and the network"),
    )
}

/// What to do about it; `None` when trying again is all there is.
fn advice(error: &PgError) -> Option<&'static str> {
    if let Some(code) = error.code() {
        return of_code(code);
    }
    if let Some(error) = error.source().and_then(|cause| cause.downcast_ref::<io::Error>()) {
        return of_io(error);
    }
    let cause = error.source().map(ToString::to_string).unwrap_or_default();
    match (error.to_string().as_str(), cause.as_str()) {
        (_, "password missing") => {
            Some("the server asks for a password: put one into the URL, after the user and a colon")
        }
        ("error performing TLS handshake", _) => {
            Some("TLS to PostgreSQL is not supported: take `sslmode` out of the URL, or use a tunnel or a local proxy")
        }
        ("timeout waiting for server", _) => Some(UNREACHABLE),
        _ => None,
    }
}

fn of_code(code: &SqlState) -> Option<&'static str> {
    let known: [(&[SqlState], &'static str); 7] = [
        (
            &[SqlState::INVALID_PASSWORD, SqlState::INVALID_AUTHORIZATION_SPECIFICATION],
            "the server does not let the user in: check user and password in the URL, and the server's pg_hba.conf",
        ),
        (
            &[SqlState::INVALID_CATALOG_NAME],
            "the database does not exist: make it (`CREATE DATABASE`), or correct its name in the URL",
        ),
        (
            &[SqlState::INSUFFICIENT_PRIVILEGE],
            "the user may not do this: let it make the schema (`GRANT CREATE ON DATABASE`), or make the schema its own \
             (`CREATE SCHEMA ... AUTHORIZATION`)",
        ),
        (
            &[SqlState::TOO_MANY_CONNECTIONS],
            "the server has no connection left: raise its max_connections, or lower the pool_size of the replicas",
        ),
        (
            &[SqlState::READ_ONLY_SQL_TRANSACTION],
            "the server only reads: give the URL of the primary, or add target_session_attrs=read-write to it",
        ),
        (&[SqlState::DISK_FULL], "the server's disk is full: make room on it"),
        (
            &[SqlState::UNDEFINED_TABLE, SqlState::UNDEFINED_COLUMN, SqlState::UNDEFINED_FUNCTION],
            "the schema is not as this program made it: restore it, or name another schema to begin with an empty one",
        ),
    ];
    known.into_iter().find(|(codes, _)| codes.contains(code)).map(|(_, advice)| advice)
}

fn of_io(error: &io::Error) -> Option<&'static str> {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => {
            Some("nobody listens there: start PostgreSQL, or correct host and port in the URL")
        }
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable | io::ErrorKind::TimedOut => {
            Some(UNREACHABLE)
        }
        // The kind of a name that cannot be resolved has no name.
        _ if error.to_string().contains("lookup address") => {
            Some("the server's name is not known: correct the host in the URL, or look at the name service")
        }
        _ => None,
    }
}
