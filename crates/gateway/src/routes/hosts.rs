//! Which hosts a route is for, and finding what lies under a host at a cost that does not grow with their number.

use std::borrow::Cow;

use http::{HeaderMap, Uri, header};

use super::{
    arena::{Arena, Id},
    texts::Texts,
};

/// Longest host, in bytes. Source: RFC 1035, section 2.3.4.
const HOST_BYTES_MAX: usize = 253;

/// What names are kept under: those of hosts, and those that hosts lie below.
const EXACT: u32 = 0;
const BELOW: u32 = 1;

/// Hosts that a route is for. Greater is more specific.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum HostPattern {
    /// Every host.
    Any,
    /// Every name below this one: labels, and the name without `*.`.
    Below(usize, String),
    /// This host.
    Exact(String),
}

impl HostPattern {
    /// Reads `api.example.com` or `*.example.com`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let lower = text.to_ascii_lowercase();
        let (is_wildcard, name) = lower.strip_prefix("*.").map_or((false, lower.as_str()), |name| (true, name));
        let is_label = |label: &str| {
            !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        };
        let is_address = name.starts_with('[') && name.ends_with(']') && !is_wildcard;
        if name.len() > HOST_BYTES_MAX || !(is_address || name.split('.').all(is_label)) {
            return Err(format!(
                "is `{text}`, must be a host such as `api.example.com` or `*.example.com`, without port"
            ));
        }
        Ok(if is_wildcard { Self::Below(name.split('.').count(), name.to_owned()) } else { Self::Exact(lower) })
    }
}

/// A `T` for each host pattern.
#[derive(Debug, Default)]
pub(super) struct Hosts<T> {
    names: Texts,
    items: Arena<T>,
    any: T,
    has_below: bool,
}

impl<T: Default> Hosts<T> {
    /// What lies under a pattern.
    pub(super) fn get_mut(&mut self, pattern: &HostPattern) -> &mut T {
        let (under, name) = match pattern {
            HostPattern::Any => return &mut self.any,
            HostPattern::Below(_, name) => (BELOW, name),
            HostPattern::Exact(name) => (EXACT, name),
        };
        self.has_below |= under == BELOW;
        let id = self.names.get_or_insert_with(under, name, || self.items.push(T::default()));
        &mut self.items[id]
    }

    /// Shows everything that lies over a host, which is in small letters and has no port.
    pub(super) fn visit<'t>(&'t self, host: &str, mut visit: impl FnMut(&'t T)) {
        let item = |id: Id| &self.items[id];
        if let Some(found) = self.names.get(EXACT, host).map(item) {
            visit(found);
        }
        let mut rest = host;
        while let Some((_, name)) = rest.split_once('.').filter(|_| self.has_below) {
            if let Some(found) = self.names.get(BELOW, name).map(item) {
                visit(found);
            }
            rest = name;
        }
        visit(&self.any);
    }

    /// True when no pattern names a host: then none has to be looked for.
    pub(super) fn is_any_only(&self) -> bool {
        self.names.is_empty()
    }

    /// Gives back the room for hosts to come.
    pub(super) fn shrink_to_fit(&mut self) {
        self.names.shrink_to_fit();
        self.items.shrink_to_fit();
    }
}

/// The host that a request is for, in small letters and without port; empty when it names none.
pub(crate) fn host_of<'r>(uri: &'r Uri, headers: &'r HeaderMap) -> Cow<'r, str> {
    let host = authority(uri, headers);
    let without_port = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.ends_with(':') => name,
        _ => host,
    };
    let name = without_port.trim_end_matches('.');
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    }
}

/// The host that a request is for, as it was written; empty when it names none.
pub(crate) fn authority<'r>(uri: &'r Uri, headers: &'r HeaderMap) -> &'r str {
    match uri.authority() {
        Some(authority) => authority.as_str().rsplit('@').next().unwrap_or_default(),
        None => headers.get(header::HOST).and_then(|value| value.to_str().ok()).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_read_and_compared() {
        for (text, expected) in [
            ("API.example.com", Some(HostPattern::Exact("api.example.com".into()))),
            ("*.example.com", Some(HostPattern::Below(2, "example.com".into()))),
            ("[::1]", Some(HostPattern::Exact("[::1]".into()))),
            ("localhost", Some(HostPattern::Exact("localhost".into()))),
            ("", None),
            ("*", None),
            ("a.*.com", None),
            ("host:80", None),
            ("a..b", None),
            ("https://a.b", None),
        ] {
            assert_eq!(HostPattern::parse(text).ok(), expected, "{text}");
        }
        assert!(HostPattern::Exact("a".into()) > HostPattern::Below(9, "a".into()));
        assert!(HostPattern::Below(3, "a.b.c".into()) > HostPattern::Below(2, "z.z".into()));
        assert!(HostPattern::Below(1, "a".into()) > HostPattern::Any);
    }

    #[test]
    fn the_host_of_a_request_has_no_port() {
        for (host, expected) in [
            ("API.Example.com:8080", "api.example.com"),
            ("example.com.", "example.com"),
            ("[::1]:80", "[::1]"),
            ("[::1]", "[::1]"),
            ("localhost", "localhost"),
        ] {
            let headers = HeaderMap::from_iter([(header::HOST, host.parse().unwrap())]);
            assert_eq!(host_of(&Uri::from_static("/x"), &headers), expected, "{host}");
            let uri = format!("http://{host}/x").parse().unwrap();
            assert_eq!(host_of(&uri, &HeaderMap::new()), expected, "{host}");
        }
    }

    #[test]
    fn everything_over_a_host_is_found() {
        let mut hosts: Hosts<&str> = Hosts::default();
        for text in ["a.b.c", "*.b.c", "*.c"] {
            *hosts.get_mut(&HostPattern::parse(text).unwrap()) = text;
        }
        *hosts.get_mut(&HostPattern::Any) = "any";
        let over = |host: &str| {
            let mut found = Vec::new();
            hosts.visit(host, |text| found.push(*text));
            found
        };
        assert_eq!(over("a.b.c"), ["a.b.c", "*.b.c", "*.c", "any"]);
        assert_eq!(over("x.a.b.c"), ["*.b.c", "*.c", "any"]);
        assert_eq!(over("b.c"), ["*.c", "any"]);
        assert_eq!(over("c"), ["any"]);
    }
}
