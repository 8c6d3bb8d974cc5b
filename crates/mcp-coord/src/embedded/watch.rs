//! Watches of the embedded backend: each remembers how far it has read the history.

use std::{collections::VecDeque, sync::Arc};

use futures_util::stream;
use tokio::{
    sync::watch as signal,
    time::{Instant, sleep_until},
};

use super::{Shared, state::Signal};
use crate::model::{Change, Revision, WatchStream};

struct Watcher {
    shared: Arc<Shared>,
    signal: signal::Receiver<Signal>,
    prefix: String,
    seen: Option<Revision>,
    queue: VecDeque<Change>,
}

/// A watch of all keys that start with `prefix`.
pub(super) fn stream(shared: Arc<Shared>, prefix: String) -> WatchStream {
    let signal = shared.signal.subscribe();
    let watcher = Watcher { shared, signal, prefix, seen: None, queue: VecDeque::new() };
    Box::pin(stream::unfold(watcher, |mut watcher| async move { Some((watcher.next().await, watcher)) }))
}

impl Watcher {
    async fn next(&mut self) -> Change {
        loop {
            if let Some(change) = self.queue.pop_front() {
                return change;
            }
            // Marked as seen before the state is read, so that no change falls between the two.
            let next_end = self.signal.borrow_and_update().next_end;
            let (changes, seen) = self.shared.with(|state, _| state.since(&self.prefix, self.seen));
            self.seen = Some(seen);
            self.queue.extend(changes);
            if self.queue.is_empty() {
                self.woken(next_end).await;
            }
        }
    }

    /// Waits until the state changed or a lease may have ended.
    async fn woken(&mut self, next_end: Option<Instant>) {
        let lease_ended = async {
            match next_end {
                Some(ends) => sleep_until(ends).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = self.signal.changed() => changed.expect("the watch holds the sender"),
            () = lease_ended => {}
        }
    }
}
