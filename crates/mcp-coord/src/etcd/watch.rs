//! Watches on etcd that never end and never go stale unnoticed.
//!
//! A watch lists its prefix, then follows the changes after that revision. A broken stream is resumed where it stopped.
//! It lists again, with a new snapshot, when changes may have been missed: the revision was compacted, the store
//! went back in time, resuming fails again and again, or the stream is silent although the keys have changed.
//!
//! Silence is not proof: a stream may be cut off on the server's side, and progress notifications of etcd before 3.4.25
//! and 3.5.8 promise revisions that are still to come. So a watch compares a linearizable summary of the prefix (newest
//! write, number of keys) with what it has seen, from time to time.

use std::{
    collections::{HashSet, VecDeque},
    mem,
    sync::Arc,
    time::Duration,
};

use etcd_client::{EventType, WatchOptions, WatchResponse};
use futures_util::stream;
use tokio::time::{Instant, sleep, sleep_until};

use super::{
    link::{Failure, Link},
    read::{self, ANSWER_BYTES_MAX, Summary},
};
use crate::{
    backoff::{Backoff, jittered},
    model::{Change, Revision, WatchStream},
};

/// Pauses between attempts to reach etcd.
const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(3);
/// How often a quiet stream is checked, less jitter; and the first time after it was opened.
const CHECK_INTERVAL: Duration = Duration::from_secs(15);
const CHECK_FIRST: Duration = Duration::from_secs(1);
/// How soon a stream that seems to lag is checked again.
const CHECK_AGAIN: Duration = Duration::from_secs(1);
/// After this many checks in a row that found it behind, without any event in between, a stream is given up.
const CHECKS_BEHIND_MAX: u32 = 3;
/// After this many streams in a row that ended without any event, the prefix is listed again.
const RESUMES_MAX: u32 = 3;

struct Watcher {
    link: Arc<Link>,
    prefix: String,
    phase: Phase,
    queue: VecDeque<Change>,
    /// All changes up to this revision are in the queue or were in it.
    seen: i64,
    /// The keys that are there after those changes.
    keys: HashSet<String>,
    backoff: Backoff,
    resumes: u32,
}

enum Phase {
    List,
    Subscribe,
    Follow(Box<Following>),
}

struct Following {
    stream: etcd_client::WatchStream,
    check_at: Instant,
    checks_behind: u32,
}

/// What a check says about a stream.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Fresh,
    Behind,
    /// The store has lost revisions that were seen.
    WentBack,
}

/// A watch of all keys that start with `prefix`.
pub(super) fn stream(link: Arc<Link>, prefix: String) -> WatchStream {
    let watcher = Watcher::new(link, prefix);
    Box::pin(stream::unfold(watcher, |mut watcher| async move { Some((watcher.next().await, watcher)) }))
}

impl Watcher {
    fn new(link: Arc<Link>, prefix: String) -> Self {
        Self {
            link,
            prefix,
            phase: Phase::List,
            queue: VecDeque::new(),
            seen: 0,
            keys: HashSet::new(),
            backoff: Backoff::new(PAUSE_FIRST, PAUSE_MAX),
            resumes: 0,
        }
    }

    async fn next(&mut self) -> Change {
        loop {
            if let Some(change) = self.queue.pop_front() {
                return change;
            }
            self.phase = match mem::replace(&mut self.phase, Phase::List) {
                Phase::List => self.list().await,
                Phase::Subscribe => self.subscribe().await,
                Phase::Follow(following) => self.follow(following).await,
            };
        }
    }

    async fn list(&mut self) -> Phase {
        match read::range(&self.link, &self.prefix).await {
            Ok(snapshot) => {
                self.seen = snapshot.revision.0;
                self.keys = snapshot.entries.iter().map(|entry| entry.key.clone()).collect();
                self.resumes = 0;
                self.queue.push_back(Change::Snapshot(snapshot));
                Phase::Subscribe
            }
            Err(failure) => {
                self.pause("list", &failure).await;
                Phase::List
            }
        }
    }

    async fn subscribe(&mut self) -> Phase {
        let options = WatchOptions::new().with_range(read::range_end(&self.prefix)).with_start_revision(self.seen + 1);
        let start = if self.prefix.is_empty() { vec![0] } else { self.prefix.as_bytes().to_vec() };
        let opened = self
            .link
            .call(|client| async move {
                client.watch_client().max_decoding_message_size(ANSWER_BYTES_MAX).watch(start, Some(options)).await
            })
            .await;
        match opened {
            Ok(stream) => {
                let check_at = Instant::now() + jittered(CHECK_FIRST);
                Phase::Follow(Box::new(Following { stream, check_at, checks_behind: 0 }))
            }
            Err(failure) => {
                self.pause("subscribe", &failure).await;
                Phase::Subscribe
            }
        }
    }

