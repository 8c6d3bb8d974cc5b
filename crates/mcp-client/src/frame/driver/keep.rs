//! Connections that come, go and are left; answers and subscriptions that outlive them; time.

use mcp_proto::{
    Code, Error,
    frame::{Frame, Kind},
};
use tokio::time::Instant;
use tracing::{debug, warn};

use super::{Driver, LEAVING_MAX, Orphans, Place};
use crate::frame::{
    lanes::LaneId,
    pending::LinkId,
    topics::subscribe_frame,
    waiter::{Asked, Waiter},
};

impl Driver {
    /// A connection is over.
    pub(super) fn lost(&mut self, place: Place, cause: &str) {
        let lane = match place {
            Place::Lane(lane) => lane,
            Place::Leaving(at) => {
                let link = self.leaving.swap_remove(at);
                return self.unanswered(link.id);
            }
        };
        let Some(link) = self.links[lane].take() else { return };
        warn!(lane, session = link.session, cause, "connection lost");
        self.forget_repeated_subscriptions(link.id);
        let now = Instant::now();
        let next = self.lanes.lost(lane, now, rand::random());
        if self.lanes.active().is_some() {
            self.send_again(link.id);
        }
        if self.pending.awaits(link.id) {
            self.orphans[lane] = Some(Orphans { link: link.id, until: now + self.conduct.resume_max });
        } else if next.is_some() {
            self.lanes.forget(lane);
        }
        if next.is_some() {
            self.subscribe_again();
        }
    }

    /// The server asked to leave, or the connection is of no more use: what is under way ends on it, the rest goes
    /// elsewhere.
    pub(super) fn leave(&mut self, lane: LaneId) {
        let Some(link) = self.links[lane].take() else { return };
        self.forget_repeated_subscriptions(link.id);
        let next = self.lanes.left(lane, Instant::now(), rand::random());
        if self.leaving.len() >= LEAVING_MAX {
            let oldest = self.leaving.remove(0);
            self.unanswered(oldest.id);
        }
        self.leaving.push(link);
        self.end_left();
        if next.is_some() {
            self.subscribe_again();
        }
    }

    /// Closes connections that were left and have nothing more to bring.
    pub(super) fn end_left(&mut self) {
        let pending = &self.pending;
        self.leaving.retain(|link| pending.awaits(link.id) || link.unwritten() > 0);
    }

    /// A lane is connected again: the answers of its last connection come by this one, or not at all.
    pub(super) fn settle(&mut self, lane: LaneId, new: LinkId, is_resumed: bool) {
        let Some(orphans) = self.orphans[lane].take() else { return };
        if !is_resumed {
            return self.unanswered(orphans.link);
        }
        for sequence in self.pending.asked_on(orphans.link) {
            self.pending.relink(sequence, new);
        }
    }

    /// No answers come from a connection any more.
    fn unanswered(&mut self, link: LinkId) {
        if self.lanes.active().is_some() {
            self.send_again(link);
        }
        for sequence in self.pending.asked_on(link) {
            if let Some(asked) = self.pending.remove(sequence) {
                asked.waiter.fail(Error::new(Code::OutcomeUnknown, "the connection broke before the answer came"));
            }
        }
    }

    /// Asks again, by the active connection, what may be asked twice.
    fn send_again(&mut self, old: LinkId) {
        let Some(new) = self.active().map(|link| link.id) else { return };
        for sequence in self.pending.asked_on(old) {
            let again = self.pending.get(old, sequence).and_then(|asked| asked.again.clone());
            if let Some(frame) = again {
                self.pending.relink(sequence, new);
                let frame = Frame { sequence, ..frame };
                if let Some(link) = self.active() {
                    // It was small enough for the first connection.
                    link.send(&frame).unwrap_or_default();
                }
            }
        }
    }

    /// Subscriptions that were being made again will be made again from the start.
    fn forget_repeated_subscriptions(&mut self, link: LinkId) {
        for sequence in self.pending.asked_on(link) {
            let asked = self.pending.get(link, sequence).map(|asked| &asked.waiter);
            if matches!(asked, Some(Waiter::Subscription { reader: None, .. })) {
                self.pending.remove(sequence);
            }
        }
    }

