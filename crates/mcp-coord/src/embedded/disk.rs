//! The folder of an embedded backend: one small JSON file, replaced as a whole, and a lock.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::model::{KeyValue, Revision};

const FILE: &str = "coordination.json";
const FILE_NEW: &str = "coordination.json.new";
const LOCK: &str = "coordination.lock";

/// How many low bits of a revision count the writes of one run; the bits above count the runs.
const RUN_BITS: u32 = 40;

/// An open folder. Only one process has it at a time.
#[derive(Debug)]
pub(super) struct Disk {
    folder: PathBuf,
    generation: u32,
    /// The set of lasting keys that the file holds.
    written: u64,
    _lock: File,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Stored {
    /// How often the folder was opened. It makes revisions grow over a restart, also over one that lost some.
    generation: u32,
    keys: Vec<StoredKey>,
}

#[derive(Debug, Serialize, Deserialize)]
struct StoredKey {
    key: String,
    value: StoredValue,
    created: Revision,
    modified: Revision,
}

/// Text where it is text, so that the file can be read by people.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum StoredValue {
    Text(String),
    Bytes(Vec<u8>),
}

impl Disk {
    /// Opens a folder, which is made when it is missing, and returns the keys in it.
    pub(super) fn open(folder: &Path) -> io::Result<(Self, Vec<KeyValue>)> {
        fs::create_dir_all(folder)?;
        let lock = File::create(folder.join(LOCK))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => io::Error::other("another process uses the folder"),
            TryLockError::Error(error) => error,
        })?;
        let stored: Stored = match fs::read(folder.join(FILE)) {
            Ok(bytes) => serde_json::from_slice(&bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Stored::default(),
            Err(error) => return Err(error),
        };
        let generation = stored.generation + 1;
        let disk = Self { folder: folder.to_owned(), generation, written: 0, _lock: lock };
        let keys: Vec<KeyValue> = stored.keys.into_iter().map(KeyValue::from).collect();
        disk.replace(&keys)?;
        Ok((disk, keys))
    }

    /// All revisions of this run are greater.
    pub(super) fn revision_floor(&self) -> i64 {
        i64::from(self.generation) << RUN_BITS
    }

    /// True when the file holds the set with this number or a later one.
    pub(super) const fn has(&self, version: u64) -> bool {
        self.written >= version
    }

    /// Makes `keys`, the set with this number, durable.
    pub(super) fn write(&mut self, keys: &[KeyValue], version: u64) -> io::Result<()> {
        self.replace(keys)?;
        self.written = version;
        Ok(())
    }

    fn replace(&self, keys: &[KeyValue]) -> io::Result<()> {
        let stored = Stored { generation: self.generation, keys: keys.iter().map(StoredKey::from).collect() };
        let mut file = File::create(self.folder.join(FILE_NEW))?;
        file.write_all(&serde_json::to_vec_pretty(&stored)?)?;
        file.sync_all()?;
        fs::rename(self.folder.join(FILE_NEW), self.folder.join(FILE))?;
        File::open(&self.folder)?.sync_all()
    }
}

impl From<&KeyValue> for StoredKey {
    fn from(entry: &KeyValue) -> Self {
        let value = match std::str::from_utf8(&entry.value) {
            Ok(text) => StoredValue::Text(text.to_owned()),
            Err(_) => StoredValue::Bytes(entry.value.to_vec()),
        };
        Self { key: entry.key.clone(), value, created: entry.created, modified: entry.modified }
    }
}

impl From<StoredKey> for KeyValue {
    fn from(stored: StoredKey) -> Self {
        let value = match stored.value {
            StoredValue::Text(text) => Bytes::from(text),
            StoredValue::Bytes(bytes) => Bytes::from(bytes),
        };
        Self { key: stored.key, value, created: stored.created, modified: stored.modified, lease: None }
    }
}
