//! What programs get and what they give.

use mcp_client::{
    testing::{assignment, attempt, process},
    worker::{LOG_LINE_BYTES_MAX, OUTPUT_BYTES_MAX},
};
use mcp_proto::{
    scheduler::v1::{LogStream, ProcessWork},
    worker::v1::Assignment,
};
use serde_json::json;

use crate::support::{Bench, KILL_GRACE, failure, output, sh};

#[tokio::test]
async fn a_program_gives_an_exit_code_and_an_output() {
    let mut bench = Bench::new(KILL_GRACE).await;
    let result = bench.run(sh(r#"echo '{"answer": 42, "list": [1, 2.5, null]}' > "$MCP_OUTPUT""#)).await;
    assert_eq!(result.exit_code, Some(0));
    assert_eq!(output(result), Some(json!({"answer": 42, "list": [1, 2.5, null]})));
    assert_eq!(output(bench.run(sh("true")).await), None);
    assert_eq!(output(bench.run(sh(r#"echo > "$MCP_OUTPUT""#)).await), None, "an empty file is no output");
    bench.assert_clean();
}

#[tokio::test]
async fn a_program_knows_its_attempt() {
    let mut bench = Bench::new(KILL_GRACE).await;
    let mut work = sh(r#"echo "$MCP_TASK_ID/$MCP_ATTEMPT/$MCP_FENCING_TOKEN/$TRACEPARENT/$MINE/${PATH:+path}""#);
    work.env.insert("MINE".to_owned(), "a b".to_owned());
    work.env.insert("MCP_ATTEMPT".to_owned(), "99".to_owned());
    let traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let assignment = Assignment { number: 3, traceparent: traceparent.to_owned(), ..assignment(1, process(work)) };
    bench.session.assign(vec![assignment]).await;
    bench.session.result().await;
    let id = attempt(1, 1).task_id;
    assert_eq!(bench.lines(LogStream::Stdout), [format!("{id}/3/5.1/{traceparent}/a b/path")]);
}

#[tokio::test]
async fn both_streams_are_logged_as_they_come() {
    let mut bench = Bench::new(KILL_GRACE).await;
    // Each line waits for the one before to be read, by which the order of the two streams is certain.
    let script = r#"
        echo one; read -r go < "$0/go1"
        echo two >&2; read -r go < "$0/go2"
        printf 'three\nrest'
    "#;
    let pipes = tempfile::tempdir().unwrap();
    for name in ["go1", "go2"] {
        nix::unistd::mkfifo(&pipes.path().join(name), nix::sys::stat::Mode::S_IRWXU).unwrap();
    }
    let mut work = sh(script);
    work.argv.push(pipes.path().to_str().unwrap().to_owned());
    bench.session.assign(vec![assignment(1, process(work))]).await;
    for (count, name) in [(1, "go1"), (2, "go2")] {
        bench.session.texts(count).await;
        tokio::fs::write(pipes.path().join(name), "go\n").await.unwrap();
    }
    bench.session.result().await;
    let lines: Vec<_> = bench.session.lines.iter().map(|(_, line)| (line.stream(), line.text.as_str())).collect();
    let (out, err) = (LogStream::Stdout, LogStream::Stderr);
    assert_eq!(lines, [(out, "one"), (err, "two"), (out, "three"), (out, "rest")]);
    assert!(bench.session.lines.iter().all(|(_, line)| line.time.is_some()));
}

#[tokio::test]
async fn a_huge_line_is_split_and_what_is_not_utf_8_is_replaced() {
    let mut bench = Bench::new(KILL_GRACE).await;
    let result = bench.run(sh(r"head -c 40000 /dev/zero | tr '\0' x; printf '\n\377ok\n'")).await;
    assert_eq!(result.exit_code, Some(0));
    let lines = bench.lines(LogStream::Stdout);
    let lengths: Vec<usize> = lines.iter().map(|line| line.len()).collect();
    assert_eq!(lengths, [LOG_LINE_BYTES_MAX, LOG_LINE_BYTES_MAX, 40_000 - 2 * LOG_LINE_BYTES_MAX, 5]);
    assert_eq!(lines[3], "\u{fffd}ok");
}

#[tokio::test]
async fn more_lines_than_the_buffer_holds_are_all_there() {
    const LINES: usize = 50_000;
    let mut bench = Bench::new(KILL_GRACE).await;
    let script = format!("awk 'BEGIN {{ for (i = 0; i < {LINES}; i++) printf \"%060d\\n\", i }}'");
    assert_eq!(bench.run(sh(&script)).await.exit_code, Some(0));
    let lines = bench.lines(LogStream::Stdout);
    assert_eq!(lines.len(), LINES);
    assert!(lines.iter().enumerate().all(|(number, line)| line.parse() == Ok(number)));
}

#[tokio::test]
async fn input_is_written_and_closed() {
    let mut bench = Bench::new(KILL_GRACE).await;
    let input = "line\n".repeat(100_000);
    let work = ProcessWork { stdin: input.clone().into(), ..sh("wc -c; wc -c") };
    assert_eq!(bench.run(work).await.exit_code, Some(0));
    let counts: Vec<usize> = bench.lines(LogStream::Stdout).iter().map(|line| line.trim().parse().unwrap()).collect();
    assert_eq!(counts, [input.len(), 0]);

    let unread = ProcessWork { stdin: input.into(), ..sh("exec < /dev/null; true") };
    assert_eq!(bench.run(unread).await.exit_code, Some(0), "nobody need read it");
}

#[tokio::test]
async fn a_folder_is_fresh_unless_one_is_named() {
    let mut bench = Bench::new(KILL_GRACE).await;
    for _ in 0..2 {
        bench.run(sh("ls -A; touch mark; mkdir -p sub/sub; echo in $(ls -A)")).await;
    }
    assert_eq!(bench.lines(LogStream::Stdout), ["in mark sub", "in mark sub"]);
    bench.assert_clean();

    let folder = tempfile::tempdir().unwrap();
    let cwd = folder.path().to_str().unwrap().to_owned();
    bench.run(ProcessWork { cwd, ..sh("touch mark") }).await;
    assert!(folder.path().join("mark").exists());
}

#[tokio::test]
async fn a_failing_program_says_why() {
    let mut bench = Bench::new(KILL_GRACE).await;
    let result = bench.run(sh("echo first >&2; echo '  last words ' >&2; echo >&2; echo out; exit 7")).await;
    assert_eq!(result.exit_code, Some(7));
    let error = failure(result);
    assert_eq!((error.name.as_str(), error.message.as_str()), ("EXIT_NON_ZERO", "exit code 7: last words"));
    assert!(error.retryable);
    assert_eq!(error.metadata["exit_code"], "7");

    let result = bench.run(sh("kill -KILL $$")).await;
    assert_eq!(result.exit_code, Some(-9));
    assert_eq!(failure(result).message, "ended by signal 9");
    bench.assert_clean();
}

#[tokio::test]
async fn a_program_that_cannot_start_is_not_tried_again() {
    let mut bench = Bench::new(KILL_GRACE).await;
    let plain = bench.work_dir.path().join("plain");
    std::fs::write(&plain, "not a program").unwrap();
    let plain = plain.to_str().unwrap().to_owned();
    let argv = |program: &str| ProcessWork { argv: vec![program.to_owned()], ..ProcessWork::default() };
    for (work, message) in [
        (ProcessWork::default(), "the task names no program".to_owned()),
        (
            argv("no-such-program-7"),
            "program `no-such-program-7` does not exist, or its interpreter does not".to_owned(),
        ),
        (argv(&plain), format!("program `{plain}` is not executable")),
        (
            ProcessWork { cwd: "/no/such/folder".to_owned(), ..sh("true") },
            "working folder `/no/such/folder` does not exist".to_owned(),
        ),
        (ProcessWork { cwd: plain.clone(), ..sh("true") }, format!("working folder `{plain}` is not a folder")),
    ] {
        let result = bench.run(work).await;
        assert_eq!(result.exit_code, None);
        let error = failure(result);
        assert_eq!((error.name.as_str(), error.message), ("SPAWN_FAILED", message));
        assert!(!error.retryable);
    }
    assert_eq!(bench.run(sh("true")).await.exit_code, Some(0), "the worker goes on");
}

#[tokio::test]
async fn an_output_that_is_none_is_refused() {
    let mut bench = Bench::new(KILL_GRACE).await;
    let large = format!("head -c {} /dev/zero | tr '\\0' 1 > $MCP_OUTPUT", OUTPUT_BYTES_MAX + 1);
    let deep = format!("printf '%s1%s' '{}' '{}' > $MCP_OUTPUT", "[".repeat(31), "]".repeat(31));
    for (script, message) in [
        ("echo '{\"a\": ' > $MCP_OUTPUT", "the output is not JSON: EOF while parsing a value at line 2 column 0"),
        (&large, "the output is larger than 1048576 bytes"),
        (&deep, "the output is nested deeper than 30"),
        ("mkfifo $MCP_OUTPUT", "the output is not a plain file"),
        ("ln -s /dev/zero $MCP_OUTPUT", "the output is not a plain file"),
    ] {
        let result = bench.run(sh(script)).await;
        assert_eq!(result.exit_code, Some(0), "{script}");
        let error = failure(result);
        assert_eq!((error.name.as_str(), error.message.as_str()), ("OUTPUT_INVALID", message));
        assert!(!error.retryable);
    }
    let result = bench.run(sh("echo '{' > $MCP_OUTPUT; exit 3")).await;
    assert_eq!(failure(result).name, "EXIT_NON_ZERO", "the exit code comes first");
    bench.assert_clean();
}