    /// Makes all subscriptions on the active connection, whose session is new.
    pub(super) fn subscribe_again(&mut self) {
        let deadline = Instant::now() + self.plan.connect_max;
        for pattern in self.topics.patterns() {
            let Some(link) = self.active().map(|link| link.id) else { return };
            let waiter = Waiter::Subscription { pattern: pattern.clone(), reader: None };
            match self.pending.insert(link, Some(deadline), Asked { waiter, again: None }) {
                Ok(sequence) => {
                    self.topics.renumber(&pattern, sequence);
                    let frame = Frame { sequence, ..subscribe_frame(&pattern) };
                    if let Some(link) = self.active() {
                        // It was small enough for the first session.
                        link.send(&frame).unwrap_or_default();
                    }
                }
                Err(_) => self.end_subscription(&pattern, Error::new(Code::Overloaded, "too many answers are awaited")),
            }
        }
    }

    fn end_subscription(&mut self, pattern: &str, error: Error) {
        for events in self.topics.remove(pattern) {
            events.end(Err(error.clone()));
        }
    }

    /// Ends what nobody reads any more.
    pub(super) fn sweep(&mut self) {
        let mut ended: Vec<u32> = self.topics.sweep().into_iter().map(|(_, sequence)| sequence).collect();
        let is_abandoned = |asked: &Asked| matches!(&asked.waiter, Waiter::Stream(inbox) if inbox.is_abandoned());
        for sequence in self.pending.matching(is_abandoned) {
            self.pending.remove(sequence);
            ended.push(sequence);
        }
        ended.into_iter().for_each(|sequence| self.end_at_server(sequence));
    }

    /// Ends a subscription or a stream at the server. Without a connection it is ended by the next one, if that goes on with
    /// the session.
    fn end_at_server(&mut self, sequence: u32) {
        match self.lanes.active() {
            Some(lane) => self.unsubscribe(Place::Lane(lane), sequence),
            // No more than were open when the connection broke.
            None => self.unended.push(sequence),
        }
    }

    /// There is a connection again.
    pub(super) fn end_what_was_left(&mut self, lane: LaneId, is_resumed: bool) {
        for sequence in std::mem::take(&mut self.unended).into_iter().filter(|_| is_resumed) {
            self.unsubscribe(Place::Lane(lane), sequence);
        }
    }

    /// Streams and subscriptions end at once when the client is closed; calls are finished.
    pub(super) fn end_streams(&mut self) {
        for events in self.topics.drain() {
            events.end(Ok(()));
        }
        let has_no_end = |asked: &Asked| matches!(asked.waiter, Waiter::Stream(_) | Waiter::Subscription { .. });
        for sequence in self.pending.matching(has_no_end) {
            if let Some(asked) = self.pending.remove(sequence) {
                asked.waiter.fail(Error::new(Code::Cancelled, "the client was closed"));
            }
        }
    }

    /// Time has passed.
    pub(super) fn tick(&mut self) {
        let now = Instant::now();
        while let Some((sequence, asked)) = self.pending.expire(now) {
            debug!(sequence, "no answer in time");
            let is_stream = matches!(asked.waiter, Waiter::Stream(_));
            match asked.waiter {
                Waiter::Subscription { pattern, reader: None } => self.end_subscription(&pattern, late()),
                waiter => waiter.fail(late()),
            }
            if is_stream {
                self.end_at_server(sequence);
            }
        }
        for lane in 0..self.links.len() {
            if self.orphans[lane].is_some_and(|orphans| now >= orphans.until)
                && let Some(orphans) = self.orphans[lane].take()
            {
                self.lanes.forget(lane);
                self.unanswered(orphans.link);
            }
            self.check(Place::Lane(lane), now);
        }
        for at in (0..self.leaving.len()).rev() {
            self.check(Place::Leaving(at), now);
        }
        self.end_left();
    }

    /// Pings a silent connection, and ends one that has been silent for too long.
    fn check(&mut self, place: Place, now: Instant) {
        let Some(link) = self.link(place) else { return };
        if link.is_lost(now) {
            return self.lost(place, "the server is silent");
        }
        if link.wants_ping(now) {
            link.is_pinged = true;
            // Small enough for every limit.
            link.send(&Frame::new(Kind::Ping, 0)).unwrap_or_default();
        }
    }
}

fn late() -> Error {
    Error::new(Code::DeadlineExceeded, "no answer in time")
}
