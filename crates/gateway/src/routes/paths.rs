//! Finds every pattern that accepts a path, at a cost that depends on the path and not on how many patterns there are.
//!
//! Patterns make trees, a node for each segment. The trees of all hosts lie in the same few pieces of memory: a table of
//! thousands is built and let go with each change of a route, and nothing of it stays behind.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName};

use super::{
    arena::{Arena, Id},
    path::PathPattern,
    texts::Texts,
};
use crate::transcode::{
    percent::{self, Mode},
    template::Segment,
};

/// Numbers of routes under the patterns of their paths. A smaller number comes first.
#[derive(Debug, Default)]
pub(super) struct Paths {
    nodes: Arena<Node>,
    /// The next node, by a node's number and a segment.
    literals: Texts,
    leaves: Arena<Leaf>,
    headers: Arena<Header>,
    /// The list of routes, by a header's number and its value.
    values: Texts,
    lists: Lists,
}

/// Paths that are not complete yet.
#[derive(Debug, Default)]
pub(super) struct Builder {
    paths: Paths,
    lists: usize,
    /// Numbers of routes with the lists that they are for.
    filed: Vec<(Id, u32)>,
}

/// What is known after some segments. Those that end here lie under `here`.
#[derive(Debug, Default)]
struct Node {
    any: Option<Id>,
    rest: Option<Id>,
    here: Option<Id>,
}

/// Routes that end at a node with one verb; no verb is the empty one. Those that ask for one value of a header lie under
/// that value, so that thousands that differ by, say, a tenant's header cost no more than one.
#[derive(Debug)]
struct Leaf {
    verb: Box<str>,
    plain: Option<Id>,
    header: Option<Id>,
    /// With another verb, at the same node.
    next: Option<Id>,
}

/// A header that routes of a leaf ask for.
#[derive(Debug)]
struct Header {
    name: HeaderName,
    /// Another one, of the same leaf.
    next: Option<Id>,
}

/// Lists of numbers, each in order, one after the other.
#[derive(Debug, Default)]
struct Lists {
    numbers: Vec<u32>,
    /// Where each begins, and at last the end.
    starts: Vec<u32>,
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

impl Builder {
    /// The root of another tree.
    pub(super) fn root(&mut self) -> Id {
        self.paths.nodes.push(Node::default())
    }

    /// Adds a route to the tree of `root`; numbers must come in order.
    pub(super) fn insert(&mut self, root: Id, pattern: &PathPattern, header: Option<(&HeaderName, &str)>, number: u32) {
        let Paths { nodes, literals, .. } = &mut self.paths;
        let (mut node, mut is_rest) = (root, false);
        for segment in &pattern.segments {
            match segment {
                Segment::Literal(text) => {
                    node = literals.get_or_insert_with(node.number(), text, || nodes.push(Node::default()));
                }
                Segment::Any => {
                    node = nodes[node].any.unwrap_or_else(|| {
                        let next = nodes.push(Node::default());
                        nodes[node].any = Some(next);
                        next
                    });
                }
                Segment::Rest => is_rest = true,
            }
        }
        let leaf = self.leaf(node, is_rest, pattern.verb.as_deref().unwrap_or_default());
        let list = match header {
            None => self.plain(leaf),
            Some((name, value)) => self.valued(leaf, name, value),
        };
        self.filed.push((list, number));
    }

    /// The routes with a verb.
    fn leaf(&mut self, node: Id, is_rest: bool, verb: &str) -> Id {
        let Paths { nodes, leaves, .. } = &mut self.paths;
        let node = &mut nodes[node];
        let first = if is_rest { &mut node.rest } else { &mut node.here };
        let mut at = *first;
        while let Some(leaf) = at {
            if *leaves[leaf].verb == *verb {
                return leaf;
            }
            at = leaves[leaf].next;
        }
        let leaf = leaves.push(Leaf { verb: verb.into(), plain: None, header: None, next: *first });
        *first = Some(leaf);
        leaf
    }

    /// The list of the routes of a leaf that ask for no value of a header.
    fn plain(&mut self, leaf: Id) -> Id {
        let (plain, lists) = (&mut self.paths.leaves[leaf].plain, &mut self.lists);
        *plain.get_or_insert_with(|| new_list(lists))
    }

