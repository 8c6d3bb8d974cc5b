//! `mcp submit`, and the task that its flags describe.

use std::{path::PathBuf, time::Duration};

use clap::Args;
use mcp_client::value::to_value;
use mcp_proto::scheduler::v1::{HandlerWork, ProcessWork, RetryPolicy, TaskSpec, task_spec::Work};

use super::{
    help,
    parse::{duration, json, pair},
};

/// Flags of `mcp submit`.
#[derive(Debug, Clone, Default, Args)]
#[command(after_help = help::SUBMIT)]
pub struct Submit {
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
    /// How long one attempt may run. Without it 1 h.
    #[arg(long, value_parser = duration, value_name = "TIME")]
    pub run_timeout: Option<Duration>,
    /// How long the task may wait for its first attempt. Without it for ever.
    #[arg(long, value_parser = duration, value_name = "TIME")]
    pub queue_timeout: Option<Duration>,
    /// How long to wait before the task is due.
    #[arg(long, value_parser = duration, value_name = "TIME")]
    pub delay: Option<Duration>,
    /// Makes a repeated submit return the first task; unique in the queue for 24 h.
    #[arg(long, default_value = "", value_name = "KEY")]
    pub idempotency_key: String,
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
    /// Submit the tasks of this file, one TaskSpec as JSON per line; `-` is standard input.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["argv", "handler", "stdin", "env", "cwd", "queue",
        "namespace", "name", "priority", "retries", "run_timeout", "queue_timeout", "delay", "idempotency_key",
        "label", "follow"])]
    pub file: Option<PathBuf>,
    /// Wait until the task is final, and show it.
    #[arg(long, short)]
    pub wait: bool,
    /// Show what the task writes while it runs; includes --wait.
    #[arg(long, short)]
    pub follow: bool,
    /// Program and arguments, after `--`.
    #[arg(last = true, required_unless_present_any = ["handler", "file"], value_name = "ARGV")]
    pub argv: Vec<String>,
}

impl Submit {
    /// The task that the flags describe; `stdin` is what `--stdin` names.
    ///
    /// # Errors
    /// A time that the wire cannot carry, with the flag's name.
    pub fn spec(&self, stdin: Vec<u8>) -> Result<TaskSpec, String> {
        let work = match &self.handler {
            Some(handler) => {
                Work::Handler(HandlerWork { handler: handler.clone(), input: self.input.clone().map(to_value) })
            }
            None => Work::Process(ProcessWork {
                argv: self.argv.clone(),
                env: self.env.iter().cloned().collect(),
                cwd: self.cwd.clone(),
                stdin: stdin.into(),
            }),
        };
        let retry = self
            .retries
            .map(|retries| RetryPolicy { max_attempts: retries.saturating_add(1), ..RetryPolicy::default() });
        Ok(TaskSpec {
            namespace: self.namespace.clone(),
            queue: self.queue.clone(),
            name: self.name.clone(),
            work: Some(work),
            priority: self.priority,
            retry,
            run_timeout: wire("--run-timeout", self.run_timeout)?,
            queue_timeout: wire("--queue-timeout", self.queue_timeout)?,
            delay: wire("--delay", self.delay)?,
            idempotency_key: self.idempotency_key.clone(),
            labels: self.label.iter().cloned().collect(),
        })
    }
}

fn wire(flag: &str, time: Option<Duration>) -> Result<Option<prost_types::Duration>, String> {
    time.map(|time| prost_types::Duration::try_from(time).map_err(|_| format!("{flag} is too long"))).transpose()
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use mcp_proto::scheduler::v1::task_spec::Work;

    use crate::args::{Cli, Command};

    fn submit(args: &str) -> Result<super::Submit, clap::Error> {
        let cli = Cli::try_parse_from(["mcp", "submit"].into_iter().chain(args.split_whitespace()))?;
        match cli.command {
            Command::Submit(submit) => Ok(*submit),
            command => panic!("{command:?}"),
        }
    }

    #[test]
    fn flags_describe_a_process() {
        let args = "-q images --retries 0 --run-timeout 90s --priority -3 --env A=1 --label k=v -- ls -l --all";
        let spec = submit(args).unwrap().spec(b"in".to_vec()).unwrap();
        let Some(Work::Process(process)) = &spec.work else { panic!("{spec:?}") };
        assert_eq!(process.argv, ["ls", "-l", "--all"]);
        assert_eq!((&process.stdin[..], process.env["A"].as_str()), (&b"in"[..], "1"));
        assert_eq!((spec.queue.as_str(), spec.priority, spec.labels["k"].as_str()), ("images", -3, "v"));
        assert_eq!(spec.retry.unwrap().max_attempts, 1);
        assert_eq!(spec.run_timeout.unwrap().seconds, 90);
    }

    #[test]
    fn flags_describe_a_handler() {
        let spec = submit("--handler resize --input 300").unwrap().spec(Vec::new()).unwrap();
        let Some(Work::Handler(handler)) = spec.work else { panic!("{spec:?}") };
        assert_eq!((handler.handler.as_str(), handler.input.is_some()), ("resize", true));
        assert!(spec.retry.is_none() && spec.run_timeout.is_none(), "unset means the server's default");
    }

    #[test]
    fn kinds_of_work_exclude_each_other() {
        for args in
            ["", "--handler h -- ls", "--file f -- ls", "--input 1 -- ls", "--file f --queue q", "--env X -- ls"]
        {
            assert!(submit(args).is_err(), "`{args}` was taken");
        }
    }
}
