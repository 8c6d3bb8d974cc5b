//! Names of topics, and patterns that stand for many of them. Pure.
//!
//! A topic is levels between slashes: `tasks/default/0190…`. In a pattern `*` stands for one level, whatever it is, and `#`
//! at the end for all further ones, also for none.

use std::collections::BTreeSet;

use mcp_proto::Error;

use crate::security::principal::{Grants, Reach, Role};

/// Most levels.
const LEVELS_MAX: usize = 16;
/// Longest level, in bytes.
const LEVEL_BYTES_MAX: usize = 63;

/// First levels of topics that only the platform publishes to. The level after the first of these two is a namespace.
pub(crate) const TASKS: &str = "tasks";
/// The topics of workflows.
pub(crate) const WORKFLOWS: &str = "workflows";
/// The topics of services, which belong to no namespace.
pub(crate) const SERVICES: &str = "services";

/// Which topics a subscription is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pattern(Box<str>);

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT`, with what is wrong.
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        let count = text.split('/').count();
        for (at, level) in text.split('/').enumerate() {
            let is_fine = level == "*" || is_level(level) || (level == "#" && at + 1 == count);
            if !is_fine || count > LEVELS_MAX {
                let text = format!(
                    "must be 1 to {LEVELS_MAX} levels between slashes: `*`, at the end `#`, or up to {LEVEL_BYTES_MAX} of \
                     `A-Za-z0-9._-`"
                );
                return Err(Error::invalid("topic", text));
            }
        }
        Ok(Self(text.into()))
    }

    /// As it was written.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The first level, unless it stands for more than one.
    pub(crate) fn root(&self) -> Option<&str> {
        self.literal(0)
    }

    /// True when a topic is one of these.
    pub(crate) fn matches(&self, topic: &str) -> bool {
        let mut levels = topic.split('/');
        for wanted in self.0.split('/') {
            match (wanted, levels.next()) {
                ("#", _) | ("*", Some(_)) => {}
                (wanted, Some(level)) if wanted == level => {}
                (_, Some(_) | None) => return false,
            }
            if wanted == "#" {
                return true;
            }
        }
        levels.next().is_none()
    }

    /// True when topics that begin with `root` may be among these.
    pub(crate) fn may_match(&self, root: &str) -> bool {
        self.root().is_none_or(|own| own == root)
    }

    /// The namespace that all of these lie in, if they lie in one.
    fn namespace(&self) -> Option<&str> {
        match self.root()? {
            SERVICES => None,
            TASKS | WORKFLOWS => self.literal(1),
            root => Some(root),
        }
    }

    fn literal(&self, at: usize) -> Option<&str> {
        self.0.split('/').nth(at).filter(|level| !matches!(*level, "*" | "#"))
    }
}

/// The namespace that a topic lies in.
pub(crate) fn namespace_of(topic: &str) -> Option<&str> {
    let mut levels = topic.split('/');
    match levels.next()? {
        SERVICES => None,
        TASKS | WORKFLOWS => levels.next(),
        root => Some(root),
    }
}

/// Checks a topic to which callers publish.
///
/// # Errors
/// `INVALID_ARGUMENT`, with what is wrong.
pub(crate) fn check(topic: &str) -> Result<(), Error> {
    let count = topic.split('/').count();
    if count > LEVELS_MAX || !topic.split('/').all(is_level) {
        let text = format!(
            "must be 1 to {LEVELS_MAX} levels between slashes, each of 1 to {LEVEL_BYTES_MAX} characters of `A-Za-z0-9._-`"
        );
        return Err(Error::invalid("topic", text));
    }
    if topic.split('/').next().is_some_and(|root| [TASKS, WORKFLOWS, SERVICES].contains(&root)) {
        return Err(Error::invalid("topic", "belongs to the platform: only it publishes there"));
    }
    Ok(())
}

fn is_level(text: &str) -> bool {
    (1..=LEVEL_BYTES_MAX).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

/// What a subscriber may see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Sees {
    /// Everything.
    All,
    /// What lies in these namespaces, and what lies in none.
    Namespaces(BTreeSet<String>),
}

