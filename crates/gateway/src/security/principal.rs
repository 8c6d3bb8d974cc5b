//! Who calls, and what they may do. Pure.

use std::{collections::BTreeSet, fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Most grants that one principal may have.
pub(crate) const GRANTS_MAX: usize = 64;

/// Longest name of a namespace, as the scheduler has it.
const NAMESPACE_CHARS_MAX: usize = 63;

/// What a caller may do; each includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Reads.
    Viewer,
    /// Changes what runs: tasks, queues, schedules, workflows, registrations.
    Operator,
    /// Changes who may do what, and where calls go: keys, routes, policies.
    Admin,
}

impl Role {
    /// Its name in settings, claims and keys.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Viewer, Self::Operator, Self::Admin]
            .into_iter()
            .find(|role| role.name() == text)
            .ok_or_else(|| format!("`{text}` is not `viewer`, `operator` or `admin`"))
    }
}

/// A role, in one namespace or in all. As text `operator@team`, or `operator` for all.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Grant {
    /// What may be done.
    pub role: Role,
    /// Where; `None`: everywhere, also where there is no namespace.
    pub namespace: Option<String>,
}

impl FromStr for Grant {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (role, namespace) = match text.split_once('@') {
            None => (text, None),
            Some((role, "*")) => (role, None),
            Some((role, namespace)) => (role, Some(namespace)),
        };
        if let Some(namespace) = namespace.filter(|namespace| !is_namespace(namespace)) {
            return Err(format!("`{namespace}` is not a namespace: 1-63 characters of `a-z0-9-`"));
        }
        Ok(Self { role: role.parse()?, namespace: namespace.map(str::to_owned) })
    }
}

/// True for what the scheduler takes as the name of a namespace.
fn is_namespace(text: &str) -> bool {
    (1..=NAMESPACE_CHARS_MAX).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

impl Grant {
    /// True when who has this has `needed` too.
    pub(crate) fn covers(&self, needed: &Self) -> bool {
        self.role >= needed.role && (self.namespace.is_none() || self.namespace == needed.namespace)
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            None => f.write_str(self.role.name()),
            Some(namespace) => write!(f, "{}@{namespace}", self.role.name()),
        }
    }
}

/// All that a principal may do, at most `GRANTS_MAX`. In settings and records a list of texts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grants(Vec<Grant>);

impl Grants {
    /// Sorted, without doubles.
    ///
    /// # Errors
    /// There are more than `GRANTS_MAX`.
    pub fn new(grants: impl IntoIterator<Item = Grant>) -> Result<Self, String> {
        let grants: BTreeSet<Grant> = grants.into_iter().collect();
        if grants.len() > GRANTS_MAX {
            return Err(format!("{} roles are more than {GRANTS_MAX}", grants.len()));
        }
        Ok(Self(grants.into_iter().collect()))
    }

    /// Everything, everywhere.
    pub fn everything() -> Self {
        Self(vec![Grant { role: Role::Admin, namespace: None }])
    }

    /// One after the other.
    pub fn iter(&self) -> impl Iterator<Item = &Grant> {
        self.0.iter()
    }

    /// True when nothing is allowed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Where what `role` stands for is allowed.
    pub(crate) fn reach(&self, role: Role) -> Reach<'_> {
        let held = || self.0.iter().filter(move |grant| grant.role >= role);
        if held().any(|grant| grant.namespace.is_none()) {
            return Reach::Everywhere;
        }
        let namespaces: BTreeSet<&str> = held().filter_map(|grant| grant.namespace.as_deref()).collect();
        if namespaces.is_empty() { Reach::Nowhere } else { Reach::Within(namespaces) }
    }
}

impl<'de> Deserialize<'de> for Grants {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let texts = Vec::<String>::deserialize(deserializer)?;
        let grants: Result<Vec<Grant>, String> = texts.iter().map(|text| text.parse()).collect();
        grants.and_then(Self::new).map_err(serde::de::Error::custom)
    }
}

impl Serialize for Grants {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(ToString::to_string))
    }
}

impl fmt::Display for Grants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&texts.join(" "))
    }
}

/// Where something is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reach<'a> {
    /// Not at all.
    Nowhere,
    /// In these namespaces.
    Within(BTreeSet<&'a str>),
    /// In every namespace, and where there is none.
    Everywhere,
}

/// How a caller proved who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Proof {
    /// Not at all; that is allowed in development, and on routes that are for everybody.
    None,
    /// By the bootstrap key of the settings.
    Bootstrap,
    /// By an API key.
    ApiKey,
    /// By a token of an issuer that we trust.
    Token,
    /// By a certificate.
    Certificate,
}

/// Who calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Principal {
    /// Name, unique among those with the same proof: `key:ID`, `ISSUER#SUBJECT`, the name in the certificate.
    pub(crate) name: Arc<str>,
    /// How that is known.
    pub(crate) proof: Proof,
    /// What they may do.
    pub(crate) grants: Grants,
}

impl Principal {
    /// Whoever comes without credentials where that is allowed.
    pub(crate) fn anonymous() -> Self {
        Self { name: "anonymous".into(), proof: Proof::None, grants: Grants::everything() }
    }

    /// Whoever takes a route that is for everybody, without credentials that we know.
    pub(crate) fn nobody() -> Self {
        Self { name: "nobody".into(), proof: Proof::None, grants: Grants::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grants(texts: &[&str]) -> Grants {
        Grants::new(texts.iter().map(|text| text.parse().unwrap())).unwrap()
    }

    #[test]
    fn grants_have_a_form_for_people() {
        for text in ["viewer", "operator@team-a", "admin"] {
            assert_eq!(text.parse::<Grant>().unwrap().to_string(), text);
        }
        assert_eq!("viewer@*".parse::<Grant>().unwrap().to_string(), "viewer");
        for text in ["", "root", "viewer@", "viewer@A", "@a", "viewer@a b", "Viewer"] {
            assert!(text.parse::<Grant>().is_err(), "{text}");
        }
        let many = (0..=GRANTS_MAX).map(|index| Grant { role: Role::Viewer, namespace: Some(format!("n{index}")) });
        assert!(Grants::new(many).is_err());
    }

    #[test]
    fn a_role_includes_the_lesser_ones_where_it_is_held() {
        let grants = grants(&["operator@a", "viewer@b", "viewer@a"]);
        assert_eq!(grants.reach(Role::Viewer), Reach::Within(["a", "b"].into()));
        assert_eq!(grants.reach(Role::Operator), Reach::Within(["a"].into()));
        assert_eq!(grants.reach(Role::Admin), Reach::Nowhere);
        assert_eq!(Grants::everything().reach(Role::Viewer), Reach::Everywhere);
        assert_eq!(super::Grants::default().reach(Role::Viewer), Reach::Nowhere);
    }
}
