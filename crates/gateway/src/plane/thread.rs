//! The threads of the data plane: starting them, feeding them, stopping them in order.

use std::{io, rc::Rc, sync::Arc, thread::JoinHandle};

use futures_util::future::{join_all, select_all};
use mcp_client::Discovery;
use tokio::{
    runtime::{Builder, LocalOptions, LocalRuntime},
    sync::{mpsc, oneshot},
    time::{Instant, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    acceptor::{Accepted, Speaks},
    connection,
};
use crate::{
    core::{Core, Shared},
    frames::{listen, topics},
    routes::follow::Routes,
    upstream::Question,
};

/// Connections that wait for a busy thread; the acceptor waits when there are more.
const ACCEPTED_MAX: usize = 64;

/// Threads of one runtime for work that would hold up calls.
const BLOCKING_THREADS_MAX: usize = 4;

/// Why the data plane does not run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A thread or its runtime could not be made.
    #[error("a data-plane thread cannot be started")]
    Start(#[source] io::Error),
    /// A thread ended by itself; it panicked.
    #[error("data-plane thread {index} ended by itself")]
    Ended {
        /// Its number, from 0.
        index: usize,
    },
}

/// The running threads. Dropping it cuts every connection off.
#[derive(Debug)]
pub(crate) struct DataPlane {
    threads: Vec<Thread>,
    drain: CancellationToken,
    cut: CancellationToken,
}

#[derive(Debug)]
struct Thread {
    accepted: mpsc::Sender<Accepted>,
    /// Resolves when the thread knows the instances.
    synced: Option<oneshot::Receiver<()>>,
    /// Resolves, by losing its sender, when the thread is over.
    over: oneshot::Receiver<()>,
    handle: Option<JoinHandle<()>>,
}

impl DataPlane {
    /// Starts the threads.
    ///
    /// # Errors
    /// [`Error::Start`]; those that had started stop again.
    pub(crate) async fn start(
        shared: &Arc<Shared>,
        own: &tonic::service::Routes,
        (discovery, routes): (&Discovery, &Routes),
    ) -> Result<Self, Error> {
        let (drain, cut) = (CancellationToken::new(), CancellationToken::new());
        let mut plane = Self { threads: Vec::new(), drain, cut };
        for index in 0..shared.settings.threads() {
            let (accepted, incoming) = mpsc::channel(ACCEPTED_MAX);
            let (started, has_started) = oneshot::channel();
            let (is_synced, synced) = oneshot::channel();
            let (is_over, over) = oneshot::channel::<()>();
            let work = Work {
                shared: Arc::clone(shared),
                own: own.clone(),
                index,
                discovery: discovery.clone(),
                routes: routes.clone(),
                is_synced,
                incoming,
                drain: plane.drain.clone(),
                cut: plane.cut.clone(),
            };
            let body = move || {
                // Dropped at the very end, also by a panic.
                let _is_over = is_over;
                let runtime = Builder::new_current_thread()
                    .enable_all()
                    .max_blocking_threads(BLOCKING_THREADS_MAX)
                    .build_local(LocalOptions::default());
                let (result, runtime) = match runtime {
                    Ok(runtime) => (Ok(()), Some(runtime)),
                    Err(error) => (Err(error), None),
                };
                if started.send(result).is_ok()
                    && let Some(runtime) = runtime
                {
                    work.run(&runtime);
                }
            };
            let handle =
                std::thread::Builder::new().name(format!("gateway-{index}")).spawn(body).map_err(Error::Start)?;
            plane.threads.push(Thread { accepted, synced: Some(synced), over, handle: Some(handle) });
            has_started.await.map_err(|_| Error::Ended { index })?.map_err(Error::Start)?;
        }
        Ok(plane)
    }

    /// Where to send accepted connections, a sender for each thread.
    pub(crate) fn senders(&self) -> Vec<mpsc::Sender<Accepted>> {
        self.threads.iter().map(|thread| thread.accepted.clone()).collect()
    }

    /// Waits until every thread knows the instances. Only once.
    pub(crate) fn synced(&mut self) -> impl Future<Output = ()> + use<> {
        let synced: Vec<_> = self.threads.iter_mut().filter_map(|thread| thread.synced.take()).collect();
        async {
            if join_all(synced).await.iter().any(Result::is_err) {
                std::future::pending().await // a thread has failed, which `failed` tells
            }
        }
    }

    /// Waits for a thread to end by itself, which it only does when it panics.
    pub(crate) async fn failed(&mut self) -> Error {
        let over = self.threads.iter_mut().map(|thread| &mut thread.over);
        let (_, index, _) = select_all(over).await;
        Error::Ended { index }
    }

    /// Lets what is running finish until `deadline`, then cuts it off; returns how many connections that were.
    pub(crate) async fn drain(mut self, shared: &Shared, deadline: Instant) -> i64 {
        self.drain.cancel();
        let threads = std::mem::take(&mut self.threads);
        let (over, handles): (Vec<_>, Vec<_>) = threads.into_iter().map(|thread| (thread.over, thread.handle)).unzip();
        let mut all = Box::pin(join_all(over));
        let left = match timeout_at(deadline, &mut all).await {
            Ok(_) => 0,
            Err(_) => {
                let left = shared.instruments.connections.get();
                self.cut.cancel();
                all.await;
                left
            }
        };
        for handle in handles.into_iter().flatten() {
            // It is at its last instruction: this does not wait. A panic was reported already.
            handle.join().unwrap_or_default();
        }
        left
    }
}

impl Drop for DataPlane {
    fn drop(&mut self) {
        self.cut.cancel();
    }
}

/// What a thread does.
struct Work {
    shared: Arc<Shared>,
    own: tonic::service::Routes,
    index: usize,
    discovery: Discovery,
    routes: Routes,
    is_synced: oneshot::Sender<()>,
    incoming: mpsc::Receiver<Accepted>,
    drain: CancellationToken,
    cut: CancellationToken,
}

impl Work {
    /// Serves connections until told to drain, then until they have ended, or until told to cut them off.
    fn run(self, runtime: &LocalRuntime) {
        let cut = self.cut.clone();
        runtime.block_on(async {
            tokio::select! {
                () = self.serve() => {}
                () = cut.cancelled() => {}
            }
        });
    }

    async fn serve(mut self) {
        let core = Rc::new(Core::new(self.shared, self.own, self.index, self.drain.clone()));
        // Ends with the runtime.
        tokio::task::spawn_local(follow(self.discovery, self.routes, Rc::clone(&core), self.is_synced));
        if self.index == 0 {
            // Ends with the runtime.
            tokio::task::spawn_local(topics::tasks::follow(Rc::clone(&core)));
        }
        let mut questions = core.shared.inspector.join();
        let asked = Rc::clone(&core);
        // Ends with the runtime.
        tokio::task::spawn_local(async move {
            while let Some(question) = questions.recv().await {
                // Nobody waits any more when the asker has gone.
                match question {
                    Question::Upstreams(answer) => drop(answer.send(asked.upstreams.view())),
                    Question::Connections(part, answer) => {
                        drop(answer.send(asked.connections.view(part, std::time::Instant::now())));
                    }
                }
            }
        });
        let (connections, sessions) = (TaskTracker::new(), core.sessions.clone());
        loop {
            tokio::select! {
                accepted = self.incoming.recv() => match accepted {
                    Some(accepted) => serve(&connections, &core, accepted, &self.drain),
                    None => break,
                },
                () = self.drain.cancelled() => break,
            }
        }
        core.leaving.cancel();
        // What was accepted and is on its way here may have sent its call already.
        self.incoming.close();
        while let Some(accepted) = self.incoming.recv().await {
            serve(&connections, &core, accepted, &self.drain);
        }
        connections.close();
        connections.wait().await;
        sessions.close();
        sessions.wait().await;
    }
}

/// Begins to serve a connection, by what its port speaks.
fn serve(connections: &TaskTracker, core: &Rc<Core>, accepted: Accepted, drain: &CancellationToken) {
    let (core, drain) = (Rc::clone(core), drain.clone());
    match accepted.speaks {
        Speaks::Http => connections.spawn_local(connection::serve(core, accepted, drain)),
        Speaks::Frames(profile) => connections.spawn_local(listen::serve(core, accepted, profile, drain)),
    };
}

/// Keeps the thread's view of the instances and of the routes up to date, for ever.
async fn follow(mut discovery: Discovery, mut routes: Routes, core: Rc<Core>, is_synced: oneshot::Sender<()>) {
    let update = |discovery: &Discovery| {
        core.upstreams.update(&core.shared.platform.add_to(&discovery.snapshot()));
    };
    tokio::join!(discovery.synced(), routes.synced());
    update(&discovery);
    core.set_routes(Arc::clone(&routes.view().table));
    // Nobody listens any more when the gateway was stopped this early.
    is_synced.send(()).unwrap_or_default();
    loop {
        tokio::select! {
            () = discovery.changed() => update(&discovery),
            () = routes.changed() => core.set_routes(Arc::clone(&routes.view().table)),
        }
    }
}
