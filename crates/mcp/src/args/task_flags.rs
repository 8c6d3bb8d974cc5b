//! The flags that describe a task: for `mcp submit`, and for schedules that start one.

use std::{path::PathBuf, time::Duration};

use clap::Args;
use mcp_client::value::to_value;
use mcp_proto::scheduler::v1::{Delivery, HandlerWork, ProcessWork, RetryPolicy, TaskSpec, task_spec::Work};

use super::{
    parse::{duration, json, pair},
    placement::PlacementFlags,
};

/// Flags that describe a task. Whoever uses them has `argv`, the program and its arguments.
#[derive(Debug, Clone, Default, Args)]
pub struct TaskFlags {
    /// Queue to put the task into.
    #[arg(long, short, default_value = "")]
    pub queue: String,
    /// Namespace of the queue.
    #[arg(long, short, default_value = "")]
    pub namespace: String,
    /// Name for people.
    #[arg(long, default_value = "")]
    pub name: String,
    /// Order among waiting tasks, -100 to 100; a higher one is first.
    #[arg(long, short, default_value_t = 0, allow_negative_numbers = true)]
    pub priority: i32,
    /// How often a failed attempt is tried again; 0 is never. Without it 2 times.
    #[arg(long, value_name = "N")]
    pub retries: Option<u32>,
    /// Error after which the task is not tried again, for instance `EXIT_NON_ZERO`; can be given more than once.
    #[arg(long, value_name = "NAME")]
    pub never_retry: Vec<String>,
    /// How long one attempt may run. Without it 1 h.
    #[arg(long, value_parser = duration, value_name = "TIME")]
    pub run_timeout: Option<Duration>,
    /// How long the task may wait for its first attempt. Without it for ever.
    #[arg(long, value_parser = duration, value_name = "TIME")]
    pub queue_timeout: Option<Duration>,
    /// Whose task it is within the queue: limits per key and fair sharing between keys go by it.
    #[arg(long, default_value = "", value_name = "KEY")]
    pub key: String,
    /// Start the work once at most: an attempt whose end nobody knows fails the task. Without it at least once.
    #[arg(long)]
    pub at_most_once: bool,
    /// Free mark; can be given more than once.
    #[arg(long, value_parser = pair, value_name = "KEY=VALUE")]
    pub label: Vec<(String, String)>,
    /// Variable of the program's environment; can be given more than once.
    #[arg(long, value_parser = pair, value_name = "KEY=VALUE", conflicts_with = "handler")]
    pub env: Vec<(String, String)>,
    /// Working folder on the worker's machine. Without it a fresh one.
    #[arg(long, default_value = "", value_name = "DIR", conflicts_with = "handler")]
    pub cwd: String,
    /// File whose bytes become the program's standard input; `-` is this command's own.
    #[arg(long, value_name = "FILE", conflicts_with = "handler")]
    pub stdin: Option<PathBuf>,
    /// Function that a worker registered, instead of a program.
    #[arg(long, value_name = "NAME", conflicts_with = "argv")]
    pub handler: Option<String>,
    /// Argument of the function, any JSON value.
    #[arg(long, value_name = "JSON", value_parser = json, requires = "handler", conflicts_with = "argv")]
    pub input: Option<serde_json::Value>,
    /// Where it may run.
    #[command(flatten)]
    pub placement: PlacementFlags,
}

impl TaskFlags {
    /// The task that the flags describe; `stdin` is what `--stdin` names.
    ///
    /// # Errors
    /// A time that the wire cannot carry, with the flag's name.
    pub fn spec(&self, argv: &[String], stdin: Vec<u8>) -> Result<TaskSpec, String> {
        let delivery = if self.at_most_once { Delivery::AtMostOnce } else { Delivery::Unspecified };
        Ok(TaskSpec {
            namespace: self.namespace.clone(),
            queue: self.queue.clone(),
            name: self.name.clone(),
            work: Some(self.work(argv, stdin)),
            priority: self.priority,
            retry: self.retry(),
            run_timeout: wire("--run-timeout", self.run_timeout)?,
            queue_timeout: wire("--queue-timeout", self.queue_timeout)?,
            labels: self.label.iter().cloned().collect(),
            key: self.key.clone(),
            delivery: delivery.into(),
            placement: self.placement.placement(),
            ..TaskSpec::default()
        })
    }

    fn work(&self, argv: &[String], stdin: Vec<u8>) -> Work {
        match &self.handler {
            Some(handler) => {
                Work::Handler(HandlerWork { handler: handler.clone(), input: self.input.clone().map(to_value) })
            }
            None => Work::Process(ProcessWork {
                argv: argv.to_vec(),
                env: self.env.iter().cloned().collect(),
                cwd: self.cwd.clone(),
                stdin: stdin.into(),
            }),
        }
    }

    fn retry(&self) -> Option<RetryPolicy> {
        if self.retries.is_none() && self.never_retry.is_empty() {
            return None;
        }
        Some(RetryPolicy {
            // 0 stands for the server's default.
            max_attempts: self.retries.map_or(0, |retries| retries.saturating_add(1)),
            never_retry: self.never_retry.clone(),
            ..RetryPolicy::default()
        })
    }
}

/// A flag's time in the form of the wire.
///
/// # Errors
/// That it is too long, with the flag's name.
pub(super) fn wire(flag: &str, time: Option<Duration>) -> Result<Option<prost_types::Duration>, String> {
    time.map(|time| prost_types::Duration::try_from(time).map_err(|_| format!("{flag} is too long"))).transpose()
}
