//! How long the source files are.

use std::{fs, path::Path};

use anyhow::Context as _;

/// From here on a file is listed: it should be split.
const LONG: usize = 500;
/// From here on it fails.
const TOO_LONG: usize = 700;

/// What the counts say, in words.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Report {
    /// Files over [`LONG`], the longest first.
    pub(crate) long: Vec<String>,
    /// Files over [`TOO_LONG`].
    pub(crate) too_long: Vec<String>,
}

/// The lines of every `.rs` file below `root`, without tests: path from `root`, lines.
pub(crate) fn count(root: &Path) -> anyhow::Result<Vec<(String, usize)>> {
    let mut counts = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("`{}` cannot be read", folder.display()))? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if entry.file_type()?.is_dir() {
                if !is_skipped(&name) {
                    folders.push(entry.path());
                }
            } else if name.ends_with(".rs") && name != "tests.rs" {
                let text = fs::read_to_string(entry.path())?;
                let path = entry.path().strip_prefix(root)?.display().to_string();
                counts.push((path, lines_without_tests(&text)));
            }
        }
    }
    Ok(counts)
}

/// Sorts the files that are too long, or nearly so, out of all.
pub(crate) fn check(counts: &[(String, usize)]) -> Report {
    let mut sorted: Vec<_> = counts.iter().filter(|(_, lines)| *lines > LONG).collect();
    sorted.sort_by_key(|(path, lines)| (std::cmp::Reverse(*lines), path));
    let mut report = Report::default();
    for (path, lines) in sorted {
        let line = format!("{lines} {path}");
        if *lines > TOO_LONG {
            report.too_long.push(line.clone());
        }
        report.long.push(line);
    }
    report
}

/// Build output, hidden folders, and tests.
fn is_skipped(folder: &str) -> bool {
    folder.starts_with('.') || matches!(folder, "target" | "tests")
}

/// The lines before the file's own test module.
fn lines_without_tests(text: &str) -> usize {
    let lines: Vec<_> = text.lines().collect();
    let tests = lines.windows(2).position(|pair| pair[0] == "#[cfg(test)]" && pair[1].starts_with("mod tests {"));
    tests.unwrap_or(lines.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_files_are_listed_and_too_long_ones_fail() {
        let counts = [("a.rs", 500), ("b.rs", 501), ("c.rs", 700), ("d.rs", 701)];
        let report = check(&counts.map(|(path, lines)| (path.to_owned(), lines)));
        assert_eq!(report.long, ["701 d.rs", "700 c.rs", "501 b.rs"]);
        assert_eq!(report.too_long, ["701 d.rs"]);
    }

    #[test]
    fn tests_at_the_end_are_not_counted() {
        assert_eq!(lines_without_tests("a\nb\n#[cfg(test)]\nmod tests {\n}\n"), 2);
        assert_eq!(lines_without_tests("a\n#[cfg(test)]\nmod tests;\nb\n"), 4);
    }

    #[test]
    fn tests_folders_and_other_files_are_left_out() {
        let root = tempfile::tempdir().unwrap();
        for path in ["src/a.rs", "src/a/tests.rs", "tests/it/main.rs", "target/b.rs", ".git/c.rs", "src/d.txt"] {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x\n").unwrap();
        }
        assert_eq!(count(root.path()).unwrap(), [("src/a.rs".to_owned(), 1)]);
    }
}
