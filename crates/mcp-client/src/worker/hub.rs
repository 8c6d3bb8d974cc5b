//! What the parts of a worker share: the book under its lock, and who is woken when it changes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mcp_proto::{
    scheduler::v1::Progress,
    worker::v1::{AttemptLogLine, WorkerHello},
};
use tokio::sync::{Notify, watch};
use tokio_util::task::TaskTracker;

use super::{
    attempt::AttemptKey,
    book::{Book, Claims, Logged, Report},
    options::{Taint, WorkerOptions},
};

/// See the module.
#[derive(Debug)]
pub(super) struct Hub {
    pub(super) options: WorkerOptions,
    /// [`WorkerOptions::worker_id`] as text.
    pub(super) worker_id: String,
    /// The names of the functions it registered, sorted.
    handlers: Vec<String>,
    /// Whether it runs programs.
    runs_processes: bool,
    /// The tasks of the running attempts.
    pub(super) tracker: TaskTracker,
    /// How many sessions are open.
    pub(super) open_sessions: watch::Sender<usize>,
    book: Mutex<Book>,
    /// Lines were sent, so that there is room for others.
    room: Notify,
    /// The last running attempt ended.
    idle: Notify,
}

impl Hub {
    pub(super) fn new(options: WorkerOptions, handlers: Vec<String>, runs_processes: bool) -> Self {
        Self {
            book: Mutex::new(Book::new(options.slots)),
            worker_id: options.worker_id.to_string(),
            options,
            handlers,
            runs_processes,
            tracker: TaskTracker::new(),
            open_sessions: watch::Sender::new(0),
            room: Notify::new(),
            idle: Notify::new(),
        }
    }

    /// The book. Never held across an await.
    pub(super) fn book(&self) -> MutexGuard<'_, Book> {
        // No operation of the book can leave it half done.
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first message of a session.
    pub(super) fn hello(&self, claims: Claims) -> WorkerHello {
        WorkerHello {
            worker_id: self.worker_id.clone(),
            name: self.options.name.clone(),
            namespaces: self.options.namespaces.clone(),
            queues: self.options.queues.clone(),
            runs_processes: self.runs_processes,
            handlers: self.handlers.clone(),
            credits: claims.credits,
            running: claims.running.into_iter().map(AttemptKey::to_ref).collect(),
            version: self.options.version.clone(),
            labels: self.options.labels.clone(),
            taints: self.options.taints.iter().map(Taint::to_wire).collect(),
            cpu_millis: self.options.cpu_millis,
            memory_bytes: self.options.memory_bytes,
        }
    }

    /// Ends an attempt.
    pub(super) fn finish(&self, key: AttemptKey, report: Report) {
        let running = {
            let mut book = self.book();
            book.finish(key, report);
            book.running()
        };
        if running == 0 {
            self.idle.notify_waiters();
        }
    }

    /// Keeps a line for sending; waits while there is no room.
    pub(super) async fn log(&self, key: AttemptKey, line: AttemptLogLine) {
        let Logged::Full(mut line) = self.book().log(key, line) else { return };
        loop {
            let room = self.room.notified();
            tokio::pin!(room);
            // From here on no notice is missed, so look again before waiting.
            room.as_mut().enable();
            match self.book().log(key, line) {
                Logged::Full(back) => line = back,
                Logged::Taken | Logged::Gone => return,
            }
            room.await;
        }
    }

    /// Keeps the latest progress for sending.
    pub(super) fn progress(&self, key: AttemptKey, progress: Progress) {
        self.book().progress(key, progress);
    }

    /// Wakes those who wait for room for their lines.
    pub(super) fn made_room(&self) {
        self.room.notify_waiters();
    }

    /// Waits until no attempt runs.
    pub(super) async fn idle(&self) {
        loop {
            let idle = self.idle.notified();
            tokio::pin!(idle);
            idle.as_mut().enable();
            if self.book().running() == 0 {
                return;
            }
            idle.await;
        }
    }
}

/// Counts a session as open while it lives.
#[derive(Debug)]
pub(super) struct OpenSession(Arc<Hub>);

impl OpenSession {
    pub(super) fn new(hub: &Arc<Hub>) -> Self {
        hub.open_sessions.send_modify(|count| *count += 1);
        Self(Arc::clone(hub))
    }
}

impl Drop for OpenSession {
    fn drop(&mut self) {
        self.0.open_sessions.send_modify(|count| *count -= 1);
    }
}
