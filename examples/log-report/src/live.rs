//! What a watcher of the job sees while it runs: changes of its tasks, and the lines they write.

use std::{
    collections::{BTreeMap, VecDeque},
    io::{self, Write},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use mcp_client::Client;
use mcp_proto::scheduler::v1::{LogLine, LogStream, TaskState, WatchTasksResponse};
use tonic::{Status, Streaming};

/// How often a broken log stream is opened again.
const LOG_REOPENED_MAX: usize = 3;

/// Changes of tasks not known yet that are kept: a task may start before the answer to its submit is here.
const EARLY_CHANGES_MAX: usize = 1_000;

/// Prints what happens to the tasks of the job. Shared by everything that follows a task.
#[derive(Debug)]
pub struct Live {
    started: Instant,
    job_len: usize,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    tasks: BTreeMap<String, Shown>,
    early: VecDeque<(String, TaskState)>,
}

#[derive(Debug)]
struct Shown {
    name: String,
    state: TaskState,
}

impl Live {
    /// Shows a job of `job_len` tasks, with times since `started`.
    pub fn new(started: Instant, job_len: usize) -> Self {
        Self { started, job_len, known: Mutex::default() }
    }

    /// Shows a task of the job from now on, and what is known of it already.
    pub fn add(&self, task_id: &str, name: &str) {
        self.say(&format!("{name} is task {task_id}"));
        let early: Vec<TaskState> = {
            let mut known = self.known();
            known.tasks.insert(task_id.to_owned(), Shown { name: name.to_owned(), state: TaskState::Pending });
            known.early.iter().filter(|(id, _)| id == task_id).map(|(_, state)| *state).collect()
        };
        for state in early {
            self.change(task_id, state);
        }
    }

    /// The ids of the tasks of the job.
    fn task_ids(&self) -> Vec<String> {
        self.known().tasks.keys().cloned().collect()
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Prints a line of text with the time. The job goes on when nobody reads it any more.
    pub fn say(&self, text: &str) {
        drop(writeln!(io::stdout().lock(), "[{:7.2} s] {text}", self.started.elapsed().as_secs_f64()));
    }

    /// Takes note of a state, and prints it with the counts when it is new.
    pub fn change(&self, task_id: &str, state: TaskState) {
        let text = {
            let mut known = self.known();
            let Known { tasks, early } = &mut *known;
            let Some(shown) = tasks.get_mut(task_id) else {
                if early.len() == EARLY_CHANGES_MAX {
                    early.pop_front();
                }
                early.push_back((task_id.to_owned(), state));
                return;
            };
            if shown.state == state || shown.state.is_final() {
                return;
            }
            shown.state = state;
            let name = shown.name.clone();
            let count = |wanted: TaskState| tasks.values().filter(|shown| shown.state == wanted).count();
            let (running, done) = (count(TaskState::Running), count(TaskState::Succeeded));
            format!("{name} is {:<9}  {done} of {} done, {running} running", label(state), self.job_len)
        };
        self.say(&text);
    }

    fn line(&self, name: &str, line: &LogLine) {
        let mark = if line.stream() == LogStream::Stdout { '|' } else { '!' };
        self.say(&format!("    {name} {mark} {}", line.text));
    }
}

/// The state in lower case, without the enum's prefix.
fn label(state: TaskState) -> String {
    state.as_str_name().trim_start_matches("TASK_STATE_").to_lowercase()
}

/// Shows the changes that a watch tells, until the stream ends; after lost changes the tasks are read again.
///
/// # Errors
/// Of the stream.
pub async fn follow_changes(
    client: &Client,
    mut changes: Streaming<WatchTasksResponse>,
    live: &Live,
) -> Result<(), Status> {
    while let Some(response) = changes.message().await? {
        if response.dropped > 0 {
            for id in live.task_ids() {
                if let Ok(task) = client.get(&id).await {
                    live.change(&id, task.state());
                }
            }
        }
        for event in &response.events {
            live.change(&event.task_id, event.state());
        }
    }
    Ok(())
}

/// Shows the lines a task writes, until it is final. A stream that breaks is opened again, after the last line seen.
pub async fn follow_lines(client: Client, task_id: String, name: String, live: &Live) {
    let mut seen = 0;
    for _ in 0..=LOG_REOPENED_MAX {
        match read_lines(&client, &task_id, &name, live, &mut seen).await {
            Ok(()) => return,
            Err(error) => live.say(&format!("the log of {name} broke off: {error}")),
        }
    }
}

async fn read_lines(
    client: &Client,
    task_id: &str,
    name: &str,
    live: &Live,
    seen: &mut u64,
) -> Result<(), mcp_proto::Error> {
    let mut log = client.logs(task_id, *seen, true).await?;
    while let Some(response) = log.message().await? {
        for line in &response.lines {
            *seen = line.seq;
            live.line(name, line);
        }
    }
    Ok(())
}
