//! Compiles the contract of the service behind the proxies.

use std::{
    env,
    error::Error,
    fs,
    path::{Path, PathBuf},
};

fn main() -> Result<(), Box<dyn Error>> {
    let here = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let (own, shared) = (here.join("proto"), here.join("../../proto"));
    println!("cargo:rerun-if-changed={}", own.display());
    let mut compiler = protox::Compiler::new([&own, &shared])?;
    compiler.include_imports(true).include_source_info(false);
    compiler.open_file(Path::new("bench/v1/echo.proto"))?;
    // Encoded by protox itself: prost_types would drop the extension options (google.api.http).
    fs::write(PathBuf::from(env::var("OUT_DIR")?).join("echo.pb"), compiler.encode_file_descriptor_set())?;
    tonic_prost_build::configure().bytes(".bench").compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
