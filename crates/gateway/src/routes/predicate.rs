//! What headers, queries and methods must be like: of requests that a route takes, and of those for which a layer does
//! something.

use http::{HeaderMap, HeaderName, Method, Request, Uri};
use mcp_proto::gateway::v1::{self as wire, value_match};
use regex::{Regex, RegexBuilder};

use super::violations::Violations;
use crate::transcode::percent::{self, Mode};

/// Most entries of each list.
const ENTRIES_MAX: usize = 16;
/// Longest value or pattern, in bytes.
const TEXT_BYTES_MAX: usize = 1_000;
/// Memory that one regular expression may take, in bytes.
const REGEX_BYTES_MAX: usize = 256 * 1024;
/// Longest value that a regular expression is tried on, in bytes; it matches none that is longer.
const SUBJECT_BYTES_MAX: usize = 8 * 1024;

/// What a request says before its body.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Head<'r> {
    /// Its method.
    pub(crate) method: &'r Method,
    /// Its target.
    pub(crate) uri: &'r Uri,
    /// Its headers.
    pub(crate) headers: &'r HeaderMap,
}

impl<'r, B> From<&'r Request<B>> for Head<'r> {
    fn from(request: &'r Request<B>) -> Self {
        Self { method: request.method(), uri: request.uri(), headers: request.headers() }
    }
}

/// What a request must be like.
#[derive(Debug, Clone, Default)]
pub(crate) struct Predicate {
    methods: Box<[Method]>,
    headers: Box<[(HeaderName, Value)]>,
    query: Box<[(String, Value)]>,
}

/// What a value must be like.
#[derive(Debug, Clone)]
enum Value {
    Exact(String),
    Prefix(String),
    Regex(Regex),
    Present(bool),
}

impl Value {
    fn accepts(&self, value: &str) -> bool {
        match self {
            Self::Exact(text) => value == text,
            Self::Prefix(text) => value.starts_with(text),
            Self::Regex(regex) => value.len() <= SUBJECT_BYTES_MAX && regex.is_match(value),
            Self::Present(present) => *present,
        }
    }

    /// One of the values, or none when it must not be there.
    fn accepts_any<'a>(&self, mut values: impl Iterator<Item = &'a str>) -> bool {
        match self {
            Self::Present(false) => values.next().is_none(),
            value => values.any(|text| value.accepts(text)),
        }
    }
}

impl Predicate {
    /// Compiles the parts of a match or of a condition; `at` is their path, with a dot at its end unless it is empty.
    pub(crate) fn compile(
        (methods, headers, query): (&[String], &[wire::ValueMatch], &[wire::ValueMatch]),
        at: &str,
        wrong: &mut Violations,
    ) -> Self {
        let (mut asked_methods, mut asked_headers, mut asked_query) = (Vec::new(), Vec::new(), Vec::new());
        wrong.at_most(methods.len(), ENTRIES_MAX, &format!("{at}methods"));
        for (index, method) in methods.iter().take(ENTRIES_MAX).enumerate() {
            let parsed = Method::from_bytes(method.as_bytes()).ok().filter(|_| !method.chars().any(char::is_lowercase));
            let parsed =
                parsed.ok_or_else(|| format!("is `{method}`, must be an HTTP method in capitals such as `GET`"));
            asked_methods.extend(wrong.take(&format!("{at}methods[{index}]"), parsed));
        }
        wrong.at_most(headers.len(), ENTRIES_MAX, &format!("{at}headers"));
        for (index, header) in headers.iter().take(ENTRIES_MAX).enumerate() {
            let at = format!("{at}headers[{index}]");
            let name = HeaderName::from_bytes(header.name.as_bytes());
            let name = name.map_err(|_| format!("is `{}`, must be the name of a header", header.name));
            let name = wrong.take(&format!("{at}.name"), name);
            asked_headers.extend(name.zip(value(header, &at, wrong)));
        }
        wrong.at_most(query.len(), ENTRIES_MAX, &format!("{at}query"));
        for (index, parameter) in query.iter().take(ENTRIES_MAX).enumerate() {
            let at = format!("{at}query[{index}]");
            let fits = !parameter.name.is_empty() && parameter.name.len() <= TEXT_BYTES_MAX;
            wrong.check(fits, &format!("{at}.name"), "must have 1 to 1000 bytes");
            asked_query.extend(value(parameter, &at, wrong).map(|value| (parameter.name.clone(), value)));
        }
        Self { methods: asked_methods.into(), headers: asked_headers.into(), query: asked_query.into() }
    }

