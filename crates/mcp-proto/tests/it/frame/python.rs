//! The reference client in Python reads and writes the same bytes.

use std::{path::Path, process::Command};

use mcp_proto::frame::Profile;

use super::vectors;

#[test]
fn the_python_client_agrees_with_every_vector() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let golden = here.join("tests/golden");
    let output = Command::new("python3")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .arg(golden.join("check_frame_client.py"))
        .arg(here.join("../../examples/frame_client.py"))
        .arg(golden.join("standard.txt"))
        .output()
        .expect("python3 is installed by scripts/setup.sh");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let count = String::from_utf8(output.stdout).unwrap();
    assert_eq!(count.trim().parse(), Ok(vectors::read(Profile::Standard).len()));
}

#[test]
fn the_python_client_is_short_and_has_no_dependencies() {
    let text = include_str!("../../../../../examples/frame_client.py");
    assert!(text.lines().count() < 150);
    let modules = text.lines().filter_map(|line| line.strip_prefix("import "));
    let own = ["binascii", "itertools", "json", "socket", "struct", "sys"];
    assert!(modules.into_iter().all(|module| own.contains(&module)) && !text.contains("\nfrom "));
}
