//! Calls of connections that are gone, which go on where they began. Their answers come to the connection that their client
//! came back with, and whoever comes back once more takes them along.

use std::task::{Context, Poll, ready};

use mcp_proto::frame::{Frame, Kind};
use tokio::sync::mpsc;

/// Those of one connection.
#[derive(Debug)]
pub(crate) struct Legacy {
    answers: mpsc::Receiver<Frame>,
    ends: mpsc::Sender<u32>,
    /// Streaming calls that go on.
    streams: Vec<u32>,
    /// Those that their client has ended: what still comes of them is nobody's.
    ended: Vec<u32>,
}

/// All that a session has inherited.
#[derive(Debug, Default)]
pub(crate) struct Legacies(Vec<Legacy>);

/// What comes of them.
#[derive(Debug)]
pub(crate) enum Come {
    /// An answer, and whether a streaming call has ended with it.
    Answer(Frame, bool),
    /// So many streaming calls are over without one.
    Over(usize),
}

impl Legacy {
    /// Of a connection whose streaming calls have these numbers. Those that are to end are told by `ends`.
    pub(crate) fn new(answers: mpsc::Receiver<Frame>, ends: mpsc::Sender<u32>, streams: Vec<u32>) -> Self {
        Self { answers, ends, streams, ended: Vec::new() }
    }

    /// True when this is an answer of a streaming call, and its last.
    fn ends_with(&mut self, frame: &Frame) -> bool {
        let is_last = frame.kind == Kind::Error || !frame.has_more();
        let known = self.streams.iter().position(|number| *number == frame.sequence).filter(|_| is_last);
        known.map(|at| self.streams.swap_remove(at)).is_some()
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Frame>> {
        loop {
            let frame = ready!(self.answers.poll_recv(cx));
            if frame.as_ref().is_none_or(|frame| !self.ended.contains(&frame.sequence)) {
                return Poll::Ready(frame);
            }
        }
    }
}

impl Legacies {
    /// Adds those that a session leaves; how many streaming calls are among them.
    pub(crate) fn add(&mut self, legacies: Vec<Legacy>) -> usize {
        let count = legacies.iter().map(|legacy| legacy.streams.len()).sum();
        self.0.extend(legacies);
        count
    }

    /// True when none goes on.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes all out, for the next heir.
    pub(crate) fn take(&mut self) -> Vec<Legacy> {
        std::mem::take(&mut self.0)
    }

    /// What comes next, of each connection in its turn. Pending also when there is none.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Come> {
        for _ in 0..self.0.len() {
            self.0.rotate_left(1);
            let Some(legacy) = self.0.last_mut() else { break };
            match legacy.poll(cx) {
                Poll::Ready(Some(frame)) => {
                    let ends = legacy.ends_with(&frame);
                    return Poll::Ready(Come::Answer(frame, ends));
                }
                Poll::Ready(None) => {
                    let over = self.0.pop().map_or(0, |legacy| legacy.streams.len());
                    return Poll::Ready(Come::Over(over));
                }
                Poll::Pending => {}
            }
        }
        Poll::Pending
    }

    /// Ends the streaming call of this number; `false` when there is none.
    pub(crate) fn end(&mut self, number: u32) -> bool {
        for legacy in &mut self.0 {
            let Some(at) = legacy.streams.iter().position(|known| *known == number) else { continue };
            legacy.streams.swap_remove(at);
            legacy.ended.push(number);
            // There is room for each of its streams once; and one that is gone has ended.
            legacy.ends.try_send(number).unwrap_or_default();
            return true;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use futures_util::task::noop_waker;
    use mcp_proto::frame::Flags;

    use super::*;

    fn legacy(streams: &[u32]) -> (mpsc::Sender<Frame>, mpsc::Receiver<u32>, Legacy) {
        let (answer, answers) = mpsc::channel(10);
        let (ends, ended) = mpsc::channel(10);
        (answer, ended, Legacy::new(answers, ends, streams.to_vec()))
    }

    fn answer(sequence: u32, has_more: bool) -> Frame {
        let frame = Frame::new(Kind::Response, sequence);
        if has_more { frame.with_flags(Flags::MORE) } else { frame }
    }

    /// What is there: numbers, and whether a stream ended; 0 for one that is over without an answer.
    fn all(legacies: &mut Legacies) -> Vec<(u32, bool)> {
        let waker = noop_waker();
        let mut cx = Context::from_waker(&waker);
        let mut seen = Vec::new();
        while let Poll::Ready(come) = legacies.poll(&mut cx) {
            match come {
                Come::Answer(frame, ends) => seen.push((frame.sequence, ends)),
                Come::Over(count) => seen.extend((0..count).map(|_| (0, true))),
            }
        }
        seen
    }

    #[test]
    fn connections_take_turns_and_each_stream_ends_once() {
        let (one, _ended, first) = legacy(&[1, 2]);
        let (two, _other, second) = legacy(&[7]);
        let mut legacies = Legacies::default();
        assert_eq!(legacies.add(vec![first, second]), 3);
        for (send, frame) in [(&one, answer(1, true)), (&one, answer(5, false)), (&one, answer(1, false))] {
            send.try_send(frame).unwrap();
        }
        two.try_send(Frame::new(Kind::Error, 7)).unwrap();
        assert_eq!(all(&mut legacies), [(1, false), (7, true), (5, false), (1, true)]);
        drop(two);
        assert!(all(&mut legacies).is_empty());
        drop(one);
        assert_eq!(all(&mut legacies), [(0, true)], "2 was not told of");
        assert!(legacies.is_empty());
    }

    #[test]
    fn a_stream_that_its_client_ends_is_heard_of_no_more() {
        let (send, mut ended, only) = legacy(&[1, 2]);
        let mut legacies = Legacies::default();
        legacies.add(vec![only]);
        for sequence in [1, 2, 1] {
            send.try_send(answer(sequence, true)).unwrap();
        }
        assert_eq!([legacies.end(1), legacies.end(1), legacies.end(9)], [true, false, false]);
        assert_eq!(ended.try_recv(), Ok(1));
        assert_eq!(all(&mut legacies), [(2, false)]);
    }
}
