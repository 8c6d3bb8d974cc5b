//! Who is subscribed to what, and what waits for them. Events come from the control plane and from one data-plane thread,
//! subscribers are on all of them, so this is the one place that all share; calls never come by.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use mcp_proto::{
    Error,
    frame::{BodyCodec, Command, Frame, Kind, Metadata},
};
use serde::Deserialize;
use tokio::sync::watch;

use super::topic::{Pattern, Sees, TASKS, WORKFLOWS};

/// Metadata of an event: how many before it were dropped because their subscriber was slow.
const DROPPED: &str = "dropped";

/// Something that happened.
#[derive(Debug)]
pub(crate) struct Event {
    /// Where.
    pub(crate) topic: String,
    /// What form the body has.
    pub(crate) codec: BodyCodec,
    /// What.
    pub(crate) body: Bytes,
}

/// What happens when a subscriber is too slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Slow {
    /// The oldest event that waits is dropped, and counted.
    #[default]
    DropOldest,
    /// Its session is closed, so that no event is missed unseen.
    Disconnect,
}

/// The body of a subscribe frame.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wanted {
    /// The pattern.
    pub(crate) topic: String,
    /// What happens when it is too slow.
    #[serde(default)]
    pub(crate) slow: Slow,
}

/// One subscription. It ends when its [`Subscribed`] is dropped.
#[derive(Debug)]
pub(crate) struct Subscription {
    id: u64,
    /// The number that its events carry.
    sequence: u32,
    pattern: Pattern,
    sees: Sees,
    slow: Slow,
    mailbox: Arc<Mailbox>,
    dropped: AtomicU64,
}

/// Events that wait for one session.
#[derive(Debug)]
pub(crate) struct Mailbox {
    queue: Mutex<Queue>,
    events_max: usize,
    waker: AtomicWaker,
}

#[derive(Debug, Default)]
struct Queue {
    events: VecDeque<(Arc<Subscription>, Arc<Event>)>,
    /// One came too many for a subscription that wants none dropped.
    is_full: bool,
}

/// What a session gets.
#[derive(Debug)]
pub(crate) enum Mail {
    /// An event.
    Event(Frame),
    /// More events than it can take: it is to be closed.
    TooSlow,
}

impl Mailbox {
    /// For a session, with room for so many events.
    pub(crate) fn new(events_max: usize) -> Arc<Self> {
        Arc::new(Self { queue: Mutex::default(), events_max, waker: AtomicWaker::new() })
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an event; the number of those that were dropped for it.
    fn push(&self, subscription: &Arc<Subscription>, event: &Arc<Event>) -> u64 {
        let mut dropped = 0;
        let mut queue = self.queue();
        queue.events.push_back((Arc::clone(subscription), Arc::clone(event)));
        if queue.events.len() > self.events_max
            && let Some((oldest, _)) = queue.events.pop_front()
        {
            match oldest.slow {
                Slow::DropOldest => {
                    oldest.dropped.fetch_add(1, Ordering::Relaxed);
                    dropped = 1;
                }
                Slow::Disconnect => queue.is_full = true,
            }
        }
        drop(queue);
        self.waker.wake();
        dropped
    }

    /// The next event.
    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<Mail> {
        self.waker.register(cx.waker());
        let mut queue = self.queue();
        if queue.is_full {
            return Poll::Ready(Mail::TooSlow);
        }
        let Some((subscription, event)) = queue.events.pop_front() else {
            if queue.events.capacity() > 0 {
                // An idle session gives its memory back.
                queue.events = VecDeque::new();
            }
            return Poll::Pending;
        };
        drop(queue);
        Poll::Ready(Mail::Event(subscription.frame(&event)))
    }

    /// Forgets what waits for a subscription that has ended.
    fn forget(&self, id: u64) {
        self.queue().events.retain(|(subscription, _)| subscription.id != id);
    }
}

impl Subscription {
    fn wants(&self, event: &Event) -> bool {
        self.pattern.matches(&event.topic) && self.sees.allows(&event.topic)
    }

