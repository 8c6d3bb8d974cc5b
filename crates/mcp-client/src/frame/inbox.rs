//! A bounded queue between the connection, which must not wait, and one reader.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use mcp_proto::Error;
use tokio::sync::Notify;

/// What happens to an item for which there is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Overflow {
    /// The oldest item goes, and is counted.
    DropOldest,
    /// It is not taken.
    Refuse,
}

/// The queue.
#[derive(Debug)]
pub(super) struct Inbox<T> {
    state: Mutex<State<T>>,
    changed: Notify,
    max: usize,
    overflow: Overflow,
}

/// What became of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pushed {
    /// It waits for the reader, or is nobody's.
    Taken,
    /// It was there before.
    Seen,
    /// There is no room for it.
    Full,
    /// It is not the next one: others before it were missed.
    Gap,
}

#[derive(Debug)]
struct State<T> {
    items: VecDeque<T>,
    /// Items that came until now.
    count: u64,
    end: Option<Result<(), Error>>,
    dropped: u64,
    is_abandoned: bool,
}

impl<T> State<T> {
    /// What is wrong with this being the next item.
    fn place(&self, number: Option<u64>) -> Option<Pushed> {
        match number {
            Some(number) if number <= self.count => Some(Pushed::Seen),
            Some(number) if number > self.count + 1 => Some(Pushed::Gap),
            Some(_) | None => None,
        }
    }
}

impl<T> Inbox<T> {
    /// An empty queue of at most `max` items.
    pub(super) fn new(max: usize, overflow: Overflow) -> Arc<Self> {
        let state = State { items: VecDeque::new(), count: 0, end: None, dropped: 0, is_abandoned: false };
        Arc::new(Self { state: Mutex::new(state), changed: Notify::new(), max: max.max(1), overflow })
    }

    /// Adds an item. `number`: which one it is, counted from 1, where that is known.
    pub(super) fn push(&self, item: T, number: Option<u64>) -> Pushed {
        let mut state = self.lock();
        if state.end.is_some() || state.is_abandoned {
            return Pushed::Taken;
        }
        if let Some(known) = state.place(number) {
            return known;
        }
        if state.items.len() >= self.max {
            if self.overflow == Overflow::Refuse {
                return Pushed::Full;
            }
            state.items.pop_front();
            state.dropped += 1;
        }
        state.items.push_back(item);
        state.count += 1;
        drop(state);
        self.changed.notify_one();
        Pushed::Taken
    }

    /// True when what has this number comes next, or nobody knows.
    pub(super) fn is_next(&self, number: Option<u64>) -> bool {
        self.lock().place(number).is_none()
    }

    /// Nothing more comes; the first end counts.
    pub(super) fn end(&self, end: Result<(), Error>) {
        self.lock().end.get_or_insert(end);
        self.changed.notify_one();
    }

    /// The next item; `None` at the end.
    ///
    /// # Errors
    /// The one that ended it, once.
    ///
    /// # Cancellation
    /// Nothing is lost.
    pub(super) async fn next(&self) -> Result<Option<T>, Error> {
        loop {
            {
                let mut state = self.lock();
                if let Some(item) = state.items.pop_front() {
                    return Ok(Some(item));
                }
                if let Some(end) = &mut state.end {
                    return std::mem::replace(end, Ok(())).map(|()| None);
                }
            }
            self.changed.notified().await;
        }
    }

    /// Items that were dropped for want of room.
    pub(super) fn dropped(&self) -> u64 {
        self.lock().dropped
    }

    /// The reader is gone.
    pub(super) fn abandon(&self) {
        self.lock().is_abandoned = true;
    }

    /// True when nobody reads any more.
    pub(super) fn is_abandoned(&self) -> bool {
        self.lock().is_abandoned
    }

    /// Nothing is left half done inside, so that a panic elsewhere does no harm.
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use mcp_proto::Code;

    use super::*;

    #[tokio::test]
    async fn the_oldest_goes_and_is_counted() {
        let inbox = Inbox::new(2, Overflow::DropOldest);
        assert!((1..=5).all(|item| inbox.push(item, None) == Pushed::Taken));
        inbox.end(Ok(()));
        assert_eq!(inbox.push(6, None), Pushed::Taken, "what comes after the end is nobody's");
        assert_eq!((inbox.next().await.unwrap(), inbox.next().await.unwrap()), (Some(4), Some(5)));
        assert_eq!((inbox.next().await.unwrap(), inbox.dropped()), (None, 3));
    }

    #[tokio::test]
    async fn an_error_comes_after_what_was_there_and_once() {
        let inbox = Inbox::new(1, Overflow::Refuse);
        assert_eq!([inbox.push(1, None), inbox.push(2, None)], [Pushed::Taken, Pushed::Full]);
        inbox.end(Err(Error::new(Code::Overloaded, "full")));
        inbox.end(Ok(()));
        assert_eq!(inbox.next().await.unwrap(), Some(1));
        assert_eq!(inbox.next().await.unwrap_err().code(), Code::Overloaded);
        assert_eq!(inbox.next().await.unwrap(), None);
    }

    #[tokio::test]
    async fn what_was_there_before_is_not_there_twice_and_a_gap_is_seen() {
        let inbox = Inbox::new(10, Overflow::Refuse);
        assert_eq!([inbox.push('a', None), inbox.push('b', None)], [Pushed::Taken; 2]);
        assert_eq!([inbox.push('a', Some(1)), inbox.push('b', Some(2))], [Pushed::Seen; 2]);
        assert_eq!([inbox.push('c', Some(3)), inbox.push('e', Some(5))], [Pushed::Taken, Pushed::Gap]);
        assert_eq!([3, 4, 5].map(|number| inbox.is_next(Some(number))), [false, true, false]);
        inbox.end(Ok(()));
        let mut items = Vec::new();
        while let Some(item) = inbox.next().await.unwrap() {
            items.push(item);
        }
        assert_eq!(items, ['a', 'b', 'c']);
    }
}
