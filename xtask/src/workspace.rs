//! The crates of the workspace and what they depend on, as cargo tells it.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, ensure};
use serde_json::Value;

/// What a dependency is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The crate itself.
    Normal,
    /// Its tests, examples and benchmarks.
    Dev,
    /// Its build script.
    Build,
}

/// A dependency as the manifest names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Dependency {
    /// Name of the package.
    pub(crate) name: String,
    /// What it is for.
    pub(crate) kind: Kind,
    /// Whether it lies in this workspace.
    pub(crate) is_ours: bool,
}

/// A crate of the workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Package {
    /// Its name.
    pub(crate) name: String,
    /// All its dependencies.
    pub(crate) dependencies: Vec<Dependency>,
    /// Whether its manifest takes the workspace's lints.
    pub(crate) takes_lints: bool,
}

/// All crates of the workspace at `root`.
pub(crate) fn packages(root: &Path) -> anyhow::Result<Vec<Package>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .current_dir(root)
        .output()
        .context("cargo metadata cannot be run")?;
    ensure!(output.status.success(), "cargo metadata failed:\n{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).context("cargo metadata is not JSON")?;
    parse(&metadata)?
        .into_iter()
        .map(|(mut package, manifest)| {
            let text = fs::read_to_string(&manifest).with_context(|| format!("`{manifest}` cannot be read"))?;
            package.takes_lints = takes_lints(&text).with_context(|| format!("`{manifest}` is not TOML"))?;
            Ok(package)
        })
        .collect()
}

/// The packages in cargo's answer, each with the path of its manifest.
fn parse(metadata: &Value) -> anyhow::Result<Vec<(Package, String)>> {
    let packages = metadata["packages"].as_array().context("no `packages`")?;
    packages
        .iter()
        .map(|package| {
            let dependencies = package["dependencies"].as_array().context("no `dependencies`")?;
            let package_of = Package {
                name: text(package, "name")?,
                dependencies: dependencies.iter().map(dependency).collect::<anyhow::Result<_>>()?,
                takes_lints: false,
            };
            Ok((package_of, text(package, "manifest_path")?))
        })
        .collect()
}

fn dependency(value: &Value) -> anyhow::Result<Dependency> {
    let kind = match value["kind"].as_str() {
        None => Kind::Normal,
        Some("dev") => Kind::Dev,
        Some("build") => Kind::Build,
        Some(other) => anyhow::bail!("unknown kind of dependency `{other}`"),
    };
    Ok(Dependency { name: text(value, "name")?, kind, is_ours: value["path"].is_string() })
}

fn text(value: &Value, key: &str) -> anyhow::Result<String> {
    Ok(value[key].as_str().with_context(|| format!("no `{key}`"))?.to_owned())
}

fn takes_lints(manifest: &str) -> Result<bool, toml::de::Error> {
    let manifest: toml::Table = manifest.parse()?;
    let lints = manifest.get("lints").and_then(|lints| lints.get("workspace"));
    Ok(lints.and_then(toml::Value::as_bool) == Some(true))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn cargos_answer_becomes_packages() {
        let metadata = json!({"packages": [{
            "name": "scheduler",
            "manifest_path": "/x/Cargo.toml",
            "dependencies": [
                {"name": "mcp-proto", "kind": null, "path": "/y"},
                {"name": "tokio", "kind": "dev"},
                {"name": "protox", "kind": "build"},
            ],
        }]});
        let (package, manifest) = parse(&metadata).unwrap().remove(0);
        let dependency = |name: &str, kind, is_ours| Dependency { name: name.to_owned(), kind, is_ours };
        let expected = [
            dependency("mcp-proto", Kind::Normal, true),
            dependency("tokio", Kind::Dev, false),
            dependency("protox", Kind::Build, false),
        ];
        assert_eq!((package.name.as_str(), manifest.as_str()), ("scheduler", "/x/Cargo.toml"));
        assert_eq!(package.dependencies, expected);
    }

    #[test]
    fn an_answer_of_another_shape_is_an_error() {
        assert!(parse(&json!({})).is_err());
        assert!(dependency(&json!({"name": "x", "kind": "odd"})).is_err());
    }

    #[test]
    fn lints_are_taken_in_either_notation() {
        for (manifest, expected) in [
            ("[lints]\nworkspace = true", true),
            ("lints.workspace = true", true),
            ("[lints]\nworkspace = false", false),
            ("[lints.rust]\nunsafe_code = 'deny'", false),
            ("# [lints]\n# workspace = true", false),
        ] {
            assert_eq!(takes_lints(manifest).unwrap(), expected, "{manifest}");
        }
    }
}