    /// True for a request that is like this.
    pub(crate) fn accepts(&self, head: Head<'_>) -> bool {
        (self.methods.is_empty() || self.methods.contains(head.method))
            && self.headers.iter().all(|(name, value)| {
                // What is no text is like nothing, but it is there.
                value.accepts_any(head.headers.get_all(name).iter().map(|value| value.to_str().unwrap_or_default()))
            })
            && self.accepts_query(head.uri.query().unwrap_or_default())
    }

    fn accepts_query(&self, query: &str) -> bool {
        self.query.iter().all(|(name, value)| {
            let decoded: Vec<_> = query
                .split('&')
                .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
                .filter(|(other, _)| percent::decode(other, Mode::Query).as_deref() == Some(name))
                .map(|(_, text)| percent::decode(text, Mode::Query).unwrap_or_default())
                .collect();
            value.accepts_any(decoded.iter().map(AsRef::as_ref))
        })
    }

    /// How much it asks for: methods at all, headers, parameters. More is more specific.
    pub(crate) fn specificity(&self) -> (bool, usize, usize) {
        (!self.methods.is_empty(), self.headers.len(), self.query.len())
    }

    /// A header that must have exactly one value, for an index.
    pub(crate) fn exact_header(&self) -> Option<(&HeaderName, &str)> {
        self.headers.iter().find_map(|(name, value)| match value {
            Value::Exact(text) => Some((name, text.as_str())),
            Value::Prefix(_) | Value::Regex(_) | Value::Present(_) => None,
        })
    }
}

fn value(wanted: &wire::ValueMatch, at: &str, wrong: &mut Violations) -> Option<Value> {
    let mut text = |name: &str, text: &str| {
        let right = text.len() <= TEXT_BYTES_MAX;
        wrong.check(right, &format!("{at}.{name}"), "must have at most 1000 bytes");
        right.then(|| text.to_owned())
    };
    Some(match &wanted.kind {
        None => Value::Present(true),
        Some(value_match::Kind::Present(present)) => Value::Present(*present),
        Some(value_match::Kind::Exact(exact)) => Value::Exact(text("exact", exact)?),
        Some(value_match::Kind::Prefix(prefix)) => Value::Prefix(text("prefix", prefix)?),
        Some(value_match::Kind::Regex(pattern)) => {
            let pattern = text("regex", pattern)?;
            let whole = RegexBuilder::new(&format!("^(?:{pattern})$")).size_limit(REGEX_BYTES_MAX).build();
            let whole = whole.map_err(|error| format!("is not a regular expression: {}", one_line(&error.to_string())));
            Value::Regex(wrong.take(&format!("{at}.regex"), whole)?)
        }
    })
}

/// The last line, where the regex crate says what is wrong.
fn one_line(text: &str) -> String {
    text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
}

/// When a layer does something.
#[derive(Debug, Clone)]
pub(crate) struct Condition {
    predicate: Predicate,
    not: bool,
}

impl Condition {
    /// Compiles a condition; `at` is its path.
    pub(crate) fn compile(condition: &wire::Condition, at: &str, wrong: &mut Violations) -> Self {
        let parts = (&*condition.methods, &*condition.headers, &*condition.query);
        Self { predicate: Predicate::compile(parts, &format!("{at}."), wrong), not: condition.not }
    }

    /// Compiles one that may be unset, which always holds.
    pub(crate) fn compile_any(condition: Option<&wire::Condition>, at: &str, wrong: &mut Violations) -> Option<Self> {
        condition.map(|condition| Self::compile(condition, at, wrong))
    }

    /// True when it holds for a request.
    pub(crate) fn holds(&self, head: Head<'_>) -> bool {
        self.predicate.accepts(head) != self.not
    }
}
