//! One version of the crates whose types cross our own crates' borders.

use std::collections::BTreeMap;

/// Two versions of one of these would be two sets of types that do not fit together.
const SINGLE: [&str; 8] = ["http", "hyper", "opentelemetry", "opentelemetry_sdk", "prost", "rustls", "tonic", "tower"];

/// What is wrong with a lock file.
pub(crate) fn check(lock: &str) -> Vec<String> {
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for package in lock.split("[[package]]").skip(1) {
        let field = |name: &str| {
            let mut lines = package.lines().filter_map(|line| line.split_once(" = "));
            lines.find(|(key, _)| *key == name).map(|(_, value)| value.trim_matches('"'))
        };
        if let (Some(name), Some(version)) = (field("name"), field("version")) {
            versions.entry(name).or_default().push(version);
        }
    }
    SINGLE
        .iter()
        .filter_map(|name| versions.get(name).filter(|found| found.len() > 1).map(|found| (name, found)))
        .map(|(name, found)| format!("`{name}` is there in {} versions: {}", found.len(), found.join(", ")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::check;

    fn lock(packages: &[(&str, &str)]) -> String {
        packages
            .iter()
            .map(|(name, version)| format!("[[package]]\nname = \"{name}\"\nversion = \"{version}\"\n\n"))
            .collect()
    }

    #[test]
    fn two_versions_of_a_single_crate_are_a_fault() {
        let faults = check(&lock(&[("tonic", "0.14.9"), ("syn", "2.0.0"), ("tonic", "0.13.1"), ("syn", "3.0.0")]));
        assert_eq!(faults, ["`tonic` is there in 2 versions: 0.14.9, 0.13.1"]);
    }

    #[test]
    fn one_version_of_each_is_fine() {
        assert!(check(&lock(&[("tonic", "0.14.9"), ("http", "1.5.0")])).is_empty());
    }
}
