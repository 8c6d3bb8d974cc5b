//! Opens and closes sessions as scheduler replicas come and go, and leads the drain.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::watch,
    task::{self, JoinError, JoinSet},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};
use uuid::Uuid;

use super::{
    abilities::Abilities,
    book::{SessionId, Signals},
    hub::Hub,
    options::{Schedulers, WorkerOptions},
    session::Session,
    stop::StopReason,
};
use crate::discovery::Discovery;

/// Name under which schedulers are registered.
const SCHEDULER_SERVICE: &str = "scheduler";
/// How long stopped attempts may take to end, beyond what their executor asks for.
const STOP_MARGIN: Duration = Duration::from_secs(2);
/// How long the last results may take to be acknowledged after all attempts ended.
const FLUSH_MAX: Duration = Duration::from_secs(5);

/// A program that runs tasks. See [`worker`](crate::worker).
#[derive(Debug)]
pub struct Worker {
    hub: Arc<Hub>,
    abilities: Arc<Abilities>,
    schedulers: Schedulers,
}

impl Worker {
    pub(super) fn new(schedulers: Schedulers, options: WorkerOptions, abilities: Abilities) -> Self {
        let hub = Hub::new(options, abilities.handler_names(), abilities.processes.is_some());
        Self { hub: Arc::new(hub), abilities: Arc::new(abilities), schedulers }
    }

    /// Its id, the same in all of its sessions.
    pub fn id(&self) -> Uuid {
        self.hub.options.worker_id
    }

    /// How many sessions are open; a worker with none gets no tasks.
    pub fn open_sessions(&self) -> watch::Receiver<usize> {
        self.hub.open_sessions.subscribe()
    }

    /// Runs tasks until `stop`, then drains: takes no new ones, lets the running ones go on for the drain grace, stops
    /// and hands back those that are left, and returns when the schedulers have heard all that or cannot be reached.
    ///
    /// It returns within the drain grace plus the executor's
    /// [`stop_max`](super::ProcessExecutor::stop_max) plus some seconds.
    ///
    /// # Cancellation
    /// Dropping the future closes the sessions and stops the attempts without a report; the schedulers give them to
    /// other workers when the lease has passed.
    pub async fn run(self, stop: CancellationToken) {
        let _cleanup = StopOnDrop(Arc::clone(&self.hub));
        let mut supervisor = Supervisor::new(Arc::clone(&self.hub), self.abilities);
        let mut source = Source::new(self.schedulers);
        supervisor.follow(&mut source, stop.cancelled()).await;
        supervisor.drain(&mut source).await;
    }
}

/// Stops what still runs when the worker's future is dropped.
struct StopOnDrop(Arc<Hub>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.book().stop_all(StopReason::Revoked);
    }
}

/// Where the URLs of the schedulers come from.
enum Source {
    Fixed(BTreeSet<String>),
    Discovered(Discovery),
}

impl Source {
    fn new(schedulers: Schedulers) -> Self {
        match schedulers {
            Schedulers::Fixed(urls) => Self::Fixed(urls.into_iter().collect()),
            Schedulers::Discovered(discovery) => Self::Discovered(discovery),
        }
    }

    /// Two records with one address, as after a restart under a new instance id, are one replica.
    fn urls(&self) -> BTreeSet<String> {
        match self {
            Self::Fixed(urls) => urls.clone(),
            Self::Discovered(discovery) => discovery
                .snapshot()
                .by_service(SCHEDULER_SERVICE)
                .iter()
                .map(|record| format!("http://{}", record.address))
                .collect(),
        }
    }

    async fn changed(&mut self) {
        match self {
            Self::Fixed(_) => std::future::pending().await,
            Self::Discovered(discovery) => discovery.changed().await,
        }
    }
}

struct Supervisor {
    hub: Arc<Hub>,
    abilities: Arc<Abilities>,
    tasks: JoinSet<()>,
    sessions: BTreeMap<String, Handle>,
    finish: CancellationToken,
    sessions_made: u64,
}

struct Handle {
    id: SessionId,
    task: task::Id,
    wanted: watch::Sender<bool>,
}

impl Supervisor {
    fn new(hub: Arc<Hub>, abilities: Arc<Abilities>) -> Self {
        Self {
            hub,
            abilities,
            tasks: JoinSet::new(),
            sessions: BTreeMap::new(),
            finish: CancellationToken::new(),
            sessions_made: 0,
        }
    }

    /// Keeps a session with every scheduler until `end`.
    async fn follow(&mut self, source: &mut Source, end: impl Future<Output = ()>) {
        tokio::pin!(end);
        loop {
            self.adjust(&source.urls());
            tokio::select! {
                biased;
                () = &mut end => return,
                () = source.changed() => {}
                Some(ended) = self.tasks.join_next_with_id(), if !self.tasks.is_empty() => self.ended(ended),
            }
        }
    }

    /// A session that is still wanted is opened again by the next [`adjust`](Self::adjust), a broken one included.
    fn ended(&mut self, ended: Result<(task::Id, ()), JoinError>) {
        let task = match ended {
            Ok((task, ())) => task,
            Err(error) => {
                error!(%error, "a session broke down");
                error.id()
            }
        };
        let mut book = self.hub.book();
        self.sessions.retain(|_, handle| {
            let lives = handle.task != task;
            if !lives {
                book.remove(handle.id);
            }
            lives
        });
    }

    fn adjust(&mut self, urls: &BTreeSet<String>) {
        for (url, handle) in &self.sessions {
            let wanted = urls.contains(url);
            handle.wanted.send_if_modified(|before| std::mem::replace(before, wanted) != wanted);
        }
        for url in urls {
            if !self.sessions.contains_key(url) {
                self.open(url.clone());
            }
        }
        let wanted: Vec<SessionId> =
            self.sessions.iter().filter(|(url, _)| urls.contains(*url)).map(|(_, handle)| handle.id).collect();
        self.hub.book().share_out(&wanted);
    }

    fn open(&mut self, url: String) {
        self.sessions_made += 1;
        let id = SessionId(self.sessions_made);
        let signals = Arc::new(Signals::default());
        let (wanted, is_wanted) = watch::channel(true);
        self.hub.book().add(id, Arc::clone(&signals));
        let session = Session {
            hub: Arc::clone(&self.hub),
            abilities: Arc::clone(&self.abilities),
            id,
            url: url.clone(),
            signals,
            wanted: is_wanted,
            finish: self.finish.clone(),
        };
        let task = self.tasks.spawn(session.run()).id();
        self.sessions.insert(url, Handle { id, task, wanted });
    }

    /// See [`Worker::run`].
    async fn drain(mut self, source: &mut Source) {
        let hub = Arc::clone(&self.hub);
        let (grace, running) = (hub.options.drain_grace, hub.book().running());
        info!(running, ?grace, "worker drains");
        hub.book().drain();
        self.follow(source, async { drop(timeout(grace, hub.idle()).await) }).await;

        hub.book().stop_all(StopReason::HandedBack);
        let stop_max = self.abilities.processes.as_ref().map_or(Duration::ZERO, |executor| executor.stop_max());
        self.follow(source, async { drop(timeout(stop_max + STOP_MARGIN, hub.idle()).await) }).await;
        let running = hub.book().running();
        if running > 0 {
            warn!(running, "attempts do not stop: left behind");
        }

        self.finish.cancel();
        let closed = async { while self.tasks.join_next().await.is_some() {} };
        tokio::select! {
            () = closed => {}
            () = sleep(FLUSH_MAX) => warn!("the schedulers did not take the last results in time"),
        }
    }
}
