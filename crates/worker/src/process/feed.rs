//! The program's standard input.

use bytes::Bytes;
use tokio::{io::AsyncWriteExt as _, process::ChildStdin};

/// Writes everything and closes the pipe. A program need not read its input, so a broken pipe is no failure.
pub(super) async fn write_all(input: Option<ChildStdin>, bytes: Bytes) {
    let Some(mut input) = input else { return };
    if let Err(error) = input.write_all(&bytes).await {
        tracing::trace!(%error, "the program did not read all of its input");
    }
}
