//! What is subscribed to, and who gets an event. No I/O.

use std::{collections::BTreeMap, sync::Arc};

use mcp_proto::frame::{BodyCodec, Frame, Kind};
use serde_json::json;

use super::{inbox::Inbox, stream::FrameEvent};

/// The queue of one subscription.
pub(super) type Events = Arc<Inbox<FrameEvent>>;

/// Who reads a pattern, and the number that the server knows the subscription by.
#[derive(Debug)]
struct Entry {
    sequence: u32,
    readers: Vec<Events>,
}

/// All subscriptions of a client, by pattern. Readers of the same pattern share one at the server.
#[derive(Debug, Default)]
pub(super) struct Topics {
    entries: BTreeMap<String, Entry>,
}

impl Topics {
    /// Adds a reader to a pattern that the server knows already; `false`: it does not yet.
    pub(super) fn join(&mut self, pattern: &str, reader: &Events) -> bool {
        let entry = self.entries.get_mut(pattern);
        entry.map(|entry| entry.readers.push(Arc::clone(reader))).is_some()
    }

    /// The server took a subscription. When it was there already, the earlier number is given back, to be ended.
    pub(super) fn confirm(&mut self, pattern: &str, sequence: u32, reader: Option<Events>) -> Option<u32> {
        let entry = self.entries.entry(pattern.to_owned()).or_insert(Entry { sequence, readers: Vec::new() });
        entry.readers.extend(reader);
        (entry.sequence != sequence).then_some(sequence)
    }

    /// The subscription goes by another number, on another session.
    pub(super) fn renumber(&mut self, pattern: &str, sequence: u32) {
        if let Some(entry) = self.entries.get_mut(pattern) {
            entry.sequence = sequence;
        }
    }

    /// The server does not take a subscription again: its readers.
    pub(super) fn remove(&mut self, pattern: &str) -> Vec<Events> {
        self.entries.remove(pattern).map(|entry| entry.readers).unwrap_or_default()
    }

    /// Who gets an event: those of the subscription whose number it carries, or, when it carries none, everybody whose
    /// pattern its topic matches.
    pub(super) fn readers_of<'a>(&'a self, sequence: u32, topic: &'a str) -> impl Iterator<Item = &'a Events> {
        let is_for = move |(pattern, entry): &(&String, &Entry)| match sequence {
            0 => matches(pattern, topic),
            sequence => entry.sequence == sequence,
        };
        self.entries.iter().filter(is_for).flat_map(|(_, entry)| &entry.readers)
    }

    /// Forgets readers that are gone, and gives the subscriptions that nobody reads any more.
    pub(super) fn sweep(&mut self) -> Vec<(String, u32)> {
        let mut ended = Vec::new();
        self.entries.retain(|pattern, entry| {
            entry.readers.retain(|reader| !reader.is_abandoned());
            if entry.readers.is_empty() {
                ended.push((pattern.clone(), entry.sequence));
            }
            !entry.readers.is_empty()
        });
        ended
    }

    /// All patterns, to subscribe to again.
    pub(super) fn patterns(&self) -> Vec<String> {
        self.entries.keys().cloned().collect()
    }

    /// Takes all readers out.
    pub(super) fn drain(&mut self) -> Vec<Events> {
        std::mem::take(&mut self.entries).into_values().flat_map(|entry| entry.readers).collect()
    }
}

/// The frame that subscribes to a topic, but for its number.
pub(super) fn subscribe_frame(topic: &str) -> Frame {
    let body = json!({ "topic": topic }).to_string();
    Frame { codec: BodyCodec::Json, body: body.into(), ..Frame::new(Kind::Subscribe, 0) }
}

/// True when a pattern covers a topic: `*` is one level, `#` at the end the rest.
fn matches(pattern: &str, topic: &str) -> bool {
    let (mut pattern, mut topic) = (pattern.split('/'), topic.split('/'));
    loop {
        match (pattern.next(), topic.next()) {
            (Some("#"), _) | (None, None) => return true,
            (Some("*"), Some(_)) => {}
            (Some(wanted), Some(level)) if wanted == level => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::inbox::Overflow;

    #[test]
    fn a_star_is_one_level_and_a_hash_the_rest() {
        for (pattern, topic, expected) in [
            ("a/b", "a/b", true),
            ("a/b", "a/c", false),
            ("a/b", "a", false),
            ("a/b", "a/b/c", false),
            ("a/*", "a/b", true),
            ("a/*", "a", false),
            ("a/*", "a/b/c", false),
            ("*/b", "a/b", true),
            ("a/*/c", "a/b/c", true),
            ("a/#", "a/b/c", true),
            ("a/#", "b/c", false),
            ("#", "a/b", true),
        ] {
            assert_eq!(matches(pattern, topic), expected, "{pattern} {topic}");
        }
    }

    #[test]
    fn a_subscription_ends_with_its_last_reader() {
        let (first, second) = (Inbox::new(1, Overflow::DropOldest), Inbox::new(1, Overflow::DropOldest));
        let mut topics = Topics::default();
        assert!(!topics.join("a/*", &first));
        assert_eq!(topics.confirm("a/*", 7, Some(Arc::clone(&first))), None);
        assert!(topics.join("a/*", &second));
        assert_eq!(topics.readers_of(0, "a/b").count(), 2);
        first.abandon();
        assert_eq!((topics.sweep(), topics.readers_of(7, "a/b").count()), (vec![], 1));
        second.abandon();
        assert_eq!(topics.sweep(), vec![("a/*".to_owned(), 7)]);
        assert!(topics.patterns().is_empty());
    }

    #[test]
    fn a_pattern_that_was_asked_for_twice_at_once_is_one_subscription() {
        let reader = || Some(Inbox::new(1, Overflow::DropOldest));
        let mut topics = Topics::default();
        assert_eq!(topics.confirm("a", 1, reader()), None);
        assert_eq!(topics.confirm("a", 2, reader()), Some(2));
        assert_eq!(topics.readers_of(1, "a").count(), 2);
    }
}
