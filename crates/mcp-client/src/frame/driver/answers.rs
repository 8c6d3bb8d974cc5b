//! What comes from a server, and who gets it.

use mcp_proto::{
    Code, Error,
    frame::{Frame, Kind, Metadata, parse_error},
};
use tracing::{debug, info};

use super::{Driver, Place};
use crate::frame::{
    inbox::Pushed,
    pending::LinkId,
    request::FrameResponse,
    stream::FrameEvent,
    waiter::{Asked, Waiter},
};

/// Metadata of an event: how many before it the server dropped.
const MISSED: &str = "dropped";

impl Driver {
    pub(super) fn frame(&mut self, place: Place, id: LinkId, frame: Frame) {
        match frame.kind {
            Kind::Response | Kind::Pong | Kind::Error if frame.sequence != 0 => self.answer(place, id, frame),
            Kind::Ping => {
                let pong = Frame::reply_to(&frame, Kind::Pong, frame.body.clone());
                if let Some(link) = self.link(place) {
                    // As small as the ping was.
                    link.send(&pong).unwrap_or_default();
                }
            }
            Kind::Event => self.event(place, frame),
            Kind::GoAway => {
                info!(error = %parse_error(&frame), "the server sends us away");
                if let Place::Lane(lane) = place {
                    self.leave(lane);
                }
            }
            Kind::Error => debug!(error = %parse_error(&frame), "the server could not read what was sent"),
            kind => debug!(%kind, sequence = frame.sequence, "a frame that needs nothing"),
        }
    }

    fn answer(&mut self, place: Place, id: LinkId, frame: Frame) {
        let sequence = frame.sequence;
        let Some(asked) = self.pending.get(id, sequence) else {
            if frame.has_more() && number(&frame).is_some() {
                // Of a stream whose end was lost with the connection before.
                return self.unsubscribe(place, sequence);
            }
            // Answered before, or nobody waited any more.
            return debug!(sequence, kind = %frame.kind, "an answer that nobody awaits");
        };
        if let Waiter::Stream(inbox) = &asked.waiter
            && frame.kind == Kind::Response
            && frame.has_more()
        {
            let inbox = std::sync::Arc::clone(inbox);
            let number = number(&frame);
            let taken = FrameResponse::of(frame, self.plan.payload_bytes_max)
                .and_then(|response| check(inbox.push(response, number)));
            let Err(error) = taken else { return };
            inbox.end(Err(error));
            self.pending.remove(sequence);
            return self.unsubscribe(place, sequence);
        }
        if let Some(asked) = self.pending.remove(sequence) {
            self.last_answer(place, asked, frame);
        }
    }

    fn last_answer(&mut self, place: Place, asked: Asked, frame: Frame) {
        let (sequence, number) = (frame.sequence, number(&frame));
        let result = match frame.kind {
            Kind::Error => Err(parse_error(&frame)),
            _ => FrameResponse::of(frame, self.plan.payload_bytes_max),
        };
        match (asked.waiter, result) {
            // Who does not wait any more needs no answer.
            (Waiter::Once(answer), result) => drop(answer.send(result)),
            (Waiter::Stream(inbox), Ok(last)) => {
                // The end of a stream has no body, unless it is its last answer, too.
                let end = match last.body.is_empty() {
                    true if inbox.is_next(number) => Ok(()),
                    true => Err(missed()),
                    false => check(inbox.push(last, number)),
                };
                inbox.end(end);
            }
            (Waiter::Subscription { pattern, reader }, Ok(_)) => {
                let (events, made) = reader.unzip();
                if let Some(second) = self.topics.confirm(&pattern, sequence, events) {
                    self.unsubscribe(place, second);
                }
                if made.is_some_and(|made| made.send(Ok(())).is_err()) {
                    // Its caller gave up meanwhile.
                    self.sweep();
                }
            }
            (Waiter::Subscription { pattern, reader: None }, Err(error)) => {
                info!(pattern, %error, "a subscription could not be made again");
                for events in self.topics.remove(&pattern) {
                    events.end(Err(error.clone()));
                }
            }
            (waiter, Err(error)) => waiter.fail(error),
        }
    }

    fn event(&mut self, place: Place, frame: Frame) {
        if place != self.lanes.active().map_or(place, Place::Lane) {
            return debug!("an event of a session that is not the active one");
        }
        let sequence = frame.sequence;
        let (topic, missed) = match frame.metadata() {
            Ok(metadata) => {
                let missed = metadata.get(MISSED).and_then(|count| count.parse().ok()).unwrap_or(0);
                (metadata.get(Metadata::TOPIC).unwrap_or_default().to_owned(), missed)
            }
            Err(error) => return debug!(%error, "an event without a topic"),
        };
        match FrameResponse::of(frame, self.plan.payload_bytes_max) {
            Ok(FrameResponse { codec, body, .. }) => {
                for reader in self.topics.readers_of(sequence, &topic) {
                    // A full queue drops its oldest event.
                    reader.push(FrameEvent { topic: topic.clone(), codec, body: body.clone(), missed }, None);
                }
            }
            Err(error) => debug!(%error, topic, "an event that cannot be read"),
        }
    }

    /// Ends a subscription or a stream at the server; its answer is nobody's.
    pub(super) fn unsubscribe(&mut self, place: Place, sequence: u32) {
        if let Some(link) = self.link(place) {
            // Small enough for every limit.
            link.send(&Frame::new(Kind::Unsubscribe, sequence)).unwrap_or_default();
        }
    }
}

/// Which answer of its stream a frame is, counted from 1. A server says so when the client may have seen it.
fn number(frame: &Frame) -> Option<u64> {
    if frame.metadata.is_empty() {
        return None;
    }
    frame.metadata().ok()?.get(Metadata::ANSWER)?.parse().ok()
}

fn check(pushed: Pushed) -> Result<(), Error> {
    match pushed {
        Pushed::Taken | Pushed::Seen => Ok(()),
        Pushed::Full => Err(too_slow()),
        Pushed::Gap => Err(missed()),
    }
}

fn missed() -> Error {
    Error::new(Code::OutcomeUnknown, "the connection broke, and answers of the stream were missed")
}

fn too_slow() -> Error {
    Error::new(Code::Overloaded, "the stream was read too slowly: too many answers wait")
}
