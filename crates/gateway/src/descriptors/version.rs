//! Which of two versions is the newer one. Pure.

/// What a semantic version is compared by. Source: <https://semver.org/#spec-item-11>.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Precedence {
    numbers: [u64; 3],
    stage: Stage,
}

/// A version before a release is older than the release.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Before(Vec<Identifier>),
    Release,
}

/// Numbers come before texts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Identifier {
    Number(u64),
    Text(String),
}

impl Precedence {
    /// That of a text such as `1.4.0-rc.1+build`; a `v` in front and numbers that are missing do not matter. `None`: it is
    /// no semantic version, and older than each that is one.
    pub(crate) fn of(version: &str) -> Option<Self> {
        let version = version.strip_prefix('v').unwrap_or(version);
        let (version, _build) = version.split_once('+').unwrap_or((version, ""));
        let (release, before) = match version.split_once('-') {
            Some((release, before)) => (release, Some(before)),
            None => (version, None),
        };
        let mut numbers = [0; 3];
        let mut parts = release.split('.');
        for (index, part) in parts.by_ref().take(numbers.len()).enumerate() {
            numbers[index] = number(part)?;
        }
        if parts.next().is_some() {
            return None;
        }
        let stage = match before {
            None => Stage::Release,
            Some(before) => Stage::Before(before.split('.').map(identifier).collect::<Option<_>>()?),
        };
        Some(Self { numbers, stage })
    }
}

fn number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

fn identifier(text: &str) -> Option<Identifier> {
    let is_known = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    if text.is_empty() || !text.bytes().all(is_known) {
        return None;
    }
    Some(number(text).map_or_else(|| Identifier::Text(text.to_owned()), Identifier::Number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_as_the_standard_says() {
        let ordered = [
            "nightly",
            "0.9.9",
            "1.0.0-alpha",
            "1.0.0-alpha.1",
            "1.0.0-alpha.beta",
            "1.0.0-beta.2",
            "1.0.0-beta.11",
            "1.0.0-rc.1",
            "1.0.0",
            "v1.0.1",
            "1.2",
            "1.10.0",
            "2",
        ];
        for pair in ordered.windows(2) {
            assert!(Precedence::of(pair[0]) < Precedence::of(pair[1]), "{pair:?}");
        }
        assert_eq!(Precedence::of("1.2.0+a"), Precedence::of("1.2.0+b"), "a build is no version");
        for none in ["", "1..2", "1.2.3.4", "1.x", "1.0.0-", "1.0.0-a..b", "99999999999999999999"] {
            assert_eq!(Precedence::of(none), None, "{none}");
        }
    }
}