    async fn follow(&mut self, mut following: Box<Following>) -> Phase {
        tokio::select! {
            message = following.stream.message() => match message {
                Ok(Some(answer)) if answer.canceled() => self.cancelled(&answer).await,
                Ok(Some(answer)) => {
                    if !answer.events().is_empty() {
                        following.checks_behind = 0;
                        self.take(&answer);
                    }
                    Phase::Follow(following)
                }
                Ok(None) => self.broken(&Failure::Unavailable("the stream ended".to_owned())).await,
                Err(error) => self.broken(&Failure::from(error)).await,
            },
            () = sleep_until(following.check_at) => self.check(following).await,
        }
    }

    /// Queues the changes of one answer. All changes of one revision come in one answer.
    fn take(&mut self, answer: &WatchResponse) {
        let mut newest = self.seen;
        for event in answer.events() {
            let Some(entry) = event.kv() else { continue };
            let entry = read::key_value(entry.clone());
            let revision = entry.modified;
            if revision.0 <= self.seen {
                continue; // sent twice
            }
            newest = newest.max(revision.0);
            self.queue.push_back(match event.event_type() {
                EventType::Put => {
                    self.keys.insert(entry.key.clone());
                    Change::Put(entry)
                }
                EventType::Delete => {
                    self.keys.remove(&entry.key);
                    Change::Delete { key: entry.key, revision: Revision(revision.0) }
                }
            });
        }
        self.seen = newest;
        self.resumes = 0;
        self.backoff.reset();
    }

    async fn cancelled(&mut self, answer: &WatchResponse) -> Phase {
        if answer.compact_revision() > self.seen {
            tracing::info!(prefix = self.prefix, seen = self.seen, "watched revision was compacted, listing again");
            return Phase::List;
        }
        self.broken(&Failure::Unavailable(format!("cancelled by etcd: {}", answer.cancel_reason()))).await
    }

    async fn broken(&mut self, failure: &Failure) -> Phase {
        self.resumes += 1;
        self.pause("watch", failure).await;
        if self.resumes > RESUMES_MAX { Phase::List } else { Phase::Subscribe }
    }

    async fn pause(&mut self, step: &'static str, failure: &Failure) {
        let pause = self.backoff.pause();
        tracing::warn!(prefix = self.prefix, step, ?failure, ?pause, "watch interrupted");
        sleep(pause).await;
    }

    async fn check(&mut self, mut following: Box<Following>) -> Phase {
        let summary = match read::summary(&self.link, &self.prefix).await {
            Ok(summary) => summary,
            Err(failure) => {
                tracing::debug!(prefix = self.prefix, ?failure, "freshness of a watch is not known");
                following.check_at = Instant::now() + jittered(CHECK_INTERVAL);
                return Phase::Follow(following);
            }
        };
        let verdict = verdict(summary, self.seen, self.keys.len());
        following.checks_behind = if verdict == Verdict::Behind { following.checks_behind + 1 } else { 0 };
        if verdict == Verdict::WentBack || following.checks_behind >= CHECKS_BEHIND_MAX {
            tracing::warn!(prefix = self.prefix, seen = self.seen, ?verdict, ?summary, "watch is stale, listing again");
            self.link.renew().await;
            return Phase::List;
        }
        let wait = match verdict {
            Verdict::Behind => CHECK_AGAIN,
            Verdict::Fresh | Verdict::WentBack => {
                self.backoff.reset();
                CHECK_INTERVAL
            }
        };
        following.check_at = Instant::now() + jittered(wait);
        Phase::Follow(following)
    }
}

/// Every missed write of a key that is still there is newer than all that was seen; a missed removal makes the count
/// differ. A summary that is newer than the stream looks the same as a stale stream, hence the repeated checks.
fn verdict(summary: Summary, seen: i64, keys: usize) -> Verdict {
    if summary.revision < seen {
        Verdict::WentBack
    } else if summary.modified > seen || usize::try_from(summary.count) != Ok(keys) {
        Verdict::Behind
    } else {
        Verdict::Fresh
    }
}

#[cfg(test)]
mod tests;
