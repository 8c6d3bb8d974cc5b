//! What the tasks run: awk programs, started by a few lines of sh that travel with them.

use crate::report::{LATENCY_BOUNDS_MS, TOP_PATHS};

const RUN: &str = include_str!("../scripts/run.sh");
const PARSE: &str = include_str!("../scripts/parse.awk");
const REDUCE: &str = include_str!("../scripts/reduce.awk");

/// The command that parses a part of the log, given on standard input, and puts its sums out.
pub fn parse(part: &str, lines: u64) -> Vec<String> {
    command(PARSE, &[format!("part={part}"), format!("total={lines}"), bounds()])
}

/// The command that adds the sums of all parts, one JSON object per line of standard input, into the report.
pub fn reduce() -> Vec<String> {
    command(REDUCE, &[format!("top={TOP_PATHS}"), bounds()])
}

fn bounds() -> String {
    let bounds: Vec<String> = LATENCY_BOUNDS_MS.iter().map(u64::to_string).collect();
    format!("bounds={}", bounds.join(" "))
}

/// `sh -c RUN log-report PROGRAM VARIABLE...`: nothing has to be installed or copied to the worker's machine.
fn command(program: &str, variables: &[String]) -> Vec<String> {
    ["sh", "-c", RUN, "log-report", program].into_iter().map(str::to_owned).chain(variables.iter().cloned()).collect()
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, File},
        path::Path,
        process::Command,
    };

    use crate::{generate::write_parts, reference::Reference, report::Report};

    fn run(argv: &[String], stdin: &Path, output: &Path) -> String {
        let ended = Command::new(&argv[0])
            .args(&argv[1..])
            .env("MCP_OUTPUT", output)
            .stdin(File::open(stdin).unwrap())
            .output()
            .unwrap();
        assert!(ended.status.success(), "{}: {}", ended.status, String::from_utf8_lossy(&ended.stderr));
        String::from_utf8(ended.stdout).unwrap()
    }

    #[test]
    fn the_scripts_say_what_the_reference_says() {
        let folder = tempfile::tempdir().unwrap();
        let parts = write_parts(folder.path(), 42, 5_000, 3).unwrap();
        let (mut reference, mut sums) = (Reference::default(), String::new());
        for part in &parts {
            reference.read(&part.path).unwrap();
            let output = folder.path().join(&part.name);
            let progress = run(&super::parse(&part.name, part.lines), &part.path, &output);
            assert!(progress.contains(&format!("{}: ", part.name)), "no progress in: {progress}");
            sums.push_str(&fs::read_to_string(output).unwrap());
        }
        let (input, output) = (folder.path().join("sums"), folder.path().join("report"));
        fs::write(&input, sums).unwrap();
        run(&super::reduce(), &input, &output);

        let got: Report = serde_json::from_str(&fs::read_to_string(output).unwrap()).unwrap();
        let expected = reference.report();
        assert_eq!(Report::diff(&expected, &got), Vec::<String>::new());
        assert_eq!(got, expected);
        assert!(got.malformed > 0 && got.top_paths.len() == super::TOP_PATHS, "{got:?}");
    }

    #[test]
    fn a_broken_sum_fails_the_reduction() {
        let folder = tempfile::tempdir().unwrap();
        let input = folder.path().join("sums");
        fs::write(&input, "{\"lines\":3,\"latency\":[1,").unwrap();
        let argv = super::reduce();
        let ended = Command::new(&argv[0])
            .args(&argv[1..])
            .env("MCP_OUTPUT", folder.path().join("report"))
            .stdin(File::open(input).unwrap())
            .output()
            .unwrap();
        assert_eq!(ended.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&ended.stderr).contains("expected more at character"));
    }
}