    fn frame(&self, event: &Event) -> Frame {
        let mut metadata = Metadata::new().with(Metadata::TOPIC, event.topic.as_str());
        let dropped = self.dropped.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            metadata.set(DROPPED, dropped.to_string());
        }
        let frame =
            Frame { kind: Kind::Event, ..Frame::request(Command::TOPIC_PUBLISH, self.sequence, event.body.clone()) };
        frame.with_codec(event.codec).with_metadata(&metadata)
    }
}

/// A subscription of a session, until dropped.
#[derive(Debug)]
pub(crate) struct Subscribed {
    hub: Arc<Hub>,
    subscription: Arc<Subscription>,
}

impl Subscribed {
    /// The number that its events carry.
    pub(crate) fn sequence(&self) -> u32 {
        self.subscription.sequence
    }

    /// What it is for.
    pub(crate) fn topic(&self) -> &str {
        self.subscription.pattern.as_str()
    }

    /// Resolves when the scheduler is followed as far as this needs it: all that happens from then on is told. Also when the
    /// scheduler cannot be followed now: it is told again once it can. `None`: that is so already.
    pub(crate) fn holds(&self) -> Option<impl Future<Output = ()> + use<>> {
        let wanted = Followed::by(&self.subscription.pattern);
        let mut followed = self.hub.followed.subscribe();
        if followed.borrow_and_update().covers(wanted) {
            return None;
        }
        Some(async move {
            // The hub lives as long as the process.
            let _covered = followed.wait_for(|followed| followed.covers(wanted)).await;
        })
    }
}

impl Drop for Subscribed {
    fn drop(&mut self) {
        self.hub.remove(&self.subscription);
        self.subscription.mailbox.forget(self.subscription.id);
    }
}

/// How many subscriptions may want the events of tasks, and of workflows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Interest {
    /// Of tasks.
    pub(crate) tasks: usize,
    /// Of workflows.
    pub(crate) workflows: usize,
}

/// What of the scheduler is followed now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Followed {
    /// Changes of tasks.
    pub(crate) tasks: bool,
    /// How workflows look.
    pub(crate) workflows: bool,
    /// It was tried in vain.
    pub(crate) failed: bool,
}

impl Followed {
    /// What a pattern needs.
    fn by(pattern: &Pattern) -> Self {
        let (tasks, workflows) = (pattern.may_match(TASKS), pattern.may_match(WORKFLOWS));
        Self { tasks, workflows, failed: false }
    }

    fn covers(self, wanted: Self) -> bool {
        self.failed || ((self.tasks || !wanted.tasks) && (self.workflows || !wanted.workflows))
    }
}

/// The subscriptions of all sessions, by the first level of their patterns; under the empty one those of any.
#[derive(Debug, Default)]
pub(crate) struct Hub {
    by_root: RwLock<HashMap<Box<str>, Vec<Arc<Subscription>>>>,
    next_id: AtomicU64,
    interest: watch::Sender<Interest>,
    followed: watch::Sender<Followed>,
}

impl Hub {
    /// Adds a subscription of the session with this mailbox.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT`: the pattern is none. Those of `sees`, which says what its subscriber may see.
    pub(crate) fn subscribe(
        self: &Arc<Self>,
        sequence: u32,
        wanted: &Wanted,
        mailbox: &Arc<Mailbox>,
        sees: impl FnOnce(&Pattern) -> Result<Sees, Error>,
    ) -> Result<Subscribed, Error> {
        let pattern = Pattern::parse(&wanted.topic)?;
        let subscription = Arc::new(Subscription {
            id: self.next_id.fetch_add(1, Ordering::Relaxed),
            sequence,
            sees: sees(&pattern)?,
            pattern,
            slow: wanted.slow,
            mailbox: Arc::clone(mailbox),
            dropped: AtomicU64::new(0),
        });
        let root = subscription.pattern.root().unwrap_or_default();
        let mut by_root = self.by_root.write().unwrap_or_else(PoisonError::into_inner);
        by_root.entry(root.into()).or_default().push(Arc::clone(&subscription));
        drop(by_root);
        self.count(&subscription, |count| *count += 1);
        Ok(Subscribed { hub: Arc::clone(self), subscription })
    }

