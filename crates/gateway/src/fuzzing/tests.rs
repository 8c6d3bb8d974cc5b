//! Every input that is kept, once more: the seeds, and whatever a fuzzer has found.

use std::path::Path;

use super::*;

/// Calls `target` with each kept input of this name.
fn each(name: &str, target: impl Fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(name);
    let mut count = 0;
    for entry in std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.unwrap().path();
        let data = std::fs::read(&path).unwrap();
        // The name of the input is told with the panic.
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| target(&data)));
        assert!(outcome.is_ok(), "{}", path.display());
        count += 1;
    }
    assert!(count > 0, "{} has no input", folder.display());
}

/// A service with fields of every kind.
fn bodies() -> Bodies {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut compiler = protox::Compiler::new([root.join("tests/protos"), root.join("../../proto")]).unwrap();
    compiler.include_imports(true).open_file("sink/v1/sink.proto").unwrap();
    Bodies::new(&compiler.encode_file_descriptor_set())
}

#[test]
fn kept_templates() {
    each("templates", templates);
}

#[test]
fn kept_bodies() {
    let bodies = bodies();
    each("bodies", |data| bodies.request(data));
}

#[test]
fn kept_answers() {
    let bodies = bodies();
    each("answers", |data| bodies.answer(data));
}

#[test]
fn kept_sessions() {
    each("sessions", sessions);
}

#[test]
fn kept_heads() {
    let heads = Heads::new();
    each("heads", |data| heads.head(data));
}
