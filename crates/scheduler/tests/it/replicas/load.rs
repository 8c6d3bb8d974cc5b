//! Callers and a worker that write down what they saw.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use mcp_client::{
    Client,
    worker::{Schedulers, Worker},
};
use mcp_proto::scheduler::v1::{ListTasksRequest, TaskSpec, TaskState};
use testkit::eventually;
use tokio::{
    sync::{Semaphore, watch},
    task::JoinHandle,
    time::sleep,
};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::fleet::{Fleet, PARTITIONS, SOON, task_in};

/// Callers that submit one task after the other.
const CALLERS: u16 = 4;
/// Pause of a caller after each task, so that a slow machine keeps up.
const PAUSE: Duration = Duration::from_millis(4);
const SLOTS: usize = 64;

/// The attempts of each task that a worker ran, by their tokens.
type Runs = Arc<Mutex<BTreeMap<String, Vec<(u64, u64)>>>>;

/// A worker with a session to every replica. `count` ends at once, `wait` when it is let go.
pub(super) struct Crew {
    runs: Runs,
    gate: Arc<Semaphore>,
    sessions: watch::Receiver<usize>,
    _stop: DropGuard,
}

impl Crew {
    /// Starts it and waits until it has its sessions.
    pub(super) async fn start(fleet: &Fleet, sessions: usize) -> Self {
        let (runs, gate) = (Runs::default(), Arc::new(Semaphore::new(0)));
        let (of_count, of_wait, doorkeeper) = (Arc::clone(&runs), Arc::clone(&runs), Arc::clone(&gate));
        let worker = Worker::builder(Schedulers::Discovered(fleet.discovery.clone()))
            .slots(SLOTS)
            .reconnect(Duration::from_millis(10), Duration::from_millis(500))
            .drain_grace(Duration::ZERO)
            .handler("count", move |context, input| {
                note(&of_count, &context);
                async move { Ok(input) }
            })
            .handler("wait", move |context, input| {
                note(&of_wait, &context);
                let gate = Arc::clone(&doorkeeper);
                async move {
                    gate.acquire().await?.forget();
                    Ok(input)
                }
            })
            .build();
        let open = worker.open_sessions();
        let stop = CancellationToken::new();
        tokio::spawn(worker.run(stop.clone()));
        let crew = Self { runs, gate, sessions: open, _stop: stop.drop_guard() };
        crew.has_sessions(sessions).await;
        crew
    }

    /// Waits until so many sessions are open.
    pub(super) async fn has_sessions(&self, count: usize) {
        let mut sessions = self.sessions.clone();
        let opened = tokio::time::timeout(SOON, sessions.wait_for(|open| *open == count)).await;
        assert!(opened.is_ok(), "{} sessions instead of {count}", *self.sessions.borrow());
    }

    /// Waits until the handler was called for a task.
    pub(super) async fn began(&self, id: &str) {
        eventually(SOON, || async {
            let runs = self.runs_of(id);
            if runs.is_empty() { Err(format!("{id} does not run")) } else { Ok(()) }
        })
        .await;
    }

    /// Lets `count` calls of `wait` end.
    pub(super) fn let_go(&self, count: usize) {
        self.gate.add_permits(count);
    }

    /// The tokens under which a task ran.
    pub(super) fn runs_of(&self, id: &str) -> Vec<(u64, u64)> {
        self.runs.lock().unwrap().get(id).cloned().unwrap_or_default()
    }
}

fn note(runs: &Runs, context: &mcp_client::worker::AttemptContext) {
    let token = context.token();
    runs.lock().unwrap().entry(context.task_id().to_string()).or_default().push((token.epoch, token.sequence));
}

/// Callers that submit to all partitions, whose calls must all succeed.
pub(super) struct Load {
    stop: CancellationToken,
    acknowledged: watch::Sender<Vec<String>>,
    callers: Vec<JoinHandle<()>>,
}

impl Load {
    /// Starts them; they call these replicas in turn.
    pub(super) fn start(clients: &[Client]) -> Self {
        Self::run(clients, |_| String::new())
    }

    /// The same; each submit has an idempotency key, so that it may be repeated when its owner vanished.
    pub(super) fn start_with_keys(clients: &[Client]) -> Self {
        Self::run(clients, |number| format!("key-{number}"))
    }

    fn run(clients: &[Client], key: fn(usize) -> String) -> Self {
        let (stop, acknowledged) = (CancellationToken::new(), watch::Sender::default());
        let callers = (0..CALLERS).map(|caller| {
            let (clients, stop, acknowledged) = (clients.to_vec(), stop.clone(), acknowledged.clone());
            tokio::spawn(async move {
                let numbers = (usize::from(caller)..).step_by(CALLERS.into());
                for (client, number) in clients.iter().cycle().zip(numbers) {
                    if stop.is_cancelled() {
                        return;
                    }
                    let partition = u16::try_from(number % 251).unwrap() % PARTITIONS;
                    let task = TaskSpec { idempotency_key: key(number), ..task_in(partition, "count") };
                    let submitted = client.submit(task).await;
                    let id = submitted.unwrap_or_else(|error| panic!("partition {partition}: {error:?}")).task_id;
                    acknowledged.send_modify(|all: &mut Vec<String>| all.push(id));
                    sleep(PAUSE).await;
                }
            })
        });
        let callers = callers.collect();
        Self { stop, acknowledged, callers }
    }

    /// Waits until so many more were acknowledged.
    pub(super) async fn goes_on(&self, count: usize) {
        let mut acknowledged = self.acknowledged.subscribe();
        let before = acknowledged.borrow().len();
        let more = tokio::time::timeout(SOON, acknowledged.wait_for(|all| all.len() >= before + count)).await;
        assert!(more.is_ok(), "{} instead of {count} were acknowledged", self.acknowledged.borrow().len() - before);
    }

    /// Ends it, and gives what was acknowledged.
    pub(super) async fn stop(self) -> Vec<String> {
        self.stop.cancel();
        for caller in self.callers {
            caller.await.unwrap();
        }
        self.acknowledged.borrow().clone()
    }
}

/// Waits until every task that was acknowledged has succeeded, and checks that each ran as often as it may.
pub(super) async fn all_succeed(client: &Client, crew: &Crew, acknowledged: &[String], runs_max: usize) {
    assert!(!acknowledged.is_empty());
    eventually(SOON, || async {
        let states = states(client).await.map_err(|error| error.to_string())?;
        let open = acknowledged.iter().filter(|id| states.get(*id) != Some(&TaskState::Succeeded));
        let open: Vec<_> = open.map(|id| (id, states.get(id))).collect();
        if open.is_empty() {
            assert_eq!(states.len(), acknowledged.len(), "there are tasks that nobody was told of");
            return Ok(());
        }
        Err(format!("{} of {} have not succeeded, among them {:?}", open.len(), acknowledged.len(), open[0]))
    })
    .await;
    for id in acknowledged {
        let runs = crew.runs_of(id);
        assert!((1..=runs_max).contains(&runs.len()), "{id} ran under {runs:?}");
    }
}

async fn states(client: &Client) -> Result<BTreeMap<String, TaskState>, mcp_proto::Error> {
    let (mut states, mut page_token) = (BTreeMap::new(), String::new());
    loop {
        let page = client.list(ListTasksRequest { page_size: 500, page_token, ..Default::default() }).await?;
        for task in page.tasks {
            let state = task.state();
            assert!(states.insert(task.id, state).is_none(), "listed twice");
        }
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(states);
        }
    }
}
