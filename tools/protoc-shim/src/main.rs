//! A drop-in for the `protoc` flags that prost-build passes, backed by protox.
//!
//! Third-party build scripts (etcd-client) find it through the `PROTOC` variable, by way of `tools/protoc`,
//! so that a machine needs nothing but the Rust toolchain.
#![expect(clippy::print_stderr, clippy::print_stdout, reason = "a command-line tool speaks on its standard streams")]

use std::{env, error::Error, ffi::OsString, fs, path::PathBuf, process::ExitCode};

fn main() -> ExitCode {
    match run(env::args_os().skip(1)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("protoc-shim: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(mut args: impl Iterator<Item = OsString>) -> Result<(), Box<dyn Error>> {
    let (mut includes, mut files, mut out) = (Vec::<PathBuf>::new(), Vec::<PathBuf>::new(), None);
    let (mut imports, mut source_info) = (false, false);
    while let Some(arg) = args.next() {
        match arg.to_str() {
            Some("--version") => {
                println!("libprotoc 0.0 (protox shim)");
                return Ok(());
            }
            Some("--include_imports") => imports = true,
            Some("--include_source_info") => source_info = true,
            Some("-o") => out = args.next().map(PathBuf::from),
            Some("-I") => includes.extend(args.next().map(PathBuf::from)),
            Some(flag) if flag.starts_with('-') => {
                return Err(format!("unsupported flag `{flag}`").into());
            }
            _ => files.push(arg.into()),
        }
    }
    let out = out.ok_or("`-o FILE` is required")?;
    let mut compiler = protox::Compiler::new(includes)?;
    compiler.include_imports(imports).include_source_info(source_info);
    compiler.open_files(files)?;
    fs::write(out, compiler.encode_file_descriptor_set())?;
    Ok(())
}
