//! The data folder, and the lock that keeps a second process out of it.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read, Seek, Write},
    path::{Path, PathBuf},
    process,
};

use tempfile::TempDir;

use super::{Data, Error};

/// Name of the file that is locked while a process uses the folder; it holds the id of that process.
const LOCK_FILE: &str = "mcp-dev.lock";

/// A folder that this process alone uses. Dropping it lets the next one in, and removes it when it is temporary.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    // Released by the operating system when it is closed, also after a crash.
    _lock: File,
    // Dropped last: the lock file lies in it.
    _temporary: Option<TempDir>,
}

impl Folder {
    /// Makes the folder when it is missing, and locks it.
    pub(super) fn open(data: &Data) -> Result<Self, Error> {
        let (path, temporary) = match data {
            Data::Folder(path) => (path.clone(), None),
            Data::Ephemeral => {
                let made = tempfile::Builder::new().prefix("mcp-dev-").tempdir();
                let made = made.map_err(|source| Error::Folder { folder: std::env::temp_dir(), source })?;
                (made.path().to_owned(), Some(made))
            }
        };
        let failed = |source| Error::Folder { folder: path.clone(), source };
        fs::create_dir_all(&path).map_err(failed)?;
        // Relative paths are shown whole, so that people find them.
        let path = path.canonicalize().map_err(failed)?;
        let lock = lock(&path)?;
        Ok(Self { path, _lock: lock, _temporary: temporary })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

fn lock(folder: &Path) -> Result<File, Error> {
    let failed = |source: io::Error| Error::Folder { folder: folder.to_owned(), source };
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(folder.join(LOCK_FILE))
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut owner = String::new();
            file.read_to_string(&mut owner).map_err(failed)?;
            return Err(Error::FolderInUse { folder: folder.to_owned(), owner: owner.trim().to_owned() });
        }
        Err(TryLockError::Error(source)) => return Err(failed(source)),
    }
    let write = |file: &mut File| {
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "{}", process::id())
    };
    write(&mut file).map_err(failed)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::{Data, Error, Folder};

    #[test]
    fn a_folder_is_for_one_at_a_time() {
        let outer = tempfile::tempdir().unwrap();
        let data = Data::Folder(outer.path().join("a/b"));
        let first = Folder::open(&data).unwrap();
        let Err(Error::FolderInUse { owner, .. }) = Folder::open(&data) else { panic!("two have it") };
        assert_eq!(owner, std::process::id().to_string());
        drop(first);
        assert!(Folder::open(&data).unwrap().path().is_dir());
    }

    #[test]
    fn a_temporary_folder_is_removed() {
        let folder = Folder::open(&Data::Ephemeral).unwrap();
        let path = folder.path().to_owned();
        assert!(path.is_dir());
        drop(folder);
        assert!(!path.exists());
    }
}
