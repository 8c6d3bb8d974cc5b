//! Bodies, paths and queries that become messages.
#![no_main]

use std::{path::Path, sync::LazyLock};

use gateway::fuzzing::Bodies;

/// A service with fields of every kind, beside the platform's own.
static BODIES: LazyLock<Bodies> = LazyLock::new(|| {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let includes = [root.join("../tests/protos"), root.join("../../../proto")];
    let mut compiler = protox::Compiler::new(includes).expect("the folders are there");
    compiler.include_imports(true).open_file("sink/v1/sink.proto").expect("it compiles");
    Bodies::new(&compiler.encode_file_descriptor_set())
});

libfuzzer_sys::fuzz_target!(|data: &[u8]| BODIES.request(data));