    fn remove(&self, subscription: &Subscription) {
        let root = subscription.pattern.root().unwrap_or_default();
        let mut by_root = self.by_root.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(subscriptions) = by_root.get_mut(root) {
            subscriptions.retain(|known| known.id != subscription.id);
            if subscriptions.is_empty() {
                by_root.remove(root);
            }
        }
        drop(by_root);
        self.count(subscription, |count| *count -= 1);
    }

    fn count(&self, subscription: &Subscription, change: impl Fn(&mut usize)) {
        let Followed { tasks, workflows, .. } = Followed::by(&subscription.pattern);
        self.interest.send_if_modified(|interest| {
            if tasks {
                change(&mut interest.tasks);
            }
            if workflows {
                change(&mut interest.workflows);
            }
            self.set_followed(*interest, |_| {});
            tasks || workflows
        });
    }

    /// How many want what.
    pub(crate) fn wanted(&self) -> Interest {
        *self.interest.borrow()
    }

    /// The same, now and whenever it changes.
    pub(crate) fn interest(&self) -> watch::Receiver<Interest> {
        self.interest.subscribe()
    }

    /// What is followed.
    pub(crate) fn followed(&self) -> Followed {
        *self.followed.borrow()
    }

    /// Says what is followed from now on, as far as anybody wants it.
    pub(crate) fn follow(&self, change: impl FnOnce(&mut Followed)) {
        // Together with what is wanted, which must not change in between.
        self.interest.send_if_modified(|interest| {
            self.set_followed(*interest, change);
            false
        });
    }

    /// What nobody wants is followed no more: the next who wants it waits until it is.
    fn set_followed(&self, interest: Interest, change: impl FnOnce(&mut Followed)) {
        self.followed.send_if_modified(|followed| {
            let before = *followed;
            change(followed);
            let is_wanted = interest != Interest::default();
            followed.tasks &= is_wanted;
            followed.failed &= is_wanted;
            followed.workflows &= interest.workflows > 0;
            *followed != before
        });
    }

