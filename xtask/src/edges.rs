//! Who may depend on whom. Edges point down; services never depend on each other.

use crate::workspace::{Kind, Package};

/// What a service may use.
const SERVICE: &[&str] = &["mcp-client", "mcp-coord", "mcp-chassis", "mcp-proto"];

/// Every crate of the workspace, and the crates of the workspace it may depend on.
const ALLOWED: &[(&str, &[&str])] = &[
    ("mcp-proto", &[]),
    ("mcp-engine", &[]),
    ("mcp-flow", &[]),
    ("mcp-cron", &[]),
    ("mcp-coord", &["mcp-proto"]),
    ("mcp-chassis", &["mcp-coord", "mcp-proto"]),
    ("mcp-client", &["mcp-coord", "mcp-proto"]),
    ("gateway", SERVICE),
    ("registry", SERVICE),
    ("scheduler", &["mcp-client", "mcp-coord", "mcp-chassis", "mcp-proto", "mcp-engine", "mcp-flow", "mcp-cron"]),
    ("worker", SERVICE),
    ("mcp", EVERYTHING),
    ("embedded-scheduler", &["scheduler", "mcp-client", "mcp-proto"]),
    ("log-report", EVERYTHING),
    ("mcp-bench", &["gateway-bench", "mcp", "mcp-client", "mcp-coord", "mcp-proto", TESTKIT]),
    ("gateway-bench", &["mcp-coord", "mcp-proto", TESTKIT]),
    ("testkit", &[]),
    ("dice", &[]),
    ("xtask", &[]),
    ("protoc-shim", &[]),
];

/// What those at the top may use: all but the tools.
const EVERYTHING: &[&str] = &[
    "mcp",
    "mcp-client",
    "mcp-coord",
    "mcp-chassis",
    "mcp-engine",
    "mcp-flow",
    "mcp-cron",
    "mcp-proto",
    "gateway",
    "registry",
    "scheduler",
    "worker",
];

/// What tests share: a development dependency of anything but the tools. The benchmarks start servers with it too.
const TESTKIT: &str = "testkit";

/// What simulations share: a development dependency, too.
const DICE: &str = "dice";

/// Crates from outside that only some may use: the crate, and who.
const RESERVED: &[(&str, &[&str])] = &[("etcd-client", &["mcp-coord"])];

/// Crates from outside that some must not use, not even in tests: the crate, and who. The engine and the crates beside
/// it have no clock, no randomness and no I/O, so that a seed means the same run for ever.
const FORBIDDEN: &[(&str, &[&str])] = &[
    ("mcp-engine", &["tokio", "tonic", "rand"]),
    ("mcp-cron", &["tokio", "tonic", "rand"]),
    ("mcp-flow", &["tokio", "tonic", "rand"]),
];

/// Every edge that is not allowed, in words.
pub(crate) fn check(packages: &[Package]) -> Vec<String> {
    packages.iter().flat_map(faults_of).collect()
}

fn faults_of(package: &Package) -> Vec<String> {
    let Some((_, allowed)) = ALLOWED.iter().find(|(name, _)| *name == package.name) else {
        return vec![format!("`{}` is not in the list of xtask/src/edges.rs", package.name)];
    };
    let mut faults = Vec::new();
    for dependency in &package.dependencies {
        let name = dependency.name.as_str();
        let fits = if !dependency.is_ours {
            !is_reserved(name, &package.name) && !is_forbidden(name, &package.name)
        } else if name == TESTKIT || name == DICE {
            dependency.kind == Kind::Dev || allowed.contains(&name)
        } else {
            // A crate may name itself for its tests, to switch features on.
            allowed.contains(&name) || (dependency.kind == Kind::Dev && name == package.name)
        };
        if !fits {
            faults.push(format!("`{}` must not depend on `{name}` ({:?})", package.name, dependency.kind));
        }
    }
    faults
}

fn is_reserved(dependency: &str, package: &str) -> bool {
    RESERVED.iter().any(|(name, users)| *name == dependency && !users.contains(&package))
}

fn is_forbidden(dependency: &str, package: &str) -> bool {
    FORBIDDEN.iter().any(|(name, banned)| *name == package && banned.contains(&dependency))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::Dependency;

    const OURS: bool = true;
    const THEIRS: bool = false;

    fn faults(package: &str, dependency: &str, kind: Kind, is_ours: bool) -> usize {
        let dependencies = vec![Dependency { name: dependency.to_owned(), kind, is_ours }];
        check(&[Package { name: package.to_owned(), dependencies, takes_lints: true }]).len()
    }

    #[test]
    fn edges_that_point_down_are_allowed() {
        for (package, dependency, kind, is_ours) in [
            ("scheduler", "mcp-engine", Kind::Normal, OURS),
            ("scheduler", "mcp-chassis", Kind::Normal, OURS),
            ("mcp-chassis", "mcp-coord", Kind::Normal, OURS),
            ("mcp", "gateway", Kind::Normal, OURS),
            ("gateway", "testkit", Kind::Dev, OURS),
            ("mcp-engine", "dice", Kind::Dev, OURS),
            ("mcp-bench", "testkit", Kind::Normal, OURS),
            ("mcp-coord", "mcp-coord", Kind::Dev, OURS),
            ("mcp-coord", "etcd-client", Kind::Normal, THEIRS),
            ("mcp-engine", "proptest", Kind::Dev, THEIRS),
            ("scheduler", "tokio", Kind::Normal, THEIRS),
        ] {
            assert_eq!(faults(package, dependency, kind, is_ours), 0, "{package} -> {dependency} ({kind:?})");
        }
    }

    #[test]
    fn every_other_edge_is_a_fault() {
        for (package, dependency, kind, is_ours) in [
            ("gateway", "scheduler", Kind::Normal, OURS),
            ("gateway", "scheduler", Kind::Dev, OURS),
            ("gateway", "mcp-engine", Kind::Normal, OURS),
            ("mcp-proto", "mcp-chassis", Kind::Build, OURS),
            ("mcp-client", "mcp-chassis", Kind::Normal, OURS),
            ("gateway", "testkit", Kind::Normal, OURS),
            ("mcp-engine", "dice", Kind::Normal, OURS),
            ("testkit", "scheduler", Kind::Normal, OURS),
            ("scheduler", "mcp", Kind::Normal, OURS),
            ("scheduler", "etcd-client", Kind::Dev, THEIRS),
            ("mcp-engine", "tokio", Kind::Normal, THEIRS),
            ("mcp-engine", "tonic", Kind::Normal, THEIRS),
            ("mcp-engine", "rand", Kind::Dev, THEIRS),
            ("newcomer", "mcp-proto", Kind::Normal, OURS),
        ] {
            assert_eq!(faults(package, dependency, kind, is_ours), 1, "{package} -> {dependency} ({kind:?})");
        }
    }

    #[test]
    fn the_list_itself_has_no_circle() {
        // A crate can be taken away once all it depends on has been; in the end none is left.
        let mut left: Vec<_> = ALLOWED.to_vec();
        while let Some(at) = left.iter().position(|(name, below)| {
            below.iter().all(|below| below == name || !left.iter().any(|(other, _)| other == below))
        }) {
            left.remove(at);
        }
        assert!(left.is_empty(), "in a circle: {left:?}");
    }
}
