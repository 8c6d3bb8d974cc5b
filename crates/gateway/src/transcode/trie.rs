//! Finds the route of a path, at a cost that depends on the path and not on how many routes there are.
//!
//! Routes form a tree of segments. At each step a literal is tried before `*`, and `*` before `**`, so that the most
//! specific route wins whatever the order in which routes were added; a path that ends in `:verb` is first looked for
//! with its verb. A route under another HTTP method does not hide one under the wanted method.

use std::{borrow::Cow, collections::HashMap};

use http::Method;

use super::{
    percent,
    template::{Segment, Template},
};

/// The method of a route that takes every method: `custom { kind: "*" }`.
const EVERY: &[u8] = b"*";

/// Routes with a `T` for each.
#[derive(Debug)]
pub(crate) struct Trie<T> {
    root: Node<T>,
}

/// What is known after some segments of a path.
#[derive(Debug)]
struct Node<T> {
    literals: HashMap<String, Self>,
    any: Option<Box<Self>>,
    rest: Leaf<T>,
    here: Leaf<T>,
}

/// Routes that end at a node, by verb; no verb is the empty one.
#[derive(Debug)]
struct Leaf<T>(HashMap<String, Vec<(Method, T)>>);

/// What was found for a path.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found<'a, 'p, T> {
    /// A route, and the path's segments as it sees them, still percent-encoded.
    Route(&'a T, Vec<&'p str>),
    /// The path exists, under these methods only.
    OtherMethods(Vec<Method>),
    /// No route has this path.
    Nothing,
}

impl<T> Default for Trie<T> {
    fn default() -> Self {
        Self { root: Node::default() }
    }
}

impl<T> Default for Node<T> {
    fn default() -> Self {
        Self { literals: HashMap::new(), any: None, rest: Leaf::default(), here: Leaf::default() }
    }
}

impl<T> Default for Leaf<T> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<T> Trie<T> {
    /// Adds a route; gives back the one that has the same method and accepts the same paths, if there is one.
    pub(crate) fn insert(&mut self, template: &Template, method: Method, value: T) -> Result<(), &T> {
        let mut node = &mut self.root;
        let mut rest = false;
        for segment in &template.segments {
            match segment {
                Segment::Literal(text) => node = node.literals.entry(text.clone()).or_default(),
                Segment::Any => node = node.any.get_or_insert_default(),
                Segment::Rest => rest = true,
            }
        }
        let leaf = if rest { &mut node.rest } else { &mut node.here };
        let routes = leaf.0.entry(template.verb.clone().unwrap_or_default()).or_default();
        match routes.iter().position(|(other, _)| *other == method) {
            Some(at) => Err(&routes[at].1),
            None => {
                routes.push((method, value));
                Ok(())
            }
        }
    }

    /// Finds the route of `method` for a path without its query.
    pub(crate) fn find<'p>(&self, method: &Method, path: &'p str) -> Found<'_, 'p, T> {
        let Some(rest) = path.strip_prefix('/') else {
            return Found::Nothing;
        };
        let every = Method::from_bytes(EVERY).expect("a token");
        let mut search = Search { method, every, others: Vec::new() };
        let mut segments: Vec<&str> = rest.split('/').collect();
        if let Some((last, verb)) = segments.last().and_then(|last| last.rsplit_once(':'))
            && !verb.is_empty()
        {
            let mut shortened = segments.clone();
            if let Some(end) = shortened.last_mut() {
                *end = last;
            }
            if let Some(route) = search.descend(&self.root, &shortened, verb) {
                segments = shortened;
                return Found::Route(route, segments);
            }
        }
        match search.descend(&self.root, &segments, "") {
            Some(route) => Found::Route(route, segments),
            None if search.others.is_empty() => Found::Nothing,
            None => Found::OtherMethods(search.others),
        }
    }
}

struct Search<'m> {
    method: &'m Method,
    every: Method,
    others: Vec<Method>,
}