    /// Gives an event to all who want it; the number of events that were dropped for it.
    pub(crate) fn publish(&self, event: Event) -> u64 {
        let event = Arc::new(event);
        let root = event.topic.split('/').next().unwrap_or_default();
        let by_root = self.by_root.read().unwrap_or_else(PoisonError::into_inner);
        let found = [root, ""].into_iter().filter_map(|root| by_root.get(root)).flatten();
        let wanted = found.filter(|subscription| subscription.wants(&event));
        wanted.map(|subscription| subscription.mailbox.push(subscription, &event)).sum()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::task::noop_waker;

    use super::*;

    fn subscribe(hub: &Arc<Hub>, sequence: u32, json: &str, mailbox: &Arc<Mailbox>) -> Subscribed {
        let wanted = serde_json::from_str(json).unwrap();
        hub.subscribe(sequence, &wanted, mailbox, |_| Ok(Sees::All)).unwrap()
    }

    fn publish(hub: &Hub, topic: &str) -> u64 {
        hub.publish(Event { topic: topic.into(), codec: BodyCodec::Json, body: "{}".into() })
    }

    /// Everything that waits: numbers, topics, and how many were dropped before.
    fn all(mailbox: &Mailbox) -> Vec<(u32, String, Option<String>)> {
        let waker = noop_waker();
        let mut cx = Context::from_waker(&waker);
        let mut seen = Vec::new();
        while let Poll::Ready(Mail::Event(frame)) = mailbox.poll(&mut cx) {
            let metadata = frame.metadata().unwrap();
            let dropped = metadata.get(DROPPED).map(str::to_owned);
            seen.push((frame.sequence, metadata.get("topic").unwrap().to_owned(), dropped));
        }
        seen
    }

    #[test]
    fn events_come_to_those_who_want_them() {
        let (hub, one, two) = (Arc::new(Hub::default()), Mailbox::new(10), Mailbox::new(10));
        let interest = hub.interest();
        let a = subscribe(&hub, 1, r#"{"topic": "tasks/a/*"}"#, &one);
        let any = subscribe(&hub, 2, r##"{"topic": "#"}"##, &one);
        let other = subscribe(&hub, 3, r#"{"topic": "orders/*"}"#, &two);
        assert_eq!(*interest.borrow(), Interest { tasks: 2, workflows: 1 });
        publish(&hub, "tasks/a/7");
        publish(&hub, "orders/8");
        let found = |sequence, topic: &str| (sequence, topic.to_owned(), None);
        assert_eq!(all(&one), [found(1, "tasks/a/7"), found(2, "tasks/a/7"), found(2, "orders/8")]);
        assert_eq!(all(&two), [found(3, "orders/8")]);
        publish(&hub, "tasks/a/9");
        drop(any);
        assert_eq!(all(&one), [found(1, "tasks/a/9")], "what waits for an ended one is forgotten");
        drop((a, other));
        assert_eq!(*interest.borrow(), Interest::default());
        assert!(hub.by_root.read().unwrap().is_empty());
    }

    #[test]
    fn a_subscription_holds_when_what_it_is_for_is_followed() {
        let (hub, mailbox) = (Arc::new(Hub::default()), Mailbox::new(10));
        let [tasks, any, own] = [r#"{"topic": "tasks/#"}"#, r##"{"topic": "#"}"##, r#"{"topic": "rooms/#"}"#]
            .map(|json| subscribe(&hub, 1, json, &mailbox));
        let hold = || [&tasks, &any, &own].map(|subscribed| subscribed.holds().is_none());
        assert_eq!(hold(), [false, false, true]);
        hub.follow(|followed| followed.tasks = true);
        assert_eq!(hold(), [true, false, true]);
        hub.follow(|followed| followed.workflows = true);
        assert_eq!(hold(), [true; 3], "now all of it is");
        drop((tasks, any));
        let [tasks, any] =
            [r#"{"topic": "tasks/#"}"#, r##"{"topic": "#"}"##].map(|json| subscribe(&hub, 2, json, &mailbox));
        assert_eq!([&tasks, &any].map(|subscribed| subscribed.holds().is_none()), [false; 2], "it begins anew");
        hub.follow(|followed| *followed = Followed { failed: true, ..Followed::default() });
        let hold = [&tasks, &any, &own].map(|subscribed| subscribed.holds().is_none());
        assert_eq!(hold, [true; 3], "nobody waits for a scheduler that is away");
        drop((tasks, any));
        assert_eq!(hub.followed(), Followed::default(), "the next tries anew");
        hub.follow(|followed| followed.tasks = true);
        assert_eq!(hub.followed(), Followed::default(), "nobody wants it");
    }

    #[test]
    fn a_slow_subscriber_loses_the_oldest_and_is_told_how_many() {
        let (hub, mailbox) = (Arc::new(Hub::default()), Mailbox::new(2));
        let _kept = subscribe(&hub, 1, r#"{"topic": "a/*"}"#, &mailbox);
        let dropped: u64 = (0..5).map(|number| publish(&hub, &format!("a/{number}"))).sum();
        assert_eq!(dropped, 3);
        let expected = [(1, "a/3".to_owned(), Some("3".to_owned())), (1, "a/4".to_owned(), None)];
        assert_eq!(all(&mailbox), expected);
    }

    #[test]
    fn a_subscriber_that_wants_no_gaps_is_told_to_go() {
        let (hub, mailbox) = (Arc::new(Hub::default()), Mailbox::new(1));
        let _kept = subscribe(&hub, 1, r#"{"topic": "a", "slow": "disconnect"}"#, &mailbox);
        assert_eq!((publish(&hub, "a"), publish(&hub, "a")), (0, 0));
        let waker = noop_waker();
        let mail = mailbox.poll(&mut Context::from_waker(&waker));
        assert!(matches!(mail, Poll::Ready(Mail::TooSlow)), "{mail:?}");
        assert!(serde_json::from_str::<Wanted>(r#"{"topic": "a", "slow": "sometimes"}"#).is_err());
    }
}
