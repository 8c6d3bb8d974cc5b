//! The program as it is, run to its end.
#![expect(clippy::unwrap_used, reason = "a test may panic, and then says where")]

use std::{path::Path, process::Command};

fn run(folder: &Path, name: &str) -> String {
    let ended = Command::new(env!("CARGO_BIN_EXE_embedded-scheduler")).arg(folder).arg(name).output().unwrap();
    assert!(ended.status.success(), "{ended:?}");
    String::from_utf8(ended.stdout).unwrap()
}

#[test]
fn a_program_with_a_scheduler_inside_runs_tasks_and_remembers_them() {
    let folder = tempfile::tempdir().unwrap();
    let first = run(folder.path(), "Ada");
    assert!(first.contains("\"hello, Ada\"") && first.contains("tasks in the folder: 1"), "{first}");
    let second = run(folder.path(), "Grace");
    assert!(second.contains("\"hello, Grace\"") && second.contains("tasks in the folder: 2"), "{second}");
}