impl Search<'_> {
    fn descend<'a, T>(&mut self, node: &'a Node<T>, segments: &[&str], verb: &str) -> Option<&'a T> {
        let found = match segments.split_first() {
            None => self.end(&node.here, verb),
            Some((first, others)) => {
                let literal = percent::decode(first, percent::Mode::Segment).unwrap_or(Cow::Borrowed(first));
                node.literals.get(literal.as_ref()).and_then(|next| self.descend(next, others, verb)).or_else(|| {
                    let next = node.any.as_deref().filter(|_| !first.is_empty())?;
                    self.descend(next, others, verb)
                })
            }
        };
        found.or_else(|| self.end(&node.rest, verb))
    }

    fn end<'a, T>(&mut self, leaf: &'a Leaf<T>, verb: &str) -> Option<&'a T> {
        let routes = leaf.0.get(verb)?;
        let of = |wanted: &Method| routes.iter().find(|(method, _)| method == wanted).map(|(_, value)| value);
        let found = of(self.method).or_else(|| of(&self.every));
        if found.is_none() {
            for (method, _) in routes {
                if !self.others.contains(method) {
                    self.others.push(method.clone());
                }
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn trie(routes: &[(Method, &'static str)]) -> Trie<&'static str> {
        let mut trie = Trie::default();
        for (method, text) in routes {
            trie.insert(&Template::parse(text).unwrap(), method.clone(), *text).unwrap();
        }
        trie
    }

    fn found(trie: &Trie<&'static str>, method: &Method, path: &str) -> String {
        match trie.find(method, path) {
            Found::Route(route, _) => (*route).to_owned(),
            Found::OtherMethods(methods) => format!("{methods:?}"),
            Found::Nothing => "nothing".into(),
        }
    }

    #[test]
    fn the_most_specific_route_wins() {
        let trie = trie(&[
            (Method::GET, "/v1/tasks/{id}"),
            (Method::GET, "/v1/tasks"),
            (Method::POST, "/v1/tasks"),
            (Method::GET, "/v1/tasks/{id}:wait"),
            (Method::POST, "/v1/tasks/{id}:cancel"),
            (Method::POST, "/v1/tasks:batchSubmit"),
            (Method::GET, "/v1/tasks/{id}/logs"),
            (Method::GET, "/v1/tasks/none"),
            (Method::GET, "/v1/{name=files/**}"),
            (Method::DELETE, "/v1/{anything}/none"),
        ]);
        for (method, path, expected) in [
            (Method::GET, "/v1/tasks/7", "/v1/tasks/{id}"),
            (Method::GET, "/v1/tasks/none", "/v1/tasks/none"),
            (Method::GET, "/v1/tasks/7:wait", "/v1/tasks/{id}:wait"),
            (Method::GET, "/v1/tasks/7:unknown", "/v1/tasks/{id}"),
            (Method::GET, "/v1/tasks/7%3Await", "/v1/tasks/{id}"),
            (Method::POST, "/v1/tasks/7:cancel", "/v1/tasks/{id}:cancel"),
            (Method::POST, "/v1/tasks:batchSubmit", "/v1/tasks:batchSubmit"),
            (Method::GET, "/v1/%74asks/7/logs", "/v1/tasks/{id}/logs"),
            (Method::DELETE, "/v1/tasks/none", "/v1/{anything}/none"),
            (Method::GET, "/v1/files/a/b", "/v1/{name=files/**}"),
            (Method::GET, "/v1/files", "/v1/{name=files/**}"),
            (Method::PUT, "/v1/tasks", "[GET, POST]"),
            (Method::GET, "/v1/tasks:batchSubmit", "[POST]"),
            (Method::GET, "/v1/tasks/", "nothing"),
            (Method::GET, "/v1/tasks/7/logs/8", "nothing"),
            (Method::GET, "/", "nothing"),
            (Method::GET, "*", "nothing"),
        ] {
            assert_eq!(found(&trie, &method, path), expected, "{method} {path}");
        }
    }

    #[test]
    fn a_route_for_every_method_takes_those_that_have_no_route_of_their_own() {
        let every = Method::from_bytes(EVERY).unwrap();
        let mut trie = trie(&[(Method::GET, "/v1/{a}")]);
        trie.insert(&Template::parse("/v1/{x}").unwrap(), every, "every").unwrap();
        assert_eq!(found(&trie, &Method::GET, "/v1/7"), "/v1/{a}");
        assert_eq!(found(&trie, &Method::HEAD, "/v1/7"), "every");
    }

    #[test]
    fn two_routes_for_the_same_paths_are_a_conflict() {
        let mut trie = trie(&[(Method::GET, "/v1/{a}")]);
        let same = Template::parse("/v1/{b}").unwrap();
        assert_eq!(trie.insert(&same, Method::GET, "second"), Err(&"/v1/{a}"));
        assert_eq!(trie.insert(&same, Method::PUT, "second"), Ok(()));
    }

    /// How specific a route is, segment by segment; smaller is more.
    fn rank(template: &Template) -> (bool, Vec<u8>) {
        let ranks = template.segments.iter().map(|segment| match segment {
            Segment::Literal(_) => 0,
            Segment::Any => 1,
            Segment::Rest => 2,
        });
        (template.verb.is_none(), ranks.collect())
    }

    fn accepts(template: &[Segment], path: &[&str]) -> bool {
        match (template, path) {
            ([], []) | ([Segment::Rest], _) => true,
            ([Segment::Literal(text), template @ ..], [first, path @ ..]) => text == first && accepts(template, path),
            ([Segment::Any, template @ ..], [first, path @ ..]) => !first.is_empty() && accepts(template, path),
            _ => false,
        }
    }

    /// The slow and plain way: look at every route.
    fn naive<'a>(routes: &'a [(Template, String)], path: &str) -> Option<&'a str> {
        let path = path.strip_prefix('/')?;
        let (before, verb) = match path.rsplit_once(':') {
            Some((before, verb)) if !verb.is_empty() && !verb.contains('/') => (before, Some(verb)),
            _ => (path, None),
        };
        let matches = routes.iter().filter(|(template, _)| match &template.verb {
            Some(wanted) => verb == Some(wanted) && accepts(&template.segments, &before.split('/').collect::<Vec<_>>()),
            None => accepts(&template.segments, &path.split('/').collect::<Vec<_>>()),
        });
        matches.min_by_key(|(template, _)| rank(template)).map(|(_, name)| name.as_str())
    }

    proptest! {
        #[test]
        fn the_trie_agrees_with_looking_at_every_route(
            texts in prop::collection::vec("(/(a|b|\\*|\\{x\\})){1,4}(/\\*\\*)?(:(u|v))?", 1..12),
            paths in prop::collection::vec("(/(a|b|c|)){1,5}(:(u|v|w|))?", 1..30),
        ) {
            let mut trie = Trie::default();
            let mut routes = Vec::new();
            for text in texts {
                let Ok(template) = Template::parse(&text) else { continue };
                if trie.insert(&template, Method::GET, text.clone()).is_ok() {
                    routes.push((template, text));
                }
            }
            for path in paths {
                let found = match trie.find(&Method::GET, &path) {
                    Found::Route(name, _) => Some(name.as_str()),
                    Found::OtherMethods(_) | Found::Nothing => None,
                };
                prop_assert_eq!(found, naive(&routes, &path), "path {}", path);
            }
        }

        #[test]
        fn finding_never_panics(path in "\\PC{0,60}") {
            let _ = trie(&[(Method::GET, "/v1/{a=x/**}:v")]).find(&Method::GET, &path);
        }
    }
}
