//! The folder that an attempt has for itself.

use std::path::{Path, PathBuf};

use mcp_proto::{Code, Error};
use tempfile::TempDir;
use tokio::task::spawn_blocking;

/// Beginning of the folders' names, so that what a crash leaves behind can be told.
const PREFIX: &str = "mcp-attempt-";
/// Name of the program's working folder in it.
const FOLDER: &str = "work";
/// Name of the output file in it.
const OUTPUT: &str = "output.json";

/// A folder that goes with the attempt: the working folder, and beside it the output file.
#[derive(Debug)]
pub(super) struct Scratch(TempDir);

impl Scratch {
    /// Makes a folder in `work_dir` that only this user can enter.
    ///
    /// # Errors
    /// `UNAVAILABLE`, which is retryable: the disk is full, or gone.
    pub(super) async fn make(work_dir: &Path) -> Result<Self, Error> {
        let parent = work_dir.to_owned();
        let made = spawn_blocking(move || {
            let folder = tempfile::Builder::new().prefix(PREFIX).tempdir_in(parent)?;
            std::fs::create_dir(folder.path().join(FOLDER))?;
            Ok::<_, std::io::Error>(folder)
        });
        match made.await {
            Ok(Ok(folder)) => Ok(Self(folder)),
            Ok(Err(error)) => {
                let message = format!("the worker cannot make a folder in `{}`: {error}", work_dir.display());
                Err(Error::new(Code::Unavailable, message).with_source(error))
            }
            Err(error) => Err(Error::internal(error)),
        }
    }

    /// The working folder.
    pub(super) fn folder(&self) -> PathBuf {
        self.0.path().join(FOLDER)
    }

    /// Where the program may write its output.
    pub(super) fn output(&self) -> PathBuf {
        self.0.path().join(OUTPUT)
    }

    /// Removes everything. Dropping does the same, but holds up the thread.
    pub(super) async fn remove(self) {
        let path = self.0.path().to_owned();
        match spawn_blocking(move || self.0.close()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(path = %path.display(), %error, "attempt's folder cannot be removed"),
            Err(error) => tracing::warn!(path = %path.display(), %error, "attempt's folder may not be removed"),
        }
    }
}
