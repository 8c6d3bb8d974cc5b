//! One partition's seat: claims it, keeps it open, hands it over.

use std::{ops::Range, sync::Arc, time::Duration};

use mcp_coord::{Coordinator, Error as CoordError, Ownership, keys};
use rand::Rng as _;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinHandle,
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    host::Host,
    turn::{Position, Sharing, Turn},
};
use crate::{
    clock::Clock,
    cluster::{View, Views},
    error::Error,
    hub::Hub,
    routing::Routes,
    shell::{Handle, Home},
    store::{self, Store},
};

/// First and longest pause before something that failed is tried again.
const PAUSE: Range<Duration> = Duration::from_millis(50)..Duration::from_secs(5);
/// How often a lost ownership is claimed again.
const RECLAIM_EVERY: Duration = Duration::from_millis(500);
/// The same when the key is seen to be free.
const RECLAIM_SOON: Duration = Duration::from_millis(20);
/// Longest random part of the wait before a partition is handed over or claimed out of turn.
const JITTER_MAX: Duration = Duration::from_millis(100);
/// How long the next owner may take to claim a partition before the next one is handed over.
const HAND_OVER_MAX: Duration = Duration::from_secs(2);

/// What all seats share.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) routes: Arc<Routes>,
    pub(super) store: Arc<dyn Store>,
    pub(super) sharing: Sharing,
    pub(super) clock: Clock,
    pub(super) host: Host,
    pub(super) hub: Arc<Hub>,
    pub(super) coord: Arc<dyn Coordinator>,
    pub(super) cluster: String,
    pub(super) lease_ttl: Duration,
    /// Bounds what is loaded at a time.
    pub(super) loads: Semaphore,
    /// Partitions are handed over one by one.
    pub(super) hand_overs: Arc<Semaphore>,
    /// The service stops.
    pub(super) stop: CancellationToken,
    /// Where claims end that a seat does not wait for.
    pub(super) tasks: TaskTracker,
}

impl Desk {
    /// Waits for the hand-overs before this one. With a store that is not shared, partition 0 is the last: whoever gets it
    /// takes the others as well.
    async fn turn_to_leave(&self, partition: u16) -> Option<OwnedSemaphorePermit> {
        if self.sharing == Sharing::Shared {
            return Arc::clone(&self.hand_overs).acquire_owned().await.ok();
        }
        let mut labels = self.routes.labels();
        while partition == 0 && self.routes.homes().iter().any(|home| home.partition() != 0) {
            if labels.changed().await.is_err() {
                break;
            }
        }
        None
    }
}

/// A partition's seat.
#[derive(Debug)]
pub(super) struct Seat {
    desk: Arc<Desk>,
    partition: u16,
    views: Views,
    since: Instant,
}

/// The claim to a partition that is open here.
enum Held {
    Ours(Ownership),
    /// It may be another's by now. Claimed again at this moment, or being claimed.
    Lost(Instant, Option<JoinHandle<Result<Option<Ownership>, CoordError>>>),
}

/// Why an open partition is not served any more.
enum Why {
    /// The loop has ended; what it held must be loaded again.
    LoopEnded,
    /// The partition is to be closed; the next one may be once the permit is back.
    Leaving(Option<OwnedSemaphorePermit>),
}

impl Seat {
    /// An empty seat.
    pub(super) fn new(desk: Arc<Desk>, partition: u16) -> Self {
        let views = desk.routes.views();
        Self { desk, partition, views, since: Instant::now() }
    }

    /// Claims the partition whenever it is this replica's turn and keeps it as long as it is, until the service stops.
    pub(super) async fn run(mut self) {
        while let Some(ownership) = self.win().await {
            self.keep(ownership).await;
        }
    }

    /// Waits for the turn and claims; `None` when the service stops.
    async fn win(&mut self) -> Option<Ownership> {
        let mut pause = PAUSE.start;
        loop {
            let turn = self.turn();
            let desk = Arc::clone(&self.desk);
            match turn {
                Turn::At(at) if at <= Instant::now() => {
                    if desk.stop.is_cancelled() {
                        return None;
                    }
                    // Never broken off: a claim whose answer is not awaited blocks the partition for a lease's time.
                    match self.claim().await {
                        Ok(Some(ownership)) => return Some(ownership),
                        Ok(None) => pause = PAUSE.start, // the view will show whose it is
                        Err(error) => tracing::warn!(partition = self.partition, %error, "claim failed"),
                    }
                    self.rest(pause).await?;
                    pause = (pause * 2).min(PAUSE.end);
                }
                turn => desk.stop.run_until_cancelled(self.change(turn)).await?,
            }
        }
    }

