//! Services that are known by their descriptors only: a backend that serves them, a client that calls them, and random
//! messages.

pub(crate) mod backend;
pub(crate) mod codec;
pub(crate) mod random;

use std::path::Path;

use prost_reflect::{DescriptorPool, DynamicMessage};

/// The descriptors of a proto in `tests/protos`, encoded as its author's compiler would do it.
pub(crate) fn compile(file: &str) -> Vec<u8> {
    let crate_root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let includes = [crate_root.join("tests/protos"), crate_root.join("../../proto")];
    let mut compiler = protox::Compiler::new(includes).unwrap();
    compiler.include_imports(true).open_file(file).unwrap();
    compiler.encode_file_descriptor_set()
}

/// The same without what it imports.
pub(crate) fn compile_alone(file: &str) -> Vec<u8> {
    let crate_root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let includes = [crate_root.join("tests/protos"), crate_root.join("../../proto")];
    let mut compiler = protox::Compiler::new(includes).unwrap();
    compiler.open_file(file).unwrap();
    compiler.encode_file_descriptor_set()
}

/// The same of a text.
pub(crate) fn compile_text(text: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("text.proto"), text).unwrap();
    let proto = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto");
    let mut compiler = protox::Compiler::new([folder.path(), proto.as_path()]).unwrap();
    compiler.include_imports(true).open_file("text.proto").unwrap();
    compiler.encode_file_descriptor_set()
}

/// A message from its JSON.
pub(crate) fn message(pool: &DescriptorPool, kind: &str, json: &serde_json::Value) -> DynamicMessage {
    DynamicMessage::deserialize(pool.get_message_by_name(kind).unwrap(), json.clone()).unwrap()
}
