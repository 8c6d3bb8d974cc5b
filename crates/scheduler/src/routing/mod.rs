//! Bringing calls to the owner of what they are about.
//!
//! A partition is open here, owned by another replica, or owned by nobody for a moment. [`Routes::owner_of`] gives the
//! owner, and waits for one when there is none, bounded in number and time. A call for another replica's partition is
//! passed on over gRPC with its metadata, trace and deadline; `mcp-forwarded` stops it from being passed on twice. Whoever
//! is asked and is not the owner says NOT_OWNER, nothing was done then, and the caller's replica looks again. So a
//! partition may move while calls for it are under way, and none of them fails for it.
//!
//! A unary call of a service needs one expression:
//!
//! ```text
//! async fn pause_queue(&self, request: Request<PauseQueueRequest>) -> Result<Response<PauseQueueResponse>, Status> {
//!     let (routes, (caller, message)) = (&self.deps.routes, self.deps.routes.caller(request));
//!     let partition = routes.of_queue(&message.namespace, &message.queue);
//!     routes
//!         .unary(partition, &caller, message, Repeat::Allowed,
//!             |home, message| self.pause(home, message),
//!             |peer, request| async move { peer.queues().pause_queue(request).await })
//!         .await
//! }
//! ```
//!
//! Long polls go through [`Routes::long_poll`], what concerns several owners through [`Routes::gather`]. Streams look up the owner themselves (`owner_of`) and
//! again when it moves.

mod caller;
mod gather;
mod long_poll;
mod outcome;
mod peers;
mod unary;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;
use mcp_proto::{
    TaskId,
    partition::{OWNED_LABEL, OwnedPartitions, of_home},
};
use tokio::{
    sync::{Semaphore, watch},
    time::{Instant, sleep_until, timeout_at},
};

pub(crate) use caller::Caller;
pub(crate) use outcome::{Outcome, Repeat, is_moved};
pub(crate) use peers::Peer;

use self::peers::Peers;
use crate::{
    cluster::{Identity, View, Views},
    config::Settings,
    error::Error,
    shell::Home,
    validate::NAME_DEFAULT,
};

/// Pause before an owner that said it is not one is asked again, unless something changes first.
const ASK_AGAIN: Duration = Duration::from_millis(50);
/// How long a replica that does not own a partition any more may take to answer a call for it.
const LEFT_GRACE: Duration = Duration::from_secs(1);

/// Who owns a partition.
#[derive(Debug, Clone)]
pub(crate) enum Owner {
    /// This replica.
    Local(Arc<Home>),
    /// Another one.
    Peer(Peer),
}

/// What is known at the moment.
enum Look {
    Owned(Owner),
    /// It is claimed here and being loaded.
    Opening,
    Nobody,
}

/// The owners of the partitions.
#[derive(Debug)]
pub(crate) struct Routes {
    count: u16,
    me: Identity,
    homes: Vec<ArcSwapOption<Home>>,
    /// Counts the changes of `homes`.
    changes: watch::Sender<u64>,
    labels: watch::Sender<BTreeMap<String, String>>,
    views: Views,
    peers: Peers,
    waiting: Semaphore,
    wait_max: Duration,
    draining: AtomicBool,
}

impl Routes {
    /// No partition is open yet.
    pub(crate) fn new(settings: &Settings, me: Identity, views: Views) -> Arc<Self> {
        let count = settings.partitions;
        let routes = Self {
            count,
            me,
            homes: (0..count).map(|_| ArcSwapOption::empty()).collect(),
            changes: watch::Sender::new(0),
            labels: watch::Sender::default(),
            views,
            peers: Peers::default(),
            waiting: Semaphore::new(settings.route_waiting_max),
            wait_max: settings.route_wait,
            draining: AtomicBool::new(false),
        };
        routes.changed();
        Arc::new(routes)
    }

    /// The partition of a queue; empty names are `default`.
    pub(crate) fn of_queue(&self, namespace: &str, queue: &str) -> u16 {
        let name = |name| if str::is_empty(name) { NAME_DEFAULT } else { name };
        of_home(TaskId::home_of(name(namespace), name(queue)), self.count)
    }

    /// The partition of a task, or of anything else whose id carries its home.
    pub(crate) fn of_id(&self, id: TaskId) -> u16 {
        of_home(id.home(), self.count)
    }

    /// The partition of a home's hash.
    pub(crate) fn of_home(&self, home: u16) -> u16 {
        of_home(home, self.count)
    }

    /// All partitions.
    pub(crate) fn partitions(&self) -> std::ops::Range<u16> {
        0..self.count
    }

    /// A partition that is open here.
    pub(crate) fn home(&self, partition: u16) -> Option<Arc<Home>> {
        self.homes.get(usize::from(partition))?.load_full()
    }

    /// The partitions that are open here.
    pub(crate) fn homes(&self) -> Vec<Arc<Home>> {
        self.homes.iter().filter_map(ArcSwapOption::load_full).collect()
    }

    /// Labels for the registration, which name the open partitions.
    pub(crate) fn labels(&self) -> watch::Receiver<BTreeMap<String, String>> {
        self.labels.subscribe()
    }

    /// The cluster as it is seen here.
    pub(crate) fn views(&self) -> Views {
        self.views.clone()
    }

    /// This replica.
    pub(crate) fn me(&self) -> &Identity {
        &self.me
    }

    /// Brings calls for a partition here from now on.
    pub(crate) fn open(&self, home: Home) {
        if let Some(slot) = self.homes.get(usize::from(home.partition())) {
            slot.store(Some(Arc::new(home)));
            self.changed();
        }
    }

