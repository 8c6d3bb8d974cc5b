//! Watches over all replicas: the changes of this one and those that the others stream to it.
//!
//! A watch listens to every other scheduler that is registered, so that a partition which moves between them takes no
//! change away. A replica that came later, or whose stream broke, may have changed something unheard: then the watch
//! says that something was left out.

use std::{collections::HashMap, pin::Pin, time::Duration};

use futures_util::{Stream, future::join_all};
use mcp_proto::scheduler::v1::{WatchTasksRequest, WatchTasksResponse};
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::AbortOnDropHandle;
use tonic::{Status, Streaming};

use super::{Deps, Tasks};
use crate::{
    error::Error,
    hub::Watch,
    routing::{Caller, Peer, is_moved},
    validate::WatchFilter,
};

/// How long the other replicas may take before a watch counts as in place without them.
const IN_PLACE_MAX: Duration = Duration::from_secs(2);
/// First and longest pause before a broken stream is opened again.
const REOPEN_PAUSE: std::ops::Range<Duration> = Duration::from_millis(100)..Duration::from_secs(2);
/// Responses that may wait for the caller. Behind them each source holds back, drops changes in the end, and says so.
const RESPONSES_MAX: usize = 4;

/// Answers of a watch.
pub(super) type WatchStream = Pin<Box<dyn Stream<Item = Result<WatchTasksResponse, Status>> + Send>>;

/// A watch of one caller.
struct Merger {
    deps: Deps,
    caller: Caller,
    request: WatchTasksRequest,
    responses: mpsc::Sender<Result<WatchTasksResponse, Status>>,
}

impl Tasks {
    /// First an empty response, then changes until the caller leaves or the service closes. A watch that another replica
    /// opened hears of this replica's changes only.
    pub(super) fn watch(
        &self,
        caller: Caller,
        filter: WatchFilter,
        request: WatchTasksRequest,
    ) -> Result<WatchStream, Status> {
        let own = self.deps.hub.watch(filter)?;
        let (responses, stream) = mpsc::channel(RESPONSES_MAX);
        let merger = Merger { deps: self.deps.clone(), caller, request, responses };
        self.deps.tasks.spawn(merger.run(own));
        Ok(Box::pin(ReceiverStream::new(stream)))
    }
}

impl Merger {
    async fn run(self, own: Watch) {
        let (closing, left) = (self.deps.closing.clone(), self.responses.clone());
        let ended = tokio::select! {
            ended = self.merge(own) => ended,
            () = left.closed() => return,
            () = closing.cancelled() => Error::ShuttingDown.into(),
        };
        drop(left.try_send(Err(ended))); // who does not read is not waited for
    }

    /// Never returns but with a reason to end.
    async fn merge(&self, mut own: Watch) -> Status {
        let mut views = self.deps.routes.views();
        let (sender, mut relayed) = mpsc::channel(1);
        let mut parts = self.first_parts(&sender).await;
        self.say(WatchTasksResponse::default()).await;
        loop {
            let response = tokio::select! {
                response = own.next() => response,
                Some(response) = relayed.recv() => response,
                changed = views.changed(), if !self.caller.is_forwarded() => {
                    if changed.is_err() {
                        return Error::ShuttingDown.into();
                    }
                    self.renew(&mut parts, &sender);
                    continue;
                }
            };
            self.say(response).await;
        }
    }

    /// Hands a response over. When the caller has left, the whole watch ends.
    async fn say(&self, response: WatchTasksResponse) {
        drop(self.responses.send(Ok(response)).await);
    }

    /// Listens to the replicas that are there, and waits a while until they confirm it.
    async fn first_parts(&self, sender: &mpsc::Sender<WatchTasksResponse>) -> HashMap<String, AbortOnDropHandle<()>> {
        if self.caller.is_forwarded() {
            return HashMap::new();
        }
        let opened = self.deps.routes.others().into_iter().map(|peer| async {
            let part = self.part(peer, sender);
            let stream = timeout(IN_PLACE_MAX, part.open()).await.ok().and_then(Result::ok);
            (part, stream)
        });
        let opened = join_all(opened).await;
        opened.into_iter().map(|(part, stream)| (part.peer.address().to_owned(), self.start(part, stream))).collect()
    }

