//! The table of answers that are awaited: which connection each was asked on, and until when. No I/O, no clock.

use std::{
    collections::{BTreeSet, HashMap},
    num::NonZeroU32,
};

use tokio::time::Instant;

/// A connection; numbers are not used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LinkId(pub(super) u64);

/// Somebody who waits for an answer.
#[derive(Debug)]
struct Entry<T> {
    link: LinkId,
    deadline: Option<Instant>,
    waiter: T,
}

/// Awaited answers by sequence number.
#[derive(Debug)]
pub(super) struct Pending<T> {
    entries: HashMap<u32, Entry<T>>,
    deadlines: BTreeSet<(Instant, u32)>,
    next: NonZeroU32,
    max: usize,
}

impl<T> Pending<T> {
    /// A table of at most `max` entries.
    pub(super) fn new(max: usize) -> Self {
        Self { entries: HashMap::new(), deadlines: BTreeSet::new(), next: NonZeroU32::MIN, max: max.max(1) }
    }

    /// How many are awaited.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// True when nothing is.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// True when no more may be.
    pub(super) fn is_full(&self) -> bool {
        self.entries.len() >= self.max
    }

    /// Adds one under a number that is free, and never 0; gives the waiter back when the table is full.
    pub(super) fn insert(&mut self, link: LinkId, deadline: Option<Instant>, waiter: T) -> Result<u32, T> {
        if self.is_full() {
            return Err(waiter);
        }
        let sequence = loop {
            let sequence = self.next.get();
            self.next = self.next.checked_add(1).unwrap_or(NonZeroU32::MIN);
            // The table is smaller than the range of numbers, so that one is free.
            if !self.entries.contains_key(&sequence) {
                break sequence;
            }
        };
        if let Some(deadline) = deadline {
            self.deadlines.insert((deadline, sequence));
        }
        self.entries.insert(sequence, Entry { link, deadline, waiter });
        Ok(sequence)
    }

    /// Who waits for an answer of this number from this connection.
    pub(super) fn get(&self, link: LinkId, sequence: u32) -> Option<&T> {
        self.entries.get(&sequence).filter(|entry| entry.link == link).map(|entry| &entry.waiter)
    }

    /// Takes one out.
    pub(super) fn remove(&mut self, sequence: u32) -> Option<T> {
        let entry = self.entries.remove(&sequence)?;
        if let Some(deadline) = entry.deadline {
            self.deadlines.remove(&(deadline, sequence));
        }
        Some(entry.waiter)
    }

    /// When the next deadline passes.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// Takes one out whose deadline has passed.
    pub(super) fn expire(&mut self, now: Instant) -> Option<(u32, T)> {
        let &(deadline, sequence) = self.deadlines.first()?;
        if deadline > now {
            return None;
        }
        self.remove(sequence).map(|waiter| (sequence, waiter))
    }

    /// The numbers that were asked on a connection, the oldest first as long as numbers do not wrap.
    pub(super) fn asked_on(&self, link: LinkId) -> Vec<u32> {
        let asked = self.entries.iter().filter(|(_, entry)| entry.link == link);
        let mut sequences: Vec<u32> = asked.map(|(sequence, _)| *sequence).collect();
        sequences.sort_unstable();
        sequences
    }

    /// True when something asked on this connection is awaited.
    pub(super) fn awaits(&self, link: LinkId) -> bool {
        self.entries.values().any(|entry| entry.link == link)
    }

    /// The answer comes by another connection now.
    pub(super) fn relink(&mut self, sequence: u32, link: LinkId) {
        if let Some(entry) = self.entries.get_mut(&sequence) {
            entry.link = link;
        }
    }

    /// The numbers whose waiters fulfil a condition.
    pub(super) fn matching(&self, condition: impl Fn(&T) -> bool) -> Vec<u32> {
        let matching = self.entries.iter().filter(|(_, entry)| condition(&entry.waiter));
        matching.map(|(sequence, _)| *sequence).collect()
    }

    /// Takes all out.
    pub(super) fn drain(&mut self) -> Vec<T> {
        self.deadlines.clear();
        self.entries.drain().map(|(_, entry)| entry.waiter).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const LINK: LinkId = LinkId(1);
    const OTHER: LinkId = LinkId(2);

    #[tokio::test(start_paused = true)]
    async fn deadlines_pass_in_their_order_and_only_then() {
        let start = Instant::now();
        let mut pending = Pending::new(10);
        for (waiter, after) in [("late", Some(30)), ("never", None), ("early", Some(10)), ("answered", Some(5))] {
            let deadline = after.map(|millis| start + Duration::from_millis(millis));
            pending.insert(LINK, deadline, waiter).unwrap();
        }
        assert_eq!(pending.remove(4), Some("answered"));
        assert_eq!(pending.next_deadline(), Some(start + Duration::from_millis(10)));
        assert_eq!(pending.expire(Instant::now()), None);
        tokio::time::advance(Duration::from_millis(10)).await;
        assert_eq!(pending.expire(Instant::now()), Some((3, "early")));
        assert_eq!(pending.expire(Instant::now()), None);
        tokio::time::advance(Duration::from_secs(3600)).await;
        assert_eq!(pending.expire(Instant::now()), Some((1, "late")));
        assert_eq!((pending.expire(Instant::now()), pending.next_deadline(), pending.len()), (None, None, 1));
    }

    #[test]
    fn an_answer_from_another_connection_is_nobodys() {
        let mut pending = Pending::new(10);
        let sequence = pending.insert(LINK, None, "a").unwrap();
        assert_eq!((pending.get(LINK, sequence), pending.get(OTHER, sequence)), (Some(&"a"), None));
        pending.relink(sequence, OTHER);
        assert_eq!((pending.get(LINK, sequence), pending.get(OTHER, sequence)), (None, Some(&"a")));
        assert_eq!((pending.asked_on(LINK), pending.asked_on(OTHER)), (vec![], vec![sequence]));
        assert!(pending.awaits(OTHER) && !pending.awaits(LINK));
    }

    #[test]
    fn the_table_is_bounded() {
        let mut pending = Pending::new(2);
        assert_eq!((pending.insert(LINK, None, 1), pending.insert(LINK, None, 2)), (Ok(1), Ok(2)));
        assert_eq!((pending.is_full(), pending.insert(LINK, None, 3)), (true, Err(3)));
        pending.remove(1);
        assert_eq!(pending.insert(LINK, None, 3), Ok(3));
        assert_eq!(pending.drain().len(), 2);
        assert!(pending.is_empty());
    }

    #[test]
    fn numbers_wrap_around_those_in_use_and_zero() {
        let mut pending = Pending::new(10);
        assert_eq!(pending.insert(LINK, None, ()), Ok(1));
        pending.next = NonZeroU32::MAX;
        assert_eq!(pending.insert(LINK, None, ()), Ok(u32::MAX));
        assert_eq!(pending.insert(LINK, None, ()), Ok(2));
    }
}
