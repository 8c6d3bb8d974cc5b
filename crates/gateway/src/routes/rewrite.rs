//! How the path of a request is changed.

use http::{Uri, uri::PathAndQuery};
use mcp_proto::{
    Error,
    gateway::v1::{Rewrite as Wire, rewrite::Kind},
};

use super::{path::PathPattern, violations::Violations};

/// Longest replacement, in bytes.
const TEXT_BYTES_MAX: usize = 1_000;

/// How a path is changed.
#[derive(Debug, Clone)]
pub(crate) enum Rewrite {
    /// The first so many segments give way to this text, which has no slash at its end.
    Prefix {
        /// Segments that go.
        skip: usize,
        /// What comes in their place.
        with: String,
    },
    /// The whole path is made of these parts.
    Path(Vec<Part>),
    /// The first of a gRPC path's two segments gives way.
    Service(String),
}

/// A part of a path that is put together.
#[derive(Debug, Clone)]
pub(crate) enum Part {
    /// This text.
    Text(String),
    /// Segments of the path that was asked for: the first, and how many; `None`: all from there on.
    Segments(usize, Option<usize>),
}

impl Rewrite {
    /// Compiles a rewrite of what `pattern` accepts; `at` is its path in the record.
    pub(crate) fn compile(
        wire: &Wire,
        pattern: Option<&PathPattern>,
        at: &str,
        wrong: &mut Violations,
    ) -> Option<Self> {
        let (field, result) = match wire.kind.as_ref()? {
            Kind::Prefix(text) => ("prefix", prefix(text, pattern)),
            Kind::Path(text) => ("path", parts(text, pattern).map(Self::Path)),
            Kind::GrpcService(name) => ("grpc_service", service(name)),
        };
        wrong.take(&format!("{at}.{field}"), result)
    }

    /// The path in its new form, with the query as it was.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` when the two do not make a path; only a hostile path does that.
    pub(crate) fn apply(&self, uri: &Uri) -> Result<PathAndQuery, Error> {
        let mut text = self.path(uri.path());
        if let Some(query) = uri.query() {
            text.push('?');
            text.push_str(query);
        }
        PathAndQuery::from_maybe_shared(text)
            .map_err(|error| Error::invalid("path", format!("is not a path after it was rewritten: {error}")))
    }

    /// The path in its new form.
    pub(crate) fn path(&self, path: &str) -> String {
        let segments: Vec<&str> = path.strip_prefix('/').unwrap_or(path).split('/').collect();
        match self {
            Self::Prefix { skip, with } => {
                let rest = segments.get(*skip..).unwrap_or_default();
                match (with.as_str(), rest) {
                    ("", []) => "/".to_owned(),
                    (with, []) => with.to_owned(),
                    (with, rest) => format!("{with}/{}", rest.join("/")),
                }
            }
            Self::Path(parts) => parts
                .iter()
                .map(|part| match part {
                    Part::Text(text) => text.clone(),
                    Part::Segments(start, len) => {
                        let end = len.map_or(segments.len(), |len| start + len);
                        segments.get(*start..end).unwrap_or_default().join("/")
                    }
                })
                .collect(),
            Self::Service(name) => format!("/{name}/{}", segments.get(1..).unwrap_or_default().join("/")),
        }
    }

    /// The gRPC service that is called in place of the one in the path.
    pub(crate) fn service(&self) -> Option<&str> {
        match self {
            Self::Service(name) => Some(name),
            Self::Prefix { .. } | Self::Path(_) => None,
        }
    }
}

fn prefix(text: &str, pattern: Option<&PathPattern>) -> Result<Rewrite, String> {
    let Some(pattern) = pattern.filter(|pattern| pattern.is_prefix) else {
        return Err("needs `match.path.prefix`: that is what it replaces".into());
    };
    check(text)?;
    Ok(Rewrite::Prefix { skip: pattern.prefix_len(), with: text.trim_end_matches('/').to_owned() })
}

fn service(name: &str) -> Result<Rewrite, String> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_');
    if name.is_empty() || name.len() > TEXT_BYTES_MAX || !name.chars().all(is_name) {
        return Err("must be the full name of a gRPC service, such as `acme.shop.v2.ShopService`".into());
    }
    Ok(Rewrite::Service(name.to_owned()))
}

/// The parts of `/a/{name}/b`.
fn parts(text: &str, pattern: Option<&PathPattern>) -> Result<Vec<Part>, String> {
    check(text)?;
    let (mut parts, mut rest) = (Vec::new(), text);
    while let Some((before, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}').ok_or_else(|| format!("is `{text}`, which lacks a `}}`"))?;
        let variables = pattern.map(|pattern| &*pattern.variables).unwrap_or_default();
        let variable = variables.iter().find(|variable| variable.field_path.join(".") == name);
        let variable =
            variable.ok_or_else(|| format!("names `{{{name}}}`, which `match.path.template` does not have"))?;
        if !before.is_empty() {
            parts.push(Part::Text(before.to_owned()));
        }
        parts.push(Part::Segments(variable.start, variable.len));
        rest = after;
    }
    if !rest.is_empty() {
        parts.push(Part::Text(rest.to_owned()));
    }
    Ok(parts)
}

fn check(text: &str) -> Result<(), String> {
    let fits = text.len() <= TEXT_BYTES_MAX
        && text.starts_with('/')
        && text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#'));
    if fits {
        Ok(())
    } else {
        Err(format!("is `{text}`, must be a path of at most {TEXT_BYTES_MAX} bytes without query"))
    }
}
