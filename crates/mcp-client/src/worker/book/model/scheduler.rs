//! A scheduler replica as the protocol describes it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use mcp_proto::worker::v1::OpenSessionRequest;

use crate::worker::attempt::{AttemptKey, FencingToken};

/// Tasks are numbers; a task's partition is its number modulo this.
pub(super) const PARTITIONS: usize = 4;

/// What the store knows: tasks that are over, and by which attempt.
#[derive(Debug, Default)]
pub(super) struct Store {
    pub(super) done: BTreeMap<usize, AttemptKey>,
    /// Attempts whose end was taken, and those that were refused as outdated, or revoked.
    pub(super) taken: BTreeSet<AttemptKey>,
    pub(super) refused: BTreeSet<AttemptKey>,
}

/// What the worker is told.
#[derive(Debug, Default)]
pub(super) struct Down {
    pub(super) welcome: bool,
    pub(super) acknowledged: Vec<AttemptKey>,
    pub(super) adopted: Vec<AttemptKey>,
    pub(super) assigned: Vec<AttemptKey>,
    pub(super) revoked: Vec<AttemptKey>,
    pub(super) not_mine: Vec<AttemptKey>,
    pub(super) reclaimed: Option<u32>,
    pub(super) report: bool,
    pub(super) pinged: bool,
}

/// What the worker says: its hello, or a message.
#[derive(Debug)]
pub(super) enum Up {
    Hello { running: Vec<AttemptKey>, credits: u32 },
    Message(Box<OpenSessionRequest>),
}

/// One stream, both ways.
#[derive(Debug, Default)]
pub(super) struct Stream {
    pub(super) up: VecDeque<Up>,
    pub(super) down: VecDeque<Down>,
    /// Credits that the scheduler has.
    pub(super) free: u32,
    /// The hello was heard.
    pub(super) is_open: bool,
}

#[derive(Debug, Default)]
pub(super) struct Scheduler {
    pub(super) stream: Option<Stream>,
    /// Partitions it believes to own, and the epoch of each.
    pub(super) owned: BTreeMap<usize, u64>,
    pub(super) waiting: BTreeSet<usize>,
    pub(super) running: BTreeMap<usize, AttemptKey>,
    /// Tasks of an earlier owner whose attempts may still be reported.
    pub(super) restored: BTreeSet<usize>,
    sequence: u64,
}

pub(super) fn task_of(key: AttemptKey) -> usize {
    usize::try_from(key.task.unix_ms()).unwrap()
}

impl Scheduler {
    fn owns(&self, key: AttemptKey) -> bool {
        self.owned.contains_key(&(task_of(key) % PARTITIONS))
    }

    fn say(&mut self, down: Down) {
        if let Some(stream) = self.stream.as_mut().filter(|stream| stream.is_open) {
            stream.down.push_back(down);
        }
    }

    /// Takes a partition over; its unfinished tasks may have attempts.
    pub(super) fn open(&mut self, partition: usize, epoch: u64, tasks: usize, store: &Store) {
        self.owned.insert(partition, epoch);
        self.restored
            .extend((0..tasks).filter(|task| task % PARTITIONS == partition && !store.done.contains_key(task)));
        self.say(Down { report: true, ..Down::default() });
    }

    /// Gives a partition up: what runs is another one's from now on.
    pub(super) fn close(&mut self, partition: usize) {
        self.owned.remove(&partition);
        let is_other = |task: &usize| task % PARTITIONS != partition;
        self.waiting.retain(is_other);
        self.restored.retain(is_other);
        let not_mine: Vec<AttemptKey> =
            self.running.extract_if(.., |task, _| !is_other(task)).map(|(_, key)| key).collect();
        self.say(Down { not_mine, ..Down::default() });
    }

    /// Nobody reported an attempt in time: the tasks go to the next worker that is free.
    pub(super) fn end_grace(&mut self) {
        self.waiting.append(&mut self.restored);
    }

    /// Gives a waiting task out.
    pub(super) fn dispatch(&mut self, task: usize) -> AttemptKey {
        self.waiting.remove(&task);
        self.sequence += 1;
        let epoch = self.owned[&(task % PARTITIONS)];
        let key = AttemptKey {
            task: mcp_proto::TaskId::new(task as u64, 0, 0, 0),
            token: FencingToken { epoch, sequence: self.sequence },
        };
        self.running.insert(task, key);
        self.stream.as_mut().unwrap().free -= 1;
        self.say(Down { assigned: vec![key], ..Down::default() });
        key
    }

    /// Takes what the worker says next. The caller has made sure that it owns what it believes to own.
    pub(super) fn hear(&mut self, store: &mut Store) {
        let Some(up) = self.stream.as_mut().and_then(|stream| stream.up.pop_front()) else { return };
        match up {
            Up::Hello { running, credits } => {
                let mut down = Down { welcome: true, ..Down::default() };
                let mut missing = self.running.clone();
                for key in running {
                    self.report(key, &mut down, store);
                    missing.retain(|_, known| *known != key);
                }
                // What it does not claim it has lost.
                for task in missing.into_keys() {
                    self.running.remove(&task);
                    self.waiting.insert(task);
                }
                let stream = self.stream.as_mut().unwrap();
                (stream.is_open, stream.free) = (true, credits);
                // In a welcome, silence means adopted.
                down.adopted.clear();
                self.say(down);
            }
            Up::Message(message) => self.message(*message, store),
        }
    }

    fn message(&mut self, message: OpenSessionRequest, store: &mut Store) {
        let mut down = Down::default();
        let keys = |refs: &[mcp_proto::worker::v1::AttemptRef]| -> Vec<AttemptKey> {
            refs.iter().map(|wire| AttemptKey::try_from(wire).unwrap()).collect()
        };
        for key in keys(&message.running) {
            self.report(key, &mut down, store);
        }
        for result in &message.results {
            let key = AttemptKey::try_from(result.attempt.as_ref().unwrap()).unwrap();
            self.end(key, true, &mut down, store);
        }
        for key in keys(&message.handed_back) {
            self.end(key, false, &mut down, store);
        }
        let stream = self.stream.as_mut().unwrap();
        stream.free += message.credits;
        if message.reclaim > 0 {
            let credits = message.reclaim.min(stream.free);
            stream.free -= credits;
            down.reclaimed = Some(credits);
        }
        self.say(down);
    }

    fn report(&mut self, key: AttemptKey, down: &mut Down, store: &mut Store) {
        let task = task_of(key);
        if !self.owns(key) {
            down.not_mine.push(key);
        } else if self.running.get(&task) == Some(&key) {
            down.adopted.push(key);
        } else if self.restored.remove(&task) {
            self.running.insert(task, key);
            down.adopted.push(key);
        } else {
            store.refused.insert(key);
            down.revoked.push(key);
        }
    }

    fn end(&mut self, key: AttemptKey, is_done: bool, down: &mut Down, store: &mut Store) {
        let task = task_of(key);
        if !self.owns(key) {
            return down.not_mine.push(key);
        }
        down.acknowledged.push(key);
        if self.restored.remove(&task) {
            // The first that is heard of since this replica took over counts.
            self.running.insert(task, key);
        }
        if self.running.get(&task) != Some(&key) {
            store.refused.insert(key);
            return;
        }
        self.running.remove(&task);
        store.taken.insert(key);
        if is_done {
            assert_eq!(store.done.insert(task, key), None, "task {task} is done already");
        } else {
            // Not durable, and no harm when the next owner hears it again.
            self.waiting.insert(task);
        }
    }
}
