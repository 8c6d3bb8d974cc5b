//! Compiles the workspace's .proto files with protox, which is pure Rust: no `protoc` is needed.

use std::{
    env,
    error::Error,
    fs, io,
    path::{Path, PathBuf},
};

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("../../proto");
    println!("cargo:rerun-if-changed={}", root.display());

    let mut files = Vec::new();
    collect(&root.join("mcp"), &mut files)?;
    files.sort(); // the same output order on every machine

    let mut compiler = protox::Compiler::new([&root])?;
    compiler.include_imports(true).include_source_info(true);
    compiler.open_files(&files)?;

    // Encoded by protox itself: prost_types would drop the extension options (google.api.http).
    let out = PathBuf::from(env::var("OUT_DIR")?).join("mcp_descriptor.bin");
    fs::write(out, compiler.encode_file_descriptor_set())?;

    tonic_prost_build::configure().bytes(".mcp").btree_map(".mcp").compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}

fn collect(dir: &Path, out: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, out)?;
        } else if path.extension().is_some_and(|extension| extension == "proto") {
            out.push(path);
        }
    }
    Ok(())
}
