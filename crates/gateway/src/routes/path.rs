//! What a path must be like, as segments, and how specific that is.

use std::cmp::Ordering;

use mcp_proto::gateway::v1::{GrpcMatch, PathMatch, path_match};

use super::violations::Violations;
use crate::transcode::{
    percent::{self, Mode},
    template::{Segment, Template, Variable},
};

/// Most segments of a pattern.
const SEGMENTS_MAX: usize = 32;
/// Longest pattern, in bytes.
const PATH_BYTES_MAX: usize = 1_000;

/// What a path must be like.
#[derive(Debug, Clone)]
pub(crate) struct PathPattern {
    /// Its segments; the last may be [`Segment::Rest`].
    pub(crate) segments: Box<[Segment]>,
    /// What must follow the last `:`.
    pub(crate) verb: Option<Box<str>>,
    /// The parts of a template that have names.
    pub(crate) variables: Box<[Variable]>,
    /// True for a prefix, which may be replaced.
    pub(crate) is_prefix: bool,
}

impl PathPattern {
    /// Every path.
    pub(crate) fn any() -> Self {
        Self { segments: Box::new([Segment::Rest]), verb: None, variables: Box::default(), is_prefix: true }
    }

    /// Compiles a path match; `at` is its path in the record.
    pub(crate) fn compile(path: &PathMatch, at: &str, wrong: &mut Violations) -> Option<Self> {
        let (field, result) = match path.kind.as_ref() {
            None => return Some(Self::any()),
            Some(path_match::Kind::Exact(text)) => ("exact", literal(text)),
            Some(path_match::Kind::Prefix(text)) => ("prefix", prefix(text)),
            Some(path_match::Kind::Template(text)) => ("template", template(text)),
        };
        let result = result.and_then(|pattern| {
            let few = pattern.segments.len() <= SEGMENTS_MAX;
            if few { Ok(pattern) } else { Err(format!("has more than {SEGMENTS_MAX} segments")) }
        });
        wrong.take(&format!("{at}.{field}"), result)
    }

    /// Compiles a match of gRPC methods: the paths that gRPC calls them by.
    pub(crate) fn of_grpc(grpc: &GrpcMatch, at: &str, wrong: &mut Violations) -> Option<Self> {
        let is_part = |part: &str| {
            part.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        };
        let fits = |name: &str| name.len() <= PATH_BYTES_MAX && name.split('.').all(is_part);
        let before = wrong.len();
        let text = "must be the full name of a gRPC service, such as `acme.shop.v1.ShopService`";
        wrong.check(fits(&grpc.service), &format!("{at}.service"), text);
        let method_fits = grpc.method.is_empty() || (is_part(&grpc.method) && grpc.method.len() <= PATH_BYTES_MAX);
        wrong.check(method_fits, &format!("{at}.method"), "must be the name of a method, such as `GetItem`");
        let method = match grpc.method.as_str() {
            "" => Segment::Any,
            name => Segment::Literal(name.to_owned()),
        };
        let segments = Box::new([Segment::Literal(grpc.service.clone()), method]);
        (wrong.len() == before).then_some(Self { segments, verb: None, variables: Box::default(), is_prefix: false })
    }

    /// Whether it is more specific than another: greater is. First a verb, then segment by segment.
    pub(crate) fn cmp_specific(&self, other: &Self) -> Ordering {
        let verbs = self.verb.is_some().cmp(&other.verb.is_some());
        verbs.then_with(|| self.ranks().cmp(other.ranks()))
    }

    fn ranks(&self) -> impl Iterator<Item = u8> {
        const END: u8 = 4;
        let ranks = self.segments.iter().map(|segment| match segment {
            Segment::Literal(_) => 3,
            Segment::Any => 2,
            Segment::Rest => 1,
        });
        ranks.chain((self.segments.last() != Some(&Segment::Rest)).then_some(END))
    }

    /// How many segments of a path a prefix takes.
    pub(crate) fn prefix_len(&self) -> usize {
        self.segments.iter().take_while(|segment| **segment != Segment::Rest).count()
    }
}

fn literal(text: &str) -> Result<PathPattern, String> {
    let segments = segments(text)?.into_iter().map(Segment::Literal).collect();
    Ok(PathPattern { segments, verb: None, variables: Box::default(), is_prefix: false })
}

fn prefix(text: &str) -> Result<PathPattern, String> {
    // `/api` and `/api/` are the same prefix.
    let mut literals = segments(text)?;
    if literals.last().is_some_and(String::is_empty) {
        literals.pop();
    }
    if literals.iter().any(String::is_empty) {
        return Err(format!("is `{text}`, must not have an empty segment"));
    }
    let segments = literals.into_iter().map(Segment::Literal).chain([Segment::Rest]).collect();
    Ok(PathPattern { segments, verb: None, variables: Box::default(), is_prefix: true })
}

fn template(text: &str) -> Result<PathPattern, String> {
    let Template { segments, verb, mut variables } = Template::parse(text).map_err(|error| error.reason)?;
    variables.iter_mut().for_each(|variable| variable.field_path.shrink_to_fit());
    let (segments, verb, variables) = (segments.into(), verb.map(Into::into), variables.into());
    Ok(PathPattern { segments, verb, variables, is_prefix: false })
}

/// The decoded segments of a path.
fn segments(text: &str) -> Result<Vec<String>, String> {
    if text.len() > PATH_BYTES_MAX {
        return Err(format!("has more than {PATH_BYTES_MAX} bytes"));
    }
    let rest = text.strip_prefix('/').ok_or_else(|| format!("is `{text}`, must begin with `/`"))?;
    if rest.contains(['?', '#']) || rest.chars().any(|c| c.is_ascii_control() || c == ' ') {
        return Err(format!("is `{text}`, must be a path without query, fragment and spaces"));
    }
    rest.split('/')
        .map(|segment| {
            let decoded = percent::decode(segment, Mode::Segment).map(std::borrow::Cow::into_owned);
            decoded.ok_or_else(|| format!("is `{text}`, which is not valid percent-encoding"))
        })
        .collect()
}
