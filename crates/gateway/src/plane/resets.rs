//! Callers who begin calls only to give them up at once: each costs us a call and them a few bytes ("rapid reset").
//!
//! h2 itself limits calls that are reset before we have seen them; here are those that we have begun to serve. The rule is
//! Envoy's (`overload.premature_reset_total_stream_count`): more than so many, and most of the connection's calls.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;

/// A call that is given up this soon counts.
const SOON: Duration = Duration::from_secs(1);

/// How long calls are counted together.
const WINDOW: Duration = Duration::from_secs(30);

/// The rule. Pure.
#[derive(Debug)]
struct Tally {
    since: Instant,
    calls: u32,
    given_up: u32,
}

impl Tally {
    /// Counts a call's end; true when the connection is to be cut off.
    fn count(&mut self, given_up: bool, resets_max: u32, now: Instant) -> bool {
        if now.duration_since(self.since) >= WINDOW {
            *self = Self { since: now, calls: 0, given_up: 0 };
        }
        self.calls += 1;
        self.given_up += u32::from(given_up);
        self.given_up > resets_max && self.given_up > self.calls / 2
    }
}

/// The calls of one connection.
#[derive(Debug)]
pub(crate) struct Resets {
    tally: RefCell<Tally>,
    resets_max: u32,
    last_call: Cell<Instant>,
    abused: CancellationToken,
}

/// One call, from its head to the head of its answer.
#[derive(Debug)]
pub(crate) struct Begun {
    resets: Rc<Resets>,
    at: Instant,
    answered: bool,
}

impl Resets {
    /// A connection that may give up so many calls soon.
    pub(crate) fn new(resets_max: u32, now: Instant) -> Rc<Self> {
        let tally = RefCell::new(Tally { since: now, calls: 0, given_up: 0 });
        Rc::new(Self { tally, resets_max, last_call: Cell::new(now), abused: CancellationToken::new() })
    }

    /// A call begins.
    pub(crate) fn begin(self: &Rc<Self>, now: Instant) -> Begun {
        self.last_call.set(now);
        Begun { resets: Rc::clone(self), at: now, answered: false }
    }

    /// When the latest call began.
    pub(crate) fn last_call(&self) -> Instant {
        self.last_call.get()
    }

    /// Waits until there are too many.
    pub(crate) async fn abused(&self) {
        self.abused.cancelled().await;
    }
}

impl Begun {
    /// It has an answer.
    pub(crate) fn answered(mut self) {
        self.answered = true;
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        let now = Instant::now();
        let given_up = !self.answered && now.duration_since(self.at) < SOON;
        if self.resets.tally.borrow_mut().count(given_up, self.resets.resets_max, now) {
            self.resets.abused.cancel();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_given_up_calls_are_abuse_when_they_are_most() {
        let now = Instant::now();
        let mut tally = Tally { since: now, calls: 0, given_up: 0 };
        assert!((0..10).all(|_| !tally.count(true, 10, now)), "so many may be");
        assert!(tally.count(true, 10, now));
        let mut tally = Tally { since: now, calls: 0, given_up: 0 };
        assert!((0..100).all(|index| !tally.count(index % 3 == 0, 10, now)), "a third of them is usual for some");
        let mut tally = Tally { since: now, calls: 0, given_up: 0 };
        assert!((0..1_000).all(|index| !tally.count(true, 10, now + WINDOW / 10 * index)), "now and then is usual");
    }
}
