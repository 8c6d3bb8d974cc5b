//! What keeps the tasks of a queue, or of one key of it, from being handed out although a worker is free.
//!
//! A permit is nothing that is kept anywhere: it is the running attempt itself, so it cannot leak. Attempts that may
//! still run after a change of owners count as running until the grace is over.

use crate::{
    rate::TokenBucket,
    types::{Dispatch, Millis, QueueRules},
};

/// Why a queue or a key of it is shut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Block {
    /// It is paused.
    Paused { since: Millis },
    /// As many attempts run as may.
    Concurrency { limit: u32 },
    /// No token is there.
    Rate { next: Millis },
}

/// A limit on attempts at a time and on attempts in a time, and whether it is reached.
#[derive(Debug, Clone, Default)]
pub(crate) struct Limit {
    rate: Option<TokenBucket>,
    /// Since when nothing may start; kept up to date by the engine, not by the limit.
    pub(crate) shut: Option<Millis>,
    /// When it opens by itself, if tasks wait for that.
    pub(crate) wake: Option<Millis>,
}

impl Limit {
    /// A limit whose token bucket is empty, or was at some moment.
    pub(crate) fn new(rate: Option<TokenBucket>) -> Self {
        Self { rate, shut: None, wake: None }
    }

    /// Sets another rate, which may have been there already.
    pub(crate) fn set_rate(&mut self, rate: Option<crate::types::Rate>, now: Millis) {
        match (&mut self.rate, rate) {
            (Some(bucket), Some(rate)) => bucket.change(rate, now),
            (bucket, rate) => *bucket = rate.map(|rate| TokenBucket::empty(rate, now)),
        }
    }

    /// Empties the token bucket: nobody knows what an earlier owner took.
    pub(crate) fn reset(&mut self, rate: Option<crate::types::Rate>, now: Millis) {
        self.rate = rate.map(|rate| TokenBucket::empty(rate, now));
    }

    /// Everything that keeps another attempt from starting beside `occupied` others, what lasts longest first.
    pub(crate) fn blocks(
        &self,
        dispatch: Dispatch,
        concurrency_max: Option<u32>,
        occupied: usize,
        now: Millis,
    ) -> impl Iterator<Item = Block> {
        let paused = match dispatch {
            Dispatch::Running => None,
            Dispatch::Paused { since } => Some(Block::Paused { since }),
        };
        let limit = concurrency_max.filter(|limit| occupied >= *limit as usize);
        let concurrency = limit.map(|limit| Block::Concurrency { limit });
        let rate = self.rate.and_then(|bucket| bucket.next(now)).map(|next| Block::Rate { next });
        [paused, concurrency, rate].into_iter().flatten()
    }

    /// Takes the token of an attempt that starts.
    pub(crate) fn spend(&mut self, now: Millis) {
        if let Some(bucket) = &mut self.rate {
            bucket.take(now);
        }
    }

    /// When the token bucket is as full as it gets; `None` without one.
    pub(crate) fn full_at(&self) -> Option<Millis> {
        self.rate.map(|bucket| bucket.full_at())
    }
}

/// The rules of a queue and how far they are used up.
#[derive(Debug, Clone)]
pub(crate) struct QueueLimits {
    pub(crate) rules: QueueRules,
    pub(crate) limit: Limit,
    /// The token buckets of keys that nothing is remembered of were empty then.
    pub(crate) keys_since: Millis,
}

impl QueueLimits {
    /// Limits that nothing is saved up under.
    pub(crate) fn new(rules: QueueRules, now: Millis) -> Self {
        let limit = Limit::new(rules.rate.map(|rate| TokenBucket::empty(rate, now)));
        Self { rules, limit, keys_since: now }
    }

    /// What keeps the queue as a whole shut.
    pub(crate) fn blocks(&self, occupied: usize, now: Millis) -> impl Iterator<Item = Block> {
        self.limit.blocks(self.rules.dispatch, self.rules.concurrency_max, occupied, now)
    }
}
