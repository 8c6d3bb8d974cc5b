//! `mcp submit`, and the task that its flags describe.

use std::{path::PathBuf, time::Duration};

use clap::Args;
use mcp_proto::scheduler::v1::TaskSpec;

use super::{
    help,
    parse::duration,
    task_flags::{TaskFlags, wire},
};

/// Flags of `mcp submit`.
#[derive(Debug, Clone, Default, Args)]
#[command(after_help = help::SUBMIT)]
pub struct Submit {
    /// The task.
    #[command(flatten)]
    pub task: TaskFlags,
    /// How long to wait before the task is due.
    #[arg(long, value_parser = duration, value_name = "TIME")]
    pub delay: Option<Duration>,
    /// Makes a repeated submit return the first task; unique in the queue for 24 h.
    #[arg(long, default_value = "", value_name = "KEY")]
    pub idempotency_key: String,
    /// How long the idempotency key is remembered, 1 s to 7 days. Without it 24 h.
    #[arg(long, value_parser = duration, value_name = "TIME", requires = "idempotency_key")]
    pub idempotency_window: Option<Duration>,
    /// Makes a submit return the unfinished task of the queue that has this key, when there is one.
    #[arg(long, default_value = "", value_name = "KEY")]
    pub unique_key: String,
    /// Submit the tasks of this file, one TaskSpec as JSON per line; `-` is standard input.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["argv", "handler", "stdin", "env", "cwd", "queue",
        "namespace", "name", "priority", "retries", "never_retry", "run_timeout", "queue_timeout", "delay", "key",
        "at_most_once", "idempotency_key", "unique_key", "label", "label_rule", "tolerate", "cpu", "memory", "strategy",
        "preempt", "follow"])]
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
        Ok(TaskSpec {
            delay: wire("--delay", self.delay)?,
            idempotency_key: self.idempotency_key.clone(),
            idempotency_window: wire("--idempotency-window", self.idempotency_window)?,
            unique_key: self.unique_key.clone(),
            ..self.task.spec(&self.argv, stdin)?
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use mcp_proto::scheduler::v1::{Delivery, LabelOperator, PlacementStrategy, task_spec::Work};

    use crate::args::{Cli, Command};

    fn submit(args: &str) -> Result<super::Submit, clap::Error> {
        submit_args(args.split_whitespace())
    }

    fn submit_args<'a>(args: impl IntoIterator<Item = &'a str>) -> Result<super::Submit, clap::Error> {
        let cli = Cli::try_parse_from(["mcp", "submit"].into_iter().chain(args))?;
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
        assert_eq!(spec.retry.as_ref().unwrap().max_attempts, 1);
        assert_eq!(spec.run_timeout.unwrap().seconds, 90);
        assert!(spec.placement.is_none() && spec.delivery() == Delivery::Unspecified, "nothing was asked for");
    }

    #[test]
    fn flags_describe_a_handler() {
        let spec = submit("--handler resize --input 300").unwrap().spec(Vec::new()).unwrap();
        let Some(Work::Handler(handler)) = spec.work else { panic!("{spec:?}") };
        assert_eq!((handler.handler.as_str(), handler.input.is_some()), ("resize", true));
        assert!(spec.retry.is_none() && spec.run_timeout.is_none(), "unset means the server's default");
    }

    #[test]
    fn flags_describe_repeats_and_retries() {
        let args = "--key ana --unique-key u --idempotency-key i --idempotency-window 1h --at-most-once \
                    --never-retry EXIT_NON_ZERO --never-retry BadInput --delay 5s -- true";
        let spec = submit(args).unwrap().spec(Vec::new()).unwrap();
        assert_eq!((&*spec.key, &*spec.unique_key, &*spec.idempotency_key), ("ana", "u", "i"));
        assert_eq!((spec.idempotency_window.unwrap().seconds, spec.delay.unwrap().seconds), (3_600, 5));
        assert_eq!(spec.delivery(), Delivery::AtMostOnce);
        let retry = spec.retry.unwrap();
        assert_eq!((retry.max_attempts, retry.never_retry), (0, vec!["EXIT_NON_ZERO".into(), "BadInput".into()]));
        assert!(submit("--idempotency-window 1h -- true").is_err(), "a window without a key means nothing");
    }

    #[test]
    fn flags_describe_a_placement() {
        let args = ["--label-rule", "zone in (a, b)", "--label-rule", "!spot", "--tolerate", "gpu", "--cpu", "500m"];
        let more = ["--memory", "1GiB", "--strategy", "bin-pack", "--preempt", "--", "true"];
        let spec = submit_args(args.into_iter().chain(more)).unwrap().spec(Vec::new()).unwrap();
        let placement = spec.placement.unwrap();
        assert_eq!(placement.rules.len(), 2);
        assert_eq!((placement.rules[0].operator(), &*placement.rules[1].key), (LabelOperator::In, "spot"));
        assert_eq!((placement.tolerations.len(), placement.cpu_millis, placement.memory_bytes), (1, 500, 1 << 30));
        assert_eq!((placement.strategy(), placement.preempt), (PlacementStrategy::BinPack, true));
    }

    #[test]
    fn kinds_of_work_exclude_each_other() {
        for args in [
            "",
            "--handler h -- ls",
            "--file f -- ls",
            "--input 1 -- ls",
            "--file f --queue q",
            "--file f --cpu 1",
            "--env X -- ls",
        ] {
            assert!(submit(args).is_err(), "`{args}` was taken");
        }
    }
}
