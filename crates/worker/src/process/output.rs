//! The program's output: one JSON text in a file.

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use mcp_client::worker::{OUTPUT_BYTES_MAX, to_output};
use mcp_proto::{Code, Error};

/// The output at `path`; `None` when the program wrote none.
///
/// # Errors
/// `OUTPUT_INVALID` when it is not JSON, too deep, too large, or not a plain file.
pub(super) async fn read(path: &Path) -> Result<Option<prost_types::Value>, Error> {
    let path = PathBuf::from(path);
    match tokio::task::spawn_blocking(move || read_blocking(&path)).await {
        Ok(result) => result,
        Err(error) => Err(Error::internal(error)),
    }
}

fn read_blocking(path: &Path) -> Result<Option<prost_types::Value>, Error> {
    let invalid = |why: String| Error::new(Code::OutputInvalid, why);
    // Not followed: a link might lead to a device, and opening a pipe would wait for ever.
    match path.symlink_metadata() {
        Ok(metadata) if metadata.is_file() => {}
        Ok(_) => return Err(invalid("the output is not a plain file".to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(invalid(format!("the output cannot be read: {error}"))),
    }
    let mut text = Vec::new();
    let limit = OUTPUT_BYTES_MAX as u64 + 1;
    File::open(path)
        .and_then(|file| file.take(limit).read_to_end(&mut text))
        .map_err(|error| invalid(format!("the output cannot be read: {error}")))?;
    if text.len() > OUTPUT_BYTES_MAX {
        return Err(invalid(format!("the output is larger than {OUTPUT_BYTES_MAX} bytes")));
    }
    if text.trim_ascii().is_empty() {
        return Ok(None);
    }
    let json: serde_json::Value =
        serde_json::from_slice(&text).map_err(|error| invalid(format!("the output is not JSON: {error}")))?;
    to_output(json)
}
