//! What was seen from outside: submits and their answers, what programs wrote, what watchers were told, what was broken.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Mutex,
    time::{Duration, Instant},
};

use mcp_proto::scheduler::v1::TaskState;
use tempfile::TempDir;

/// How long a worker that was paused may take to hear what it missed.
const CATCH_UP_MS: u64 = 3_000;

/// An attempt as its program wrote it down. Times are those of `/proc/uptime`, in milliseconds, which all processes of
/// a machine share.
#[derive(Debug, Clone)]
pub(super) struct Execution {
    /// The task.
    pub(super) task: String,
    /// Its fencing token, `epoch.sequence`.
    pub(super) token: String,
    /// The worker that ran it.
    pub(super) worker: String,
    /// The queue.
    pub(super) queue: String,
    /// When the program began.
    pub(super) start: u64,
    /// When it ended; `None` when it did not get so far.
    pub(super) end: Option<u64>,
}

/// A time in which a worker was not to be trusted, in milliseconds of uptime. What it runs at its beginning may be given
/// to another worker, and what it begins in it may be what it was given before.
#[derive(Debug, Clone)]
pub(super) struct Trouble {
    /// Which worker.
    pub(super) worker: String,
    /// From when on: it was killed or paused.
    pub(super) from: u64,
    /// Until when: it has had the time to hear what became of its attempts.
    pub(super) until: u64,
}

/// How and when a task ended, as the scheduler that ended it says. Two schedulers that end a task both give two times.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct End {
    /// Its final state.
    pub(super) state: TaskState,
    /// When it was final.
    pub(super) time: Option<prost_types::Timestamp>,
}

/// A submit that was acknowledged.
#[derive(Debug, Clone)]
pub(super) struct Acknowledged {
    /// The task.
    pub(super) task: String,
    /// How long the submit took.
    pub(super) took: Duration,
}

/// The notes of everyone.
#[derive(Debug)]
pub(super) struct History {
    start: Instant,
    folder: TempDir,
    acknowledged: Mutex<Vec<Acknowledged>>,
    ends: Mutex<BTreeMap<String, Vec<End>>>,
    troubles: Mutex<Vec<Trouble>>,
    notes: Mutex<Vec<String>>,
    failed: Mutex<BTreeMap<String, usize>>,
}

impl History {
    /// An empty one.
    pub(super) fn new() -> Self {
        Self {
            start: Instant::now(),
            folder: tempfile::tempdir().expect("a temporary folder can be made"),
            acknowledged: Mutex::default(),
            ends: Mutex::default(),
            troubles: Mutex::default(),
            notes: Mutex::default(),
            failed: Mutex::default(),
        }
    }

    /// The file into which the programs of a worker write.
    pub(super) fn file_of(&self, worker: &str) -> PathBuf {
        self.folder.path().join(worker)
    }

    /// A submit was acknowledged.
    pub(super) fn acknowledge(&self, task: String, at: Instant) {
        self.acknowledged.lock().unwrap().push(Acknowledged { task, took: at.elapsed() });
    }

    /// A submit failed.
    pub(super) fn fail(&self, why: String) {
        *self.failed.lock().unwrap().entry(why).or_default() += 1;
    }

    /// A watcher was told of an end.
    pub(super) fn end(&self, task: String, end: End) {
        self.ends.lock().unwrap().entry(task).or_default().push(end);
    }

    /// A worker was in trouble from `from` on, and is not any more; see [`Trouble`].
    pub(super) fn trouble(&self, worker: &str, from: u64) {
        let until = uptime() + CATCH_UP_MS;
        self.troubles.lock().unwrap().push(Trouble { worker: worker.to_owned(), from, until });
    }

    /// Something happened.
    pub(super) fn note(&self, what: String) {
        self.notes.lock().unwrap().push(format!("{:7.2} s  {what}", self.start.elapsed().as_secs_f64()));
    }

    /// Everything that happened.
    pub(super) fn notes(&self) -> String {
        let failed = self.failed.lock().unwrap();
        format!("{}\nfailed submits: {failed:#?}", self.notes.lock().unwrap().join("\n"))
    }

    /// What was acknowledged so far.
    pub(super) fn acknowledged(&self) -> Vec<Acknowledged> {
        self.acknowledged.lock().unwrap().clone()
    }

    /// What watchers were told so far.
    pub(super) fn told(&self) -> BTreeMap<String, Vec<End>> {
        self.ends.lock().unwrap().clone()
    }

    /// Every trouble so far.
    pub(super) fn troubles(&self) -> Vec<Trouble> {
        self.troubles.lock().unwrap().clone()
    }

    /// What programs wrote so far.
    pub(super) fn executions(&self) -> Vec<Execution> {
        let files = fs::read_dir(self.folder.path()).expect("the folder is there");
        files.flat_map(|file| executions_in(&file.expect("it can be listed").path())).collect()
    }
}

/// Lines are `start|end queue task token uptime`. Short lines appended to a file do not mix.
fn executions_in(file: &Path) -> Vec<Execution> {
    let worker = file.file_name().expect("it has a name").to_string_lossy().into_owned();
    let text = fs::read_to_string(file).expect("programs write text");
    let mut found: Vec<Execution> = Vec::new();
    let mut open: BTreeMap<String, usize> = BTreeMap::new();
    for line in text.lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        let [what, queue, task, token, time] = fields[..] else { panic!("{worker} wrote {line:?}") };
        let time = milliseconds(time);
        let key = format!("{task} {token}");
        match what {
            "start" => {
                open.insert(key, found.len());
                let (task, token, queue) = (task.to_owned(), token.to_owned(), queue.to_owned());
                found.push(Execution { task, token, worker: worker.clone(), queue, start: time, end: None });
            }
            "end" => found[open[&key]].end = Some(time),
            _ => panic!("{worker} wrote {line:?}"),
        }
    }
    found
}

/// Milliseconds since the machine started.
pub(super) fn uptime() -> u64 {
    milliseconds(&uptime_text())
}

/// The same as `/proc/uptime` has it: seconds with two places.
pub(super) fn uptime_text() -> String {
    let text = fs::read_to_string("/proc/uptime").expect("Linux has it");
    text.split(' ').next().expect("it has two fields").to_owned()
}

fn milliseconds(uptime: &str) -> u64 {
    let (seconds, hundredths) = uptime.split_once('.').expect("uptime has two places");
    seconds.parse::<u64>().unwrap() * 1_000 + hundredths.parse::<u64>().unwrap() * 10
}