    /// Waits until the turn may be another.
    async fn change(&mut self, turn: Turn) {
        let at = match turn {
            Turn::At(at) => at,
            Turn::Wait => Instant::now() + PAUSE.end,
        };
        tokio::select! {
            () = sleep_until(at) => {}
            changed = self.views.changed() => if changed.is_err() { sleep(PAUSE.end).await },
        }
    }

    /// Keeps an owned partition open, in one loop after the other, until it is to be closed; then gives it up.
    async fn keep(&mut self, ownership: Ownership) {
        let desk = Arc::clone(&self.desk);
        let mut held = Held::Ours(ownership);
        // A lost ownership is no reason to close, but one not to open again.
        while let Held::Ours(ownership) = &held {
            let Some(handle) = desk.stop.run_until_cancelled(desk.host.ready()).await else { break };
            match self.open_with_patience(&handle, ownership.epoch()).await {
                Some(Ok((home, epoch))) => {
                    desk.routes.open(home);
                    let why = self.serve(&handle, &mut held, epoch).await;
                    self.close_routes();
                    if let Why::Leaving(turn) = why {
                        // An error says that the loop has ended, and so the partition is closed.
                        drop(handle.close(self.partition).await);
                        self.give_up(held).await;
                        return self.see_it_taken(turn).await;
                    }
                }
                // The loop has ended meanwhile.
                Some(Err(Error::NotOwner)) if handle.has_ended() => {}
                Some(Err(_)) | None => break,
            }
        }
        self.give_up(held).await;
    }

    /// Opens the partition, again and again while the store does not answer. `None` when the service stops; an error when
    /// somebody else opened it, or the loop has ended.
    async fn open_with_patience(&mut self, handle: &Handle, epoch: u64) -> Option<Result<(Home, u64), Error>> {
        let mut pause = PAUSE.start;
        loop {
            let error = match self.open(handle, epoch).await {
                Ok(opened) => return Some(Ok(opened)),
                Err(error) => error,
            };
            if handle.has_ended() || matches!(error, Error::NotOwner) {
                self.rest(pause).await?;
                return Some(Err(Error::NotOwner));
            }
            tracing::warn!(partition = self.partition, epoch, %error, ?pause, "partition cannot be opened");
            self.rest(pause).await?;
            pause = (pause * 2).min(PAUSE.end);
        }
    }

    async fn open(&self, handle: &Handle, epoch: u64) -> Result<(Home, u64), Error> {
        let desk = &self.desk;
        let _load = desk.loads.acquire().await.map_err(|_| Error::ShuttingDown)?;
        let (handle, store, partition, now) =
            (handle.clone(), Arc::clone(&desk.store), self.partition, desk.clock.now());
        let opening = tokio::task::spawn_blocking(move || handle.open_blocking(&*store, partition, epoch, now));
        opening.await.unwrap_or_else(|error| {
            Err(store::Error::Unavailable { what: "open the partition", source: Box::new(error) }.into())
        })
    }

    /// Serves the open partition until the loop ends or it is to be closed, whatever the ownership does meanwhile.
    async fn serve(&mut self, handle: &Handle, held: &mut Held, mut epoch: u64) -> Why {
        let desk = Arc::clone(&self.desk);
        loop {
            let view = self.views.borrow_and_update().clone();
            if self.has_rival(&view, held) {
                tracing::warn!(partition = self.partition, "another replica owns the partition");
                return Why::Leaving(None);
            }
            let leave_at = if desk.stop.is_cancelled() { Some(self.since) } else { self.leave_at(&view) };
            let is_due = leave_at.is_some_and(|at| at <= Instant::now());
            let look_again = leave_at.filter(|_| !is_due).into_iter().chain(view.next_trust(Instant::now())).min();
            let change = tokio::select! {
                () = handle.ended() => return Why::LoopEnded,
                turn = desk.turn_to_leave(self.partition), if is_due => return Why::Leaving(turn),
                () = desk.stop.cancelled(), if !desk.stop.is_cancelled() => continue,
                change = held.next() => change,
                changed = self.views.changed() => match changed {
                    Ok(()) => {
                        held.hurry(self.views.borrow().owner(self.partition).is_none());
                        continue;
                    }
                    Err(_) => return Why::Leaving(None), // nobody follows the cluster any more
                },
                () = sleep_until(look_again.unwrap_or_else(far)) => continue,
            };
            match change {
                Change::Lost => {
                    let partition = self.partition;
                    tracing::warn!(
                        partition,
                        "ownership lost; going on under the store's fence until it is ours again"
                    );
                    *held = Held::Lost(Instant::now(), None);
                }
                Change::Due => *held = Held::Lost(far(), Some(desk.tasks.spawn(self.claim()))),
                Change::Claimed(ownership) => {
                    // When somebody opened it in between, the next commit ends the loop.
                    if ownership.epoch() > epoch && handle.advance(self.partition, ownership.epoch()).await.is_ok() {
                        epoch = ownership.epoch();
                    }
                    tracing::info!(partition = self.partition, epoch, "ownership claimed again");
                    *held = Held::Ours(ownership);
                }
                Change::Failed => {
                    let pause = RECLAIM_EVERY.mul_f64(rand::rng().random_range(0.5..1.0));
                    *held = Held::Lost(Instant::now() + pause, None);
                }
            }
        }
    }

