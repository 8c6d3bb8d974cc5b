//! Finds every pattern that accepts a path, at a cost that depends on the path and not on how many patterns there are.

use std::{borrow::Cow, collections::HashMap};

use http::{HeaderMap, HeaderName};

use super::path::PathPattern;
use crate::transcode::{
    percent::{self, Mode},
    template::Segment,
};

/// Numbers of routes under the patterns of their paths. A smaller number comes first.
#[derive(Debug, Default)]
pub(super) struct Paths {
    root: Node,
    count: usize,
}

/// What is known after some segments.
#[derive(Debug, Default)]
struct Node {
    /// Behind a pointer, since a map has room for more than it holds.
    literals: HashMap<Box<str>, Box<Self>>,
    any: Option<Box<Self>>,
    rest: Leaf,
    here: Leaf,
}

/// Routes that end at a node, by verb; no verb is the empty one. There are a few at most.
#[derive(Debug, Default)]
struct Leaf(Vec<(Box<str>, Numbers)>);

/// The routes of one pattern, each list in order. Those that ask for one value of a header lie under that value, so that
/// thousands that differ by, say, a tenant's header cost no more than one.
#[derive(Debug, Default)]
struct Numbers {
    plain: Vec<u32>,
    by_header: Vec<(HeaderName, HashMap<String, Vec<u32>>)>,
}

/// The path of a request, cut into decoded segments once.
#[derive(Debug)]
pub(super) struct Wanted<'p> {
    segments: Vec<Cow<'p, str>>,
    /// The last segment without its verb, and the verb.
    verb: Option<(String, String)>,
}

impl<'p> Wanted<'p> {
    /// Cuts a path; `None` when it does not begin with `/`.
    pub(super) fn new(path: &'p str) -> Option<Self> {
        let rest = path.strip_prefix('/')?;
        let raw_last = rest.rsplit('/').next().unwrap_or_default();
        let decode = |text: &'p str| percent::decode(text, Mode::Segment).unwrap_or(Cow::Borrowed(text));
        let verb = raw_last.rsplit_once(':').filter(|(_, verb)| !verb.is_empty());
        let verb = verb.map(|(before, verb)| (decode(before).into_owned(), verb.to_owned()));
        Some(Self { segments: rest.split('/').map(decode).collect(), verb })
    }
}

impl Paths {
    /// True when there is no pattern.
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Adds a route; numbers must come in order.
    pub(super) fn insert(&mut self, pattern: &PathPattern, header: Option<(&HeaderName, &str)>, number: u32) {
        self.count += 1;
        let mut node = &mut self.root;
        let mut rest = false;
        for segment in &pattern.segments {
            match segment {
                Segment::Literal(text) => node = node.literals.entry(text.as_str().into()).or_default(),
                Segment::Any => node = node.any.get_or_insert_default(),
                Segment::Rest => rest = true,
            }
        }
        let leaf = if rest { &mut node.rest } else { &mut node.here };
        leaf.of(pattern.verb.as_deref().unwrap_or_default()).insert(header, number);
    }

    /// Makes `best` the first route that accepts the path and that `fits`, if it comes before `best`.
    pub(super) fn find(
        &self,
        wanted: &Wanted<'_>,
        headers: &HeaderMap,
        best: &mut Option<u32>,
        fits: &impl Fn(u32) -> bool,
    ) {
        if self.is_empty() {
            return;
        }
        let mut search = Search { headers, best, fits };
        search.descend(&self.root, &wanted.segments, "");
        if let Some((last, verb)) = &wanted.verb {
            let mut segments = wanted.segments.clone();
            segments.pop();
            segments.push(Cow::Borrowed(last));
            search.descend(&self.root, &segments, verb);
        }
    }
}

impl Leaf {
    /// The routes with a verb.
    fn of(&mut self, verb: &str) -> &mut Numbers {
        let at = self.0.iter().position(|(known, _)| **known == *verb).unwrap_or_else(|| {
            self.0.reserve_exact(1);
            self.0.push((verb.into(), Numbers::default()));
            self.0.len() - 1
        });
        &mut self.0[at].1
    }
}

impl Numbers {
    fn insert(&mut self, header: Option<(&HeaderName, &str)>, number: u32) {
        let Some((name, value)) = header else {
            self.plain.reserve_exact(usize::from(self.plain.is_empty()));
            return self.plain.push(number);
        };
        let at = self.by_header.iter().position(|(other, _)| other == name).unwrap_or_else(|| {
            self.by_header.push((name.clone(), HashMap::new()));
            self.by_header.len() - 1
        });
        self.by_header[at].1.entry(value.to_owned()).or_default().push(number);
    }
}

/// A search for the first route.
struct Search<'s, F> {
    headers: &'s HeaderMap,
    best: &'s mut Option<u32>,
    fits: &'s F,
}

impl<F: Fn(u32) -> bool> Search<'_, F> {
    fn descend(&mut self, node: &Node, segments: &[Cow<'_, str>], verb: &str) {
        match segments.split_first() {
            None => self.end(&node.here, verb),
            Some((first, others)) => {
                if let Some(next) = node.literals.get(first.as_ref()) {
                    self.descend(next, others, verb);
                }
                if let Some(next) = node.any.as_deref().filter(|_| !first.is_empty()) {
                    self.descend(next, others, verb);
                }
            }
        }
        self.end(&node.rest, verb);
    }

    fn end(&mut self, leaf: &Leaf, verb: &str) {
        let Some((_, numbers)) = leaf.0.iter().find(|(known, _)| **known == *verb) else {
            return;
        };
        self.first(&numbers.plain);
        for (name, by_value) in &numbers.by_header {
            for value in self.headers.get_all(name) {
                if let Some(list) = value.to_str().ok().and_then(|value| by_value.get(value)) {
                    self.first(list);
                }
            }
        }
    }

    /// The lists are in order, so the first that fits is the only one that counts.
    fn first(&mut self, numbers: &[u32]) {
        let before_best = |number: &&u32| self.best.is_none_or(|best| **number < best);
        if let Some(number) = numbers.iter().take_while(before_best).find(|number| (self.fits)(**number)) {
            *self.best = Some(*number);
        }
    }
}