    /// Brings no calls for a partition here any more.
    pub(crate) fn close(&self, partition: u16) {
        if let Some(slot) = self.homes.get(usize::from(partition)) {
            slot.store(None);
            self.changed();
        }
    }

    /// From now on nobody waits for this replica to open anything.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Release);
        self.changed();
    }

    fn changed(&self) {
        let owned = self.homes.iter().zip(0..).filter(|(home, _)| home.load().is_some());
        let owned = owned.fold(OwnedPartitions::none_of(self.count), |owned, (_, partition)| owned.with(partition));
        self.labels.send_replace(BTreeMap::from([(OWNED_LABEL.to_owned(), owned.to_string())]));
        self.changes.send_modify(|changes| *changes += 1);
    }

    /// The owner of a partition. While there is none the call waits, at most the caller's time and `route_wait`.
    ///
    /// # Errors
    /// [`Error::NotOwner`]: nobody owned it in time, or the call was passed on to here and this replica is not the owner.
    /// [`Error::Overloaded`]: too many calls wait. [`Error::ShuttingDown`]: this replica stops and there is no other.
    pub(crate) async fn owner_of(&self, partition: u16, caller: &Caller) -> Result<Owner, Error> {
        if let Some(home) = self.home(partition) {
            return Ok(Owner::Local(home));
        }
        match self.look(partition) {
            Look::Owned(owner @ Owner::Local(_)) => return Ok(owner),
            Look::Owned(owner) if !caller.is_forwarded() => return Ok(owner),
            _ => {}
        }
        let _place =
            self.waiting.try_acquire().map_err(|_| Error::Overloaded { what: "calls that wait for an owner" })?;
        let until = caller.until(self.wait_max);
        let (mut changes, mut views) = (self.changes.subscribe(), self.views.clone());
        loop {
            changes.mark_unchanged();
            views.mark_unchanged();
            match self.look(partition) {
                Look::Owned(owner @ Owner::Local(_)) => return Ok(owner),
                Look::Owned(_) | Look::Nobody if caller.is_forwarded() => return Err(Error::NotOwner),
                Look::Owned(owner) => return Ok(owner),
                Look::Opening | Look::Nobody if self.is_last() => return Err(Error::ShuttingDown),
                Look::Opening | Look::Nobody => {}
            }
            let changed = async {
                tokio::select! {
                    _ = changes.changed() => {}
                    _ = views.changed() => {}
                }
            };
            timeout_at(until, changed).await.map_err(|_| Error::NotOwner)?;
        }
    }

    /// Waits after the owner of a partition said that it is not: until something changes, or a moment has passed.
    ///
    /// # Errors
    /// [`Error::NotOwner`]: `until` has passed.
    pub(crate) async fn refused(&self, until: Instant) -> Result<(), Error> {
        let (mut changes, mut views) = (self.changes.subscribe(), self.views.clone());
        views.mark_unchanged();
        if Instant::now() >= until {
            return Err(Error::NotOwner);
        }
        tokio::select! {
            _ = changes.changed() => {}
            _ = views.changed() => {}
            () = sleep_until(until.min(Instant::now() + ASK_AGAIN)) => {}
        }
        Ok(())
    }

    /// Resolves some time after a replica has ceased to own a partition. Whoever waits for its answer waits in vain: a
    /// replica that was stopped keeps its connections and says nothing.
    pub(crate) async fn left(&self, partition: u16, peer: &Peer) {
        let mut views = self.views.clone();
        loop {
            let is_owner = |view: &View| view.owner(partition).is_some_and(|owner| owner.address == peer.address());
            // An error means that the view is followed no more: then nothing is left either.
            if views.wait_for(|view| !is_owner(view)).await.is_err() {
                std::future::pending::<()>().await;
            }
            tokio::time::sleep(LEFT_GRACE).await;
            if !is_owner(&views.borrow()) {
                return;
            }
        }
    }

    /// How long a call may wait for an owner.
    pub(crate) fn wait_max(&self) -> Duration {
        self.wait_max
    }

    /// The other replicas that own partitions or are registered, by their addresses.
    pub(crate) fn others(&self) -> Vec<Peer> {
        let view = self.views.borrow().clone();
        let members = view.members.iter().filter(|(id, _)| **id != self.me.instance_id);
        let owners = self.partitions().filter_map(|partition| view.owner(partition));
        let addresses = members.map(|(_, member)| &member.address).chain(owners.map(|owner| &owner.address));
        let addresses: std::collections::BTreeSet<_> =
            addresses.filter(|address| !address.is_empty() && **address != self.me.address).collect();
        addresses.into_iter().filter_map(|address| self.peers.get(address)).collect()
    }

    fn look(&self, partition: u16) -> Look {
        if let Some(home) = self.home(partition) {
            return Look::Owned(Owner::Local(home));
        }
        let view = self.views.borrow().clone();
        match view.owner(partition) {
            Some(owner) if owner.incarnation == self.me.incarnation => Look::Opening,
            Some(owner) => match self.peers.get(&owner.address) {
                Some(peer) => Look::Owned(Owner::Peer(peer)),
                None => Look::Nobody,
            },
            None => Look::Nobody,
        }
    }

    /// True when this replica stops and nobody can take over.
    fn is_last(&self) -> bool {
        self.draining.load(Ordering::Acquire) && !self.views.borrow().has_others(&self.me.instance_id)
    }
}
