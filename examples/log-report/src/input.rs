//! The input of the workflow: where the log is, and the awk programs that travel with it, so that nothing has to be
//! installed on the worker's machine.

use std::path::Path;

use serde::Serialize;

use crate::report::{LATENCY_BOUNDS_MS, TOP_PATHS};

/// Sums up one part of the log.
pub const PARSE: &str = include_str!("../scripts/parse.awk");
/// Adds the sums of all parts into the report.
pub const REDUCE: &str = include_str!("../scripts/reduce.awk");

/// What `log-report.yaml` calls `input`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Input<'a> {
    /// The log.
    pub log: &'a Path,
    /// Folder into which its parts go.
    pub folder: &'a Path,
    /// How many parts.
    pub parts: u64,
    /// Upper bounds of the latency classes in ms, separated by spaces.
    pub bounds: String,
    /// How many paths the report lists.
    pub top: usize,
    /// The awk programs.
    pub programs: Programs,
}

/// The awk programs of the steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Programs {
    /// Of the step that sums up a part.
    pub parse: &'static str,
    /// Of the step that adds the sums.
    pub reduce: &'static str,
}

impl<'a> Input<'a> {
    /// The input for a log that is cut into `parts` in `folder`; both paths are absolute.
    pub fn new(log: &'a Path, folder: &'a Path, parts: u64) -> Self {
        let bounds: Vec<String> = LATENCY_BOUNDS_MS.iter().map(u64::to_string).collect();
        let programs = Programs { parse: PARSE, reduce: REDUCE };
        Self { log, folder, parts, bounds: bounds.join(" "), top: TOP_PATHS, programs }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, File},
        path::Path,
        process::{Command, Output},
    };

    use super::Input;
    use crate::{generate::write_log, reference::Reference, report::Report};

    fn awk(program: &str, variables: &[String], stdin: &Path, output: &Path) -> Output {
        let mut command = Command::new("awk");
        for variable in variables {
            command.arg("-v").arg(variable);
        }
        let stdin = File::open(stdin).unwrap();
        command.arg(program).env("LC_ALL", "C").env("MCP_OUTPUT", output).stdin(stdin).output().unwrap()
    }

    fn succeeds(ended: &Output) -> String {
        assert!(ended.status.success(), "{}: {}", ended.status, String::from_utf8_lossy(&ended.stderr));
        String::from_utf8_lossy(&ended.stdout).into_owned()
    }

    #[test]
    fn the_programs_say_what_the_reference_says() {
        let folder = tempfile::tempdir().unwrap();
        let (log, input) = (folder.path().join("log"), folder.path().join("sums"));
        write_log(&log, 42, 5_000).unwrap();
        let parts = Input::new(&log, folder.path(), 3);
        let text = fs::read_to_string(&log).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let bounds = format!("bounds={}", parts.bounds);
        let mut sums = Vec::new();
        for (number, part) in lines.chunks(1_700).enumerate() {
            let (path, output) = (folder.path().join("part"), folder.path().join("output"));
            fs::write(&path, part.join("\n") + "\n").unwrap();
            let variables = [format!("part=part-{number}"), format!("total={}", part.len()), bounds.clone()];
            let progress = succeeds(&awk(parts.programs.parse, &variables, &path, &output));
            assert!(progress.contains(&format!("part-{number}: ")), "no progress in: {progress}");
            sums.push(fs::read_to_string(output).unwrap());
        }
        let mut reference = Reference::default();
        reference.read(&log).unwrap();
        let expected = reference.report();
        // As lines, and as one list.
        for sums in [sums.concat(), format!("[{}]\n", sums.join(",").replace('\n', " "))] {
            fs::write(&input, sums).unwrap();
            let output = folder.path().join("report");
            succeeds(&awk(parts.programs.reduce, &[format!("top={}", parts.top), bounds.clone()], &input, &output));
            let got: Report = serde_json::from_str(&fs::read_to_string(output).unwrap()).unwrap();
            assert_eq!(Report::diff(&expected, &got), Vec::<String>::new());
            assert!(got.malformed > 0 && got.top_paths.len() == parts.top, "{got:?}");
        }
    }

    #[test]
    fn a_broken_sum_fails_the_reduction() {
        let folder = tempfile::tempdir().unwrap();
        let input = folder.path().join("sums");
        fs::write(&input, "{\"lines\":3,\"latency\":[1,").unwrap();
        let ended = awk(super::REDUCE, &["top=1".into(), "bounds=1".into()], &input, &folder.path().join("report"));
        assert_eq!(ended.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&ended.stderr).contains("expected more at character"));
    }
}
