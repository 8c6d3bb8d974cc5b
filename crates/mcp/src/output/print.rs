//! Standard output and standard error. A reader that went away ends the command instead of a panic.

use std::io::{self, Write};

use crate::exit::{Exit, Failure};

/// Writes a line to standard output and flushes it.
///
/// # Errors
/// [`Failure::reader_gone`] when nobody reads any more, another one when the output cannot be written.
pub fn line(text: impl AsRef<str>) -> Result<(), Failure> {
    write_line(io::stdout().lock(), text.as_ref())
}

/// Writes a line to standard error. Nothing can be done when that fails, so nothing is.
pub fn note(text: impl AsRef<str>) {
    drop(write_line(io::stderr().lock(), text.as_ref()));
}

fn write_line(mut to: impl Write, text: &str) -> Result<(), Failure> {
    let written = to.write_all(text.as_bytes()).and_then(|()| to.write_all(b"\n")).and_then(|()| to.flush());
    written.map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::reader_gone(),
        _ => Failure::new(Exit::Refused, format!("cannot write the output: {error}"), "check where it goes"),
    })
}