impl Sees {
    /// What these grants let a subscriber of a pattern see.
    ///
    /// # Errors
    /// `PERMISSION_DENIED`: nothing of it.
    pub(crate) fn of(grants: &Grants, pattern: &Pattern) -> Result<Self, Error> {
        let denied = |place: &str| {
            let text = format!("the topic `{}` needs the role viewer{place}", pattern.as_str());
            Error::new(mcp_proto::Code::PermissionDenied, text).with_metadata("role", Role::Viewer.name())
        };
        match grants.reach(Role::Viewer) {
            Reach::Everywhere => Ok(Self::All),
            Reach::Nowhere => Err(denied("")),
            Reach::Within(namespaces) => match pattern.namespace() {
                Some(wanted) if !namespaces.contains(wanted) => Err(denied(&format!(" in the namespace `{wanted}`"))),
                _ => Ok(Self::Namespaces(namespaces.into_iter().map(str::to_owned).collect())),
            },
        }
    }

    /// True when a topic may be seen.
    pub(crate) fn allows(&self, topic: &str) -> bool {
        match self {
            Self::All => true,
            Self::Namespaces(namespaces) => namespace_of(topic).is_none_or(|namespace| namespaces.contains(namespace)),
        }
    }
}

#[cfg(test)]
mod tests {
    use mcp_proto::Code;

    use super::*;

    #[test]
    fn a_star_is_one_level_and_a_hash_the_rest() {
        for (pattern, topic, expected) in [
            ("tasks/default/*", "tasks/default/7", true),
            ("tasks/default/*", "tasks/default", false),
            ("tasks/default/*", "tasks/default/7/8", false),
            ("tasks/*/7", "tasks/a/7", true),
            ("tasks/*/7", "tasks/a/8", false),
            ("tasks/#", "tasks/a/7", true),
            ("tasks/#", "tasks", true),
            ("tasks/#", "task", false),
            ("#", "a", true),
            ("*", "a", true),
            ("*", "a/b", false),
            ("a/b", "a/b", true),
            ("a/b", "a/bc", false),
            ("a/*/c/#", "a/b/c", true),
            ("a/*/c/#", "a/b/c/d/e", true),
            ("a/*/c/#", "a/b", false),
        ] {
            assert_eq!(Pattern::parse(pattern).unwrap().matches(topic), expected, "{pattern} {topic}");
        }
        for text in ["", "/", "a//b", "a/", "#/a", "a/#/b", "a b", "a*", "ä", &"x".repeat(64), &["x"; 17].join("/")] {
            assert_eq!(Pattern::parse(text).unwrap_err().code(), Code::InvalidArgument, "{text}");
        }
    }

    #[test]
    fn callers_publish_to_topics_of_their_own() {
        for topic in ["orders", "orders/eu-1/created", &["x"; 16].join("/")] {
            assert_eq!(check(topic), Ok(()), "{topic}");
        }
        for topic in ["", "a/", "a/*", "#", "tasks", "tasks/x/y", "workflows/a", "services/x", &["x"; 17].join("/")] {
            assert_eq!(check(topic).unwrap_err().code(), Code::InvalidArgument, "{topic}");
        }
    }

    #[test]
    fn a_subscriber_sees_the_namespaces_that_it_may_view() {
        let sees = |grants: &[&str], pattern: &str| {
            let grants = Grants::new(grants.iter().map(|text| text.parse().unwrap())).unwrap();
            Sees::of(&grants, &Pattern::parse(pattern).unwrap()).map_err(|error| error.code())
        };
        assert_eq!(sees(&["viewer"], "#"), Ok(Sees::All));
        assert_eq!(sees(&[], "services/#"), Err(Code::PermissionDenied));
        for pattern in ["tasks/b/*", "workflows/b/#", "b", "b/#"] {
            assert_eq!(sees(&["operator@a"], pattern), Err(Code::PermissionDenied), "{pattern}");
        }
        for pattern in ["tasks/a/*", "tasks/*/7", "#", "*/x", "services/#", "a/b", "tasks/#"] {
            let seen = sees(&["operator@a"], pattern).unwrap();
            for (topic, expected) in [
                ("tasks/a/7", true),
                ("tasks/b/7", false),
                ("workflows/a/7", true),
                ("workflows/b/7", false),
                ("services/x", true),
                ("a/x", true),
                ("b/x", false),
            ] {
                assert_eq!(seen.allows(topic), expected, "{pattern} {topic}");
            }
        }
    }
}