    /// Lets the next partition be handed over once this one has an owner again, or after a while.
    async fn see_it_taken(&mut self, turn: Option<OwnedSemaphorePermit>) {
        let me = self.desk.routes.me();
        if turn.is_none() || !self.views.borrow().has_others(&me.instance_id) {
            return;
        }
        let (partition, incarnation) = (self.partition, me.incarnation.clone());
        let is_taken = |view: &Arc<View>| view.owner(partition).is_some_and(|owner| owner.incarnation != incarnation);
        drop(timeout(HAND_OVER_MAX, self.views.wait_for(is_taken)).await);
    }

    /// Whoever waits for a task of the partition looks for its owner again.
    fn close_routes(&self) {
        let (routes, partition) = (&self.desk.routes, self.partition);
        routes.close(partition);
        self.desk.hub.moved(|id| routes.of_id(id) == partition);
    }

    async fn give_up(&self, held: Held) {
        match held {
            Held::Ours(ownership) => ownership.release().await,
            Held::Lost(_, None) => {}
            Held::Lost(_, Some(claiming)) => {
                // Whatever it wins is not wanted any more.
                drop(self.desk.tasks.spawn(async move {
                    if let Ok(Ok(Some(ownership))) = claiming.await {
                        ownership.release().await;
                    }
                }));
            }
        }
    }

    fn claim(&self) -> impl Future<Output = Result<Option<Ownership>, CoordError>> + Send + use<> {
        let desk = &self.desk;
        let key = keys::partition(&desk.cluster, u32::from(self.partition));
        Ownership::try_claim(Arc::clone(&desk.coord), key, desk.routes.me().value(), desk.lease_ttl)
    }

    fn turn(&mut self) -> Turn {
        let view = self.views.borrow_and_update().clone();
        self.position(&view).turn()
    }

    /// When the partition is to be handed over to a replica that is preferred for it; `None` when there is none.
    fn leave_at(&self, view: &View) -> Option<Instant> {
        let (_, settled) = self.position(view).preferred()?;
        // The same for one seat, so that it does not move with every look.
        Some(settled + JITTER_MAX.mul_f64(f64::from(self.partition % 16) / 16.0))
    }

    /// True when another replica has what this one cannot be sure to own; with a store that is not shared, also when
    /// another one has partition 0, and so the store.
    fn has_rival(&self, view: &View, held: &Held) -> bool {
        let me = &self.desk.routes.me().incarnation;
        let has_another = |partition| view.owner(partition).is_some_and(|owner| owner.incarnation != *me);
        let has_store = self.desk.sharing == Sharing::Shared || !has_another(0);
        !has_store || (matches!(held, Held::Lost(..)) && has_another(self.partition))
    }

    fn position<'a>(&'a self, view: &'a View) -> Position<'a> {
        Position {
            view,
            me: self.desk.routes.me(),
            sharing: self.desk.sharing,
            partition: self.partition,
            since: self.since,
            now: Instant::now(),
        }
    }

    /// Pauses, with jitter; `None` when the service stops.
    async fn rest(&self, pause: Duration) -> Option<()> {
        let jittered = pause.mul_f64(rand::rng().random_range(0.5..1.0));
        self.desk.stop.run_until_cancelled(sleep(jittered)).await
    }
}

/// What happens to the claim.
enum Change {
    /// It is not assured any more.
    Lost,
    /// It is time to claim again.
    Due,
    /// It is ours again.
    Claimed(Ownership),
    /// It is not, or that is not known.
    Failed,
}

impl Held {
    /// Claims at once when the key is free.
    fn hurry(&mut self, is_free: bool) {
        if let Self::Lost(at, None) = self
            && is_free
        {
            *at = (*at).min(Instant::now() + RECLAIM_SOON);
        }
    }

    async fn next(&mut self) -> Change {
        match self {
            Self::Ours(ownership) => {
                ownership.lost().await;
                Change::Lost
            }
            Self::Lost(_, Some(claiming)) => match claiming.await {
                Ok(Ok(Some(ownership))) => Change::Claimed(ownership),
                _ => Change::Failed,
            },
            Self::Lost(at, None) => {
                sleep_until(*at).await;
                Change::Due
            }
        }
    }
}

/// A moment that does not come.
fn far() -> Instant {
    Instant::now() + Duration::from_secs(365 * 24 * 3600)
}
