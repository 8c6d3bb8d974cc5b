//! What of a streamed request is kept, so that it can be sent a second time.

use std::{cell::Cell, rc::Rc};

use bytes::Bytes;

/// Room for kept bytes, of all calls of one data-plane thread.
#[derive(Debug)]
pub(crate) struct Room {
    left: Cell<usize>,
}

impl Room {
    /// Room for so many bytes.
    pub(crate) fn new(bytes: usize) -> Rc<Self> {
        Rc::new(Self { left: Cell::new(bytes) })
    }

    fn take(&self, bytes: usize) -> bool {
        let left = self.left.get().checked_sub(bytes);
        if let Some(left) = left {
            self.left.set(left);
        }
        left.is_some()
    }

    fn give(&self, bytes: usize) {
        self.left.set(self.left.get() + bytes);
    }
}

/// The frames of one request, from the first on, as long as there is room for all of them.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    /// Most requests have one frame: it needs no list.
    first: Option<Bytes>,
    more: Vec<Bytes>,
    bytes: usize,
    bytes_max: usize,
    /// `None` when nothing is kept: not yet, or not any more.
    room: Option<Rc<Room>>,
}

impl Kept {
    /// Keeps what comes from now on, up to so many bytes. Nothing may have come before.
    pub(crate) fn start(&mut self, bytes_max: usize, room: &Rc<Room>) {
        (self.bytes_max, self.room) = (bytes_max, Some(Rc::clone(room)));
    }

    /// True while every frame so far is kept.
    pub(crate) fn is_all(&self) -> bool {
        self.room.is_some()
    }

    /// Takes one more frame; when there is no room for it, all are let go.
    pub(crate) fn push(&mut self, frame: &Bytes) {
        let Some(room) = &self.room else {
            return;
        };
        if self.bytes + frame.len() > self.bytes_max || !room.take(frame.len()) {
            return self.release();
        }
        self.bytes += frame.len();
        match self.first {
            None => self.first = Some(frame.clone()),
            Some(_) => self.more.push(frame.clone()),
        }
    }

    /// Frame number `index`, from 0.
    pub(crate) fn get(&self, index: usize) -> Option<&Bytes> {
        match index {
            0 => self.first.as_ref(),
            index => self.more.get(index - 1),
        }
    }

    /// Keeps nothing any more.
    pub(crate) fn release(&mut self) {
        if let Some(room) = self.room.take() {
            room.give(self.bytes);
        }
        (self.first, self.more, self.bytes) = (None, Vec::new(), 0);
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(bytes_max: usize, room: &Rc<Room>) -> Kept {
        let mut kept = Kept::default();
        kept.start(bytes_max, room);
        kept
    }

    #[test]
    fn frames_are_kept_in_order_until_there_are_too_many() {
        let room = Room::new(100);
        let mut kept = kept(10, &room);
        for frame in [&b"abc"[..], b"de", b"fghij"] {
            kept.push(&Bytes::copy_from_slice(frame));
        }
        assert!(kept.is_all());
        assert_eq!(kept.get(0).unwrap(), "abc");
        assert_eq!((kept.get(2).unwrap(), kept.get(3)), (&Bytes::from_static(b"fghij"), None));
        kept.push(&Bytes::from_static(b"k"));
        assert!(!kept.is_all() && kept.get(0).is_none());
        assert_eq!(room.left.get(), 100);
    }

    #[test]
    fn all_calls_share_the_room_and_give_it_back() {
        let room = Room::new(5);
        let (mut one, mut two) = (kept(10, &room), kept(10, &room));
        one.push(&Bytes::from_static(b"abc"));
        two.push(&Bytes::from_static(b"abc"));
        assert!(one.is_all() && !two.is_all());
        drop(one);
        assert_eq!(room.left.get(), 5);
    }

    #[test]
    fn nothing_is_kept_unless_asked_for() {
        let mut kept = Kept::default();
        kept.push(&Bytes::from_static(b"abc"));
        assert!(!kept.is_all() && kept.get(0).is_none());
    }
}
