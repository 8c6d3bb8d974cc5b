//! What a worker is made of.

use std::{collections::BTreeMap, str::FromStr, time::Duration};

use mcp_proto::{Error, worker::v1};
use uuid::Uuid;

use crate::discovery::Discovery;

/// Most slots that a worker may have; a scheduler refuses one that claims more attempts than twice as many.
pub const SLOTS_MAX: usize = 10_000;

/// Most labels that a worker may have.
pub const LABELS_MAX: usize = 64;
/// Most taints that a worker may have.
pub const TAINTS_MAX: usize = 16;
/// Longest name of a label or taint, in bytes.
pub const KEY_BYTES_MAX: usize = 63;
/// Longest value of a label or taint, in bytes.
pub const VALUE_BYTES_MAX: usize = 255;

/// Slots of a worker that says nothing else.
const SLOTS_DEFAULT: usize = 4;
/// How long running attempts may go on after the stop signal.
const DRAIN_GRACE_DEFAULT: Duration = Duration::from_secs(25);
/// First wait before a broken session is opened again, before jitter.
const RECONNECT_MIN_DEFAULT: Duration = Duration::from_millis(100);
/// Longest wait before a broken session is opened again, before jitter.
const RECONNECT_MAX_DEFAULT: Duration = Duration::from_secs(10);

/// Where the schedulers are.
#[derive(Debug, Clone)]
pub enum Schedulers {
    /// These URLs, `http://host:port`, each a scheduler replica or a gateway, which passes the session on to one.
    Fixed(Vec<String>),
    /// The instances of service `scheduler`, as they come and go.
    Discovered(Discovery),
}

/// Keeps tasks away that do not tolerate it. Its text is `key=value`, or `key` when the value is empty.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Taint {
    /// Its name, 1 to [`KEY_BYTES_MAX`] bytes.
    pub key: String,
    /// Its value, at most [`VALUE_BYTES_MAX`] bytes.
    pub value: String,
}

impl Taint {
    pub(super) fn to_wire(&self) -> v1::Taint {
        v1::Taint { key: self.key.clone(), value: self.value.clone() }
    }
}

impl FromStr for Taint {
    type Err = Error;

    /// # Errors
    /// `INVALID_ARGUMENT` for `taint` when the name is empty, or one of both too long.
    fn from_str(text: &str) -> Result<Self, Error> {
        let (key, value) = text.split_once('=').unwrap_or((text, ""));
        check_pair(key, value).map_err(|fault| Error::invalid("taint", fault))?;
        Ok(Self { key: key.to_owned(), value: value.to_owned() })
    }
}

/// What is wrong with the name or the value of a label or a taint.
fn check_pair(key: &str, value: &str) -> Result<(), String> {
    if key.is_empty() || key.len() > KEY_BYTES_MAX {
        return Err(format!("the name `{key}` must be 1 to {KEY_BYTES_MAX} bytes long"));
    }
    if value.len() > VALUE_BYTES_MAX {
        return Err(format!("the value of `{key}` must be at most {VALUE_BYTES_MAX} bytes long"));
    }
    Ok(())
}

/// What a worker tells the schedulers and how it behaves.
#[derive(Debug, Clone)]
pub struct WorkerOptions {
    /// The same in each of its sessions; by default a new UUID.
    pub worker_id: Uuid,
    /// Name for people.
    pub name: String,
    /// Version of the worker's program.
    pub version: String,
    /// Attempts it runs at the same time, 1 to [`SLOTS_MAX`]. With more replicas than slots, the replicas get a slot in
    /// turns, some pings long, so have at least as many slots as there are replicas.
    pub slots: usize,
    /// Namespaces it serves; none means every one.
    pub namespaces: Vec<String>,
    /// Queues it serves in them; none means every one.
    pub queues: Vec<String>,
    /// What placement rules of tasks compare: at most [`LABELS_MAX`], names to [`KEY_BYTES_MAX`] bytes, values to
    /// [`VALUE_BYTES_MAX`].
    pub labels: BTreeMap<String, String>,
    /// Only tasks that tolerate every one of these run here. At most [`TAINTS_MAX`].
    pub taints: Vec<Taint>,
    /// CPU for tasks, in thousandths of a core. 0 means it is not counted.
    pub cpu_millis: u32,
    /// Memory for tasks, in bytes. 0 means it is not counted.
    pub memory_bytes: u64,
    /// How long running attempts may go on after the stop signal before they are handed back.
    pub drain_grace: Duration,
    /// First wait before a broken session is opened again; it doubles, and the wait is drawn between 0 and it.
    pub reconnect_min: Duration,
    /// Longest wait before a broken session is opened again; a quarter of the scheduler's lease when that is shorter,
    /// so that running attempts are claimed in time.
    pub reconnect_max: Duration,
}

impl Default for WorkerOptions {
    fn default() -> Self {
        Self {
            worker_id: Uuid::now_v7(),
            name: String::new(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            slots: SLOTS_DEFAULT,
            namespaces: Vec::new(),
            queues: Vec::new(),
            labels: BTreeMap::new(),
            taints: Vec::new(),
            cpu_millis: 0,
            memory_bytes: 0,
            drain_grace: DRAIN_GRACE_DEFAULT,
            reconnect_min: RECONNECT_MIN_DEFAULT,
            reconnect_max: RECONNECT_MAX_DEFAULT,
        }
    }
}

impl WorkerOptions {
    /// Checks labels and taints, for settings: a scheduler refuses a worker whose labels or taints are out of bounds.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for `labels` or `taints`.
    pub fn check(&self) -> Result<(), Error> {
        let many = |field: &str, max: usize| Error::invalid(field, format!("must have at most {max} elements"));
        if self.labels.len() > LABELS_MAX {
            return Err(many("labels", LABELS_MAX));
        }
        if self.taints.len() > TAINTS_MAX {
            return Err(many("taints", TAINTS_MAX));
        }
        for (key, value) in &self.labels {
            check_pair(key, value).map_err(|fault| Error::invalid("labels", fault))?;
        }
        for taint in &self.taints {
            check_pair(&taint.key, &taint.value).map_err(|fault| Error::invalid("taints", fault))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{LABELS_MAX, Taint, WorkerOptions};

    #[test]
    fn a_taint_is_read_from_its_text() {
        let taint = |key: &str, value: &str| Taint { key: key.to_owned(), value: value.to_owned() };
        for (text, expected) in [
            ("gpu=true", taint("gpu", "true")),
            ("gpu", taint("gpu", "")),
            ("gpu=", taint("gpu", "")),
            ("a=b=c", taint("a", "b=c")),
        ] {
            assert_eq!(text.parse::<Taint>(), Ok(expected), "{text}");
        }
        for text in ["", "=true", &"x".repeat(64), &format!("x={}", "y".repeat(256))] {
            assert!(text.parse::<Taint>().is_err(), "{text}");
        }
    }

    #[test]
    fn labels_and_taints_are_bounded() {
        let labels = |count: usize| (0..count).map(|number| (format!("l{number}"), String::new())).collect();
        assert_eq!(WorkerOptions { labels: labels(LABELS_MAX), ..WorkerOptions::default() }.check(), Ok(()));
        let error = WorkerOptions { labels: labels(LABELS_MAX + 1), ..WorkerOptions::default() }.check().unwrap_err();
        assert_eq!(error.violations()[0].field, "labels");
        let taints = vec!["gpu".parse().unwrap(); 17];
        let error = WorkerOptions { taints, ..WorkerOptions::default() }.check().unwrap_err();
        assert_eq!(error.violations()[0].field, "taints");
    }
}
