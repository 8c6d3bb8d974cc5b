//! What became of the calls.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

/// What callers do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// A gRPC call that must not be carried out twice.
    Grpc,
    /// A gRPC call of the scheduler.
    GrpcTasks,
    /// A gRPC stream that lasts.
    GrpcStream,
    /// A `POST` on a connection that is kept.
    Json,
    /// A `POST` that submits a task.
    JsonTask,
    /// A `POST` on a connection that is idle most of the time.
    JsonSeldom,
    /// A stream of JSON lines that lasts.
    JsonStream,
}

impl Kind {
    pub(super) const ALL: [Self; 7] =
        [Self::Grpc, Self::GrpcTasks, Self::GrpcStream, Self::Json, Self::JsonTask, Self::JsonSeldom, Self::JsonStream];
}

/// Counts of calls, and what failed.
#[derive(Debug, Default)]
pub(super) struct Tally {
    succeeded: Mutex<BTreeMap<Kind, usize>>,
    failures: Mutex<Vec<String>>,
    registered: Mutex<Vec<String>>,
    sent_again: AtomicUsize,
    number: AtomicUsize,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Tally {
    /// A name that no other call has.
    pub(super) fn name(&self) -> String {
        format!("call-{}", self.number.fetch_add(1, Ordering::Relaxed))
    }

    /// A call has ended.
    pub(super) fn note(&self, kind: Kind, result: Result<(), String>) {
        match result {
            Ok(()) => *lock(&self.succeeded).entry(kind).or_default() += 1,
            Err(error) => lock(&self.failures).push(format!("{kind:?}: {error}")),
        }
    }

    /// A backend has said that it carried out the call of this name.
    pub(super) fn note_registered(&self, name: String) {
        lock(&self.registered).push(name);
    }

    /// A call was sent again that nobody had looked at.
    pub(super) fn note_again(&self) {
        self.sent_again.fetch_add(1, Ordering::Relaxed);
    }

    /// Calls that succeeded; every kind is there.
    pub(super) fn succeeded(&self) -> BTreeMap<Kind, usize> {
        let succeeded = lock(&self.succeeded);
        Kind::ALL.into_iter().map(|kind| (kind, succeeded.get(&kind).copied().unwrap_or(0))).collect()
    }

    pub(super) fn failures(&self) -> Vec<String> {
        lock(&self.failures).clone()
    }

    pub(super) fn registered(&self) -> Vec<String> {
        lock(&self.registered).clone()
    }

    pub(super) fn sent_again(&self) -> usize {
        self.sent_again.load(Ordering::Relaxed)
    }
}
