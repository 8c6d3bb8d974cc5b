//! Files that a command reads whole.

use std::{io, path::Path};

use mcp_proto::{Error, MESSAGE_BYTES_MAX};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::{
    document::{Document, Fault},
    exit::Failure,
};

/// The bytes of the file that `flag` names; `-` is standard input.
///
/// # Errors
/// When it cannot be read, or holds more than a message may.
pub(super) async fn read(file: &Path, flag: &str) -> Result<Vec<u8>, Failure> {
    let failed = |error: io::Error| {
        Failure::usage(format!("cannot read {}: {error}", file.display()), format!("check the file that {flag} names"))
    };
    let bytes = if file == Path::new("-") {
        read_bounded(tokio::io::stdin()).await.map_err(failed)?
    } else {
        read_bounded(tokio::fs::File::open(file).await.map_err(failed)?).await.map_err(failed)?
    };
    bytes.ok_or_else(|| {
        Failure::usage(
            format!("{} has more than {MESSAGE_BYTES_MAX} bytes, the most that a message may hold", file.display()),
            "put the data where the worker can read it, and pass its path or URL as an argument",
        )
    })
}

/// The text of the file that `flag` names.
///
/// # Errors
/// See [`read`]; when it is not UTF-8.
pub(super) async fn read_text(file: &Path, flag: &str) -> Result<String, Failure> {
    String::from_utf8(read(file, flag).await?)
        .map_err(|error| Failure::usage(format!("{} is not UTF-8: {error}", file.display()), "save it as UTF-8"))
}

/// All bytes, unless there are more than a message may hold.
async fn read_bounded(from: impl AsyncRead + Unpin) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(MESSAGE_BYTES_MAX).expect("a usize fits into 64 bits");
    from.take(limit + 1).read_to_end(&mut bytes).await?;
    Ok((bytes.len() <= MESSAGE_BYTES_MAX).then_some(bytes))
}

/// The failure that a fault of a file is; `help` is the command whose help shows the format.
pub(super) fn faulty(file: &Path, fault: &Fault, help: &str) -> Failure {
    let line = fault.line.map(|line| format!("{line}: ")).unwrap_or_default();
    Failure::usage(
        format!("{}:{line}{}", file.display(), fault.why),
        format!("correct the file; `{help} --help` shows the format"),
    )
}

/// The failure, with the lines of the file that the server's violations are about. `root` is what the server calls the
/// message.
pub(super) fn located<M>(
    mut failure: Failure,
    error: &Error,
    file: &Path,
    document: &Document<M>,
    root: &str,
) -> Failure {
    if error.violations().is_empty() {
        return failure;
    }
    let mut lines = vec![format!("{} ({}): {}", error.code().name(), error.code().number(), file.display())];
    for violation in error.violations() {
        let path = violation.field.strip_prefix(root).map_or(&*violation.field, |path| path.trim_start_matches('.'));
        let (line, field) = (document.line_of(path), if path.is_empty() { root } else { path });
        lines.push(format!("  {}:{line}: `{field}` {}", file.display(), violation.description));
    }
    failure.what = lines.join("\n");
    failure.next = Some("correct the file, then try again".to_owned());
    failure
}
