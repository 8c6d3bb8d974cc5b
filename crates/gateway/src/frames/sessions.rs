//! The sessions that can be resumed, of all data-plane threads. It is asked when a session greets or ends, not by calls.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use http::HeaderValue;
use mcp_proto::{Code, Error, frame::Frame};
use tokio::sync::oneshot;

use super::legacies::Legacy;

/// Random bytes of a session's id: whoever knows it may resume the session.
const ID_BYTES: usize = 16;

/// Sessions without a connection that wait for their clients, of all threads.
const WAITING_MAX: usize = 10_000;

/// What a session leaves to the connection that resumes it.
#[derive(Debug)]
pub(crate) struct Inheritance {
    /// Answers that its client may have missed.
    pub(crate) kept: Vec<Frame>,
    /// Calls that go on: its own, and those that it had inherited itself.
    pub(crate) legacies: Vec<Legacy>,
    /// Its subscriptions as they were asked for.
    pub(crate) subscriptions: Vec<Frame>,
}

/// Where a session hands over what it leaves.
pub(crate) type Claim = oneshot::Sender<Inheritance>;

#[derive(Debug)]
struct Entry {
    serial: u64,
    authorization: Option<HeaderValue>,
    claims: oneshot::Sender<Claim>,
}

/// The sessions by id.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    entries: Mutex<HashMap<String, Entry>>,
    serial: AtomicU64,
    waiting: AtomicUsize,
}

/// A session's place among them, until dropped.
#[derive(Debug)]
pub(crate) struct Place {
    sessions: Arc<Sessions>,
    /// Its id.
    pub(crate) id: String,
    serial: u64,
    /// Resolves when its client comes back by another connection.
    pub(crate) claimed: oneshot::Receiver<Claim>,
}

/// A session's place among those without a connection, until dropped.
#[derive(Debug)]
pub(crate) struct Waiting(Arc<Sessions>);

impl Sessions {
    /// A place for a session; `id` is that of the one that it goes on with.
    ///
    /// # Errors
    /// `INTERNAL`: the machine gives no random numbers.
    pub(crate) fn enter(
        self: &Arc<Self>,
        id: Option<String>,
        authorization: Option<HeaderValue>,
    ) -> Result<Place, Error> {
        let id = match id {
            Some(id) => id,
            None => new_id()?,
        };
        let (claims, claimed) = oneshot::channel();
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        self.entries().insert(id.clone(), Entry { serial, authorization, claims });
        Ok(Place { sessions: Arc::clone(self), id, serial, claimed })
    }

    /// Takes a session over, if there is one with this id and the same credentials.
    pub(crate) fn claim(
        &self,
        id: &str,
        authorization: Option<&HeaderValue>,
    ) -> Option<oneshot::Receiver<Inheritance>> {
        let mut entries = self.entries();
        if entries.get(id)?.authorization.as_ref() != authorization {
            return None;
        }
        let entry = entries.remove(id)?;
        let (claim, inheritance) = oneshot::channel();
        entry.claims.send(claim).ok()?;
        Some(inheritance)
    }

    /// A place for a session that has lost its connection, if there is one.
    pub(crate) fn wait(self: &Arc<Self>) -> Option<Waiting> {
        let before = self.waiting.fetch_add(1, Ordering::Relaxed);
        let waiting = Waiting(Arc::clone(self));
        (before < WAITING_MAX).then_some(waiting)
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut entries = self.sessions.entries();
        if entries.get(&self.id).is_some_and(|entry| entry.serial == self.serial) {
            entries.remove(&self.id);
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

fn new_id() -> Result<String, Error> {
    let mut random = [0; ID_BYTES];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| Error::new(Code::Internal, "internal error"))?;
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_session_is_taken_over_once_and_by_its_own_client() {
        let sessions = Arc::new(Sessions::default());
        let key = HeaderValue::from_static("Bearer a");
        let place = sessions.enter(None, Some(key.clone())).unwrap();
        let id = place.id.clone();
        assert_eq!(id.len(), 32);
        assert!(sessions.claim(&id, None).is_none(), "somebody else");
        assert!(sessions.claim("nobody", Some(&key)).is_none());
        let inheritance = sessions.claim(&id, Some(&key)).unwrap();
        assert!(sessions.claim(&id, Some(&key)).is_none(), "it has gone");
        // Its successor has the id, and keeps it when the first one ends.
        let successor = sessions.enter(Some(id.clone()), Some(key.clone())).unwrap();
        drop(place);
        assert!(inheritance.await.is_err(), "it ended before it handed anything over");
        assert!(sessions.claim(&id, Some(&key)).is_some());
        drop(successor);
        assert!(sessions.entries().is_empty());
    }
}