    /// The list of those that ask for this one.
    fn valued(&mut self, leaf: Id, name: &HeaderName, value: &str) -> Id {
        let Paths { leaves, headers, values, .. } = &mut self.paths;
        let leaf = &mut leaves[leaf];
        let mut at = leaf.header;
        while let Some(header) = at.filter(|header| headers[*header].name != *name) {
            at = headers[header].next;
        }
        let header = at.unwrap_or_else(|| {
            let header = headers.push(Header { name: name.clone(), next: leaf.header });
            leaf.header = Some(header);
            header
        });
        values.get_or_insert_with(header.number(), value, || new_list(&mut self.lists))
    }

    /// The paths, complete.
    pub(super) fn build(mut self) -> Paths {
        // A stable sort: numbers of one list stay in order.
        self.filed.sort_by_key(|(list, _)| *list);
        let mut lists =
            Lists { numbers: Vec::with_capacity(self.filed.len()), starts: Vec::with_capacity(self.lists + 1) };
        for (list, number) in self.filed {
            let at = place_of(lists.numbers.len());
            lists.starts.resize(list.place() + 1, at);
            lists.numbers.push(number);
        }
        lists.starts.push(place_of(lists.numbers.len()));
        let Paths { nodes, literals, leaves, headers, values, .. } = &mut self.paths;
        nodes.shrink_to_fit();
        leaves.shrink_to_fit();
        headers.shrink_to_fit();
        literals.shrink_to_fit();
        values.shrink_to_fit();
        Paths { lists, ..self.paths }
    }
}

fn new_list(count: &mut usize) -> Id {
    *count += 1;
    Id::at(*count - 1)
}

fn place_of(len: usize) -> u32 {
    u32::try_from(len).expect("there are far fewer routes and hosts")
}

impl Lists {
    fn get(&self, list: Id) -> &[u32] {
        let place = list.place();
        &self.numbers[self.starts[place] as usize..self.starts[place + 1] as usize]
    }
}

impl Paths {
    /// Makes `best` the first route in the tree of `root` that accepts the path and that `fits`, if it comes before
    /// `best`.
    pub(super) fn find(
        &self,
        root: Id,
        (wanted, headers): (&Wanted<'_>, &HeaderMap),
        best: &mut Option<u32>,
        fits: &impl Fn(u32) -> bool,
    ) {
        let mut search = Search { paths: self, headers, best, fits };
        search.descend(root, &wanted.segments, "");
        if let Some((last, verb)) = &wanted.verb {
            let mut segments = wanted.segments.clone();
            segments.pop();
            segments.push(Cow::Borrowed(last));
            search.descend(root, &segments, verb);
        }
    }
}

/// A search for the first route.
struct Search<'s, F> {
    paths: &'s Paths,
    headers: &'s HeaderMap,
    best: &'s mut Option<u32>,
    fits: &'s F,
}

impl<F: Fn(u32) -> bool> Search<'_, F> {
    fn descend(&mut self, at: Id, segments: &[Cow<'_, str>], verb: &str) {
        let node = &self.paths.nodes[at];
        match segments.split_first() {
            None => self.end(node.here, verb),
            Some((first, others)) => {
                if let Some(next) = self.paths.literals.get(at.number(), first) {
                    self.descend(next, others, verb);
                }
                if let Some(next) = node.any.filter(|_| !first.is_empty()) {
                    self.descend(next, others, verb);
                }
            }
        }
        self.end(node.rest, verb);
    }

    fn end(&mut self, first: Option<Id>, verb: &str) {
        let paths = self.paths;
        let mut at = first;
        while let Some(leaf) = at.map(|leaf| &paths.leaves[leaf]) {
            if *leaf.verb == *verb {
                return self.among(leaf);
            }
            at = leaf.next;
        }
    }

    fn among(&mut self, leaf: &Leaf) {
        let paths = self.paths;
        if let Some(list) = leaf.plain {
            self.first(paths.lists.get(list));
        }
        let mut at = leaf.header;
        while let Some(id) = at {
            let header = &paths.headers[id];
            for value in self.headers.get_all(&header.name) {
                if let Some(list) = value.to_str().ok().and_then(|value| paths.values.get(id.number(), value)) {
                    self.first(paths.lists.get(list));
                }
            }
            at = header.next;
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