    /// Listens to replicas that came, and not any more to those that left.
    fn renew(&self, parts: &mut HashMap<String, AbortOnDropHandle<()>>, sender: &mpsc::Sender<WatchTasksResponse>) {
        let others = self.deps.routes.others();
        parts.retain(|address, _| others.iter().any(|peer| peer.address() == address));
        for peer in others {
            if !parts.contains_key(peer.address()) {
                let (address, part) = (peer.address().to_owned(), self.part(peer, sender));
                parts.insert(address, self.start(part, None));
            }
        }
    }

    fn part(&self, peer: Peer, sender: &mpsc::Sender<WatchTasksResponse>) -> Part {
        let (deps, caller, request) = (self.deps.clone(), self.caller.clone(), self.request.clone());
        Part { deps, caller, request, peer, sender: sender.clone() }
    }

    fn start(&self, part: Part, stream: Option<Streaming<WatchTasksResponse>>) -> AbortOnDropHandle<()> {
        AbortOnDropHandle::new(self.deps.tasks.spawn(part.run(stream)))
    }
}

/// What one other replica adds to a watch.
struct Part {
    deps: Deps,
    caller: Caller,
    request: WatchTasksRequest,
    peer: Peer,
    sender: mpsc::Sender<WatchTasksResponse>,
}

impl Part {
    /// Passes changes on for ever, over one stream after the other.
    async fn run(self, mut stream: Option<Streaming<WatchTasksResponse>>) {
        let mut pause = REOPEN_PAUSE.start;
        loop {
            match stream.take() {
                Some(changes) => {
                    if !self.relay(changes).await {
                        return;
                    }
                    pause = REOPEN_PAUSE.start;
                }
                None => match self.open().await {
                    Ok(opened) => {
                        if self.is_owner() && !self.gap().await {
                            return;
                        }
                        stream = Some(opened);
                        continue;
                    }
                    Err(status) => tracing::debug!(peer = self.peer.address(), %status, "cannot be watched"),
                },
            }
            sleep(pause).await;
            pause = (pause * 2).min(REOPEN_PAUSE.end);
        }
    }

    /// Opens a stream and waits until it is in place.
    async fn open(&self) -> Result<Streaming<WatchTasksResponse>, Status> {
        let mut request = self.caller.request(self.request.clone());
        request.metadata_mut().remove("grpc-timeout"); // the caller's stream ends with its time, and this one with that
        let mut stream = self.peer.tasks().watch_tasks(request).await?.into_inner();
        match stream.message().await? {
            Some(_) => Ok(stream),
            None => Err(Status::unavailable("the watch ended at once")),
        }
    }

    /// Passes on what comes; false when nobody wants it any more.
    async fn relay(&self, mut changes: Streaming<WatchTasksResponse>) -> bool {
        loop {
            match changes.message().await {
                Ok(Some(response)) => {
                    if self.sender.send(response).await.is_err() {
                        return false;
                    }
                }
                // A replica that stops in order has handed over everything before it ends its streams.
                Err(status) if is_moved(&status) => return true,
                Ok(None) | Err(_) => return self.gap().await,
            }
        }
    }

    /// Something may have been left out; false when nobody wants to know.
    async fn gap(&self) -> bool {
        self.sender.send(WatchTasksResponse { events: Vec::new(), dropped: 1 }).await.is_ok()
    }

    fn is_owner(&self) -> bool {
        let view = self.deps.routes.views().borrow().clone();
        let owners = self.deps.routes.partitions().filter_map(|partition| view.owner(partition));
        owners.into_iter().any(|owner| owner.address == self.peer.address())
    }
}
