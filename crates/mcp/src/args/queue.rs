//! `mcp queue`: rules, limits and dead letters of queues.

use std::{str::FromStr, time::Duration};

use clap::{Args, Subcommand};
use mcp_proto::scheduler::v1::{DeadLetterFilter, QueueRules, Rate};

use super::{help, moment::Moment, parse::duration};

/// How a rate may be written, for messages.
const RATE_FORMS: &str = "write `100/s`, `30/m`, `10/h`, `100/s:20` (20 at once after a quiet time) or `none`";

/// What `mcp queue` can do.
#[derive(Debug, Clone, Subcommand)]
pub enum Queue {
    /// List the queues that hold tasks or have rules.
    #[command(after_help = help::queue::LIST)]
    List {
        /// Only queues of this namespace.
        #[arg(long, short, default_value = "")]
        namespace: String,
    },
    /// Show a queue: its rules, and how it fares.
    #[command(after_help = help::queue::GET)]
    Get(QueueName),
    /// Change rules of a queue; those without a flag stay as they are.
    #[command(after_help = help::queue::SET)]
    Set(Set),
    /// Stop starting the queue's tasks; what runs goes on, and submits are taken.
    #[command(after_help = help::queue::PAUSE)]
    Pause(QueueName),
    /// Refuse further submits; what is there is run.
    #[command(after_help = help::queue::DRAIN)]
    Drain(QueueName),
    /// End a pause and a drain.
    #[command(after_help = help::queue::RESUME)]
    Resume(QueueName),
    /// Show how many workers the queue needs.
    #[command(after_help = help::queue::SCALING)]
    Scaling(Scaling),
    /// Tasks that were given up: list them, submit them again, remove them.
    #[command(subcommand, after_help = help::queue::DEAD)]
    Dead(Dead),
}

impl Queue {
    /// The command's name, for its span.
    pub fn name(&self) -> &'static str {
        match self {
            Self::List { .. } => "queue list",
            Self::Get(_) => "queue get",
            Self::Set(_) => "queue set",
            Self::Pause(_) => "queue pause",
            Self::Drain(_) => "queue drain",
            Self::Resume(_) => "queue resume",
            Self::Scaling(_) => "queue scaling",
            Self::Dead(Dead::List(_)) => "queue dead list",
            Self::Dead(Dead::Replay(_)) => "queue dead replay",
            Self::Dead(Dead::Purge(_)) => "queue dead purge",
        }
    }
}

/// Which queue.
#[derive(Debug, Clone, Args)]
pub struct QueueName {
    /// Name of the queue.
    #[arg(default_value = "default")]
    pub queue: String,
    /// Namespace of the queue.
    #[arg(long, short, default_value = "default")]
    pub namespace: String,
}

/// Flags of `mcp queue set`.
#[derive(Debug, Clone, Args)]
pub struct Set {
    /// The queue.
    #[command(flatten)]
    pub name: QueueName,
    /// The rules to change.
    #[command(flatten)]
    pub changes: Changes,
}

/// The rules to change; at least one.
#[derive(Debug, Clone, Default, Args)]
#[group(required = true, multiple = true)]
pub struct Changes {
    /// Tasks of the queue that may run at a time; `none` is no limit.
    #[arg(long, value_parser = bound::<u32>, value_name = "N")]
    pub concurrency: Option<u32>,
    /// Tasks with one key that may run at a time; `none` is no limit.
    #[arg(long, value_parser = bound::<u32>, value_name = "N")]
    pub key_concurrency: Option<u32>,
    /// How fast tasks of the queue are started: `100/s`, `30/m`, `100/s:20` with a burst; `none` is no limit.
    #[arg(long, value_name = "RATE")]
    pub rate: Option<RateFlag>,
    /// How fast tasks with one key are started; `none` is no limit.
    #[arg(long, value_name = "RATE")]
    pub key_rate: Option<RateFlag>,
    /// Share of a key, 1 to 1,000; every other key has 1. Can be given more than once.
    #[arg(long, value_parser = weight, value_name = "KEY=N")]
    pub weight: Vec<(String, u32)>,
    /// Unfinished tasks that the queue may hold; `none` is no limit.
    #[arg(long, value_parser = bound::<u64>, value_name = "N")]
    pub tasks_max: Option<u64>,
}

impl Changes {
    /// The rules after the changes.
    pub fn apply(&self, mut rules: QueueRules) -> QueueRules {
        rules.concurrency_max = self.concurrency.unwrap_or(rules.concurrency_max);
        rules.key_concurrency_max = self.key_concurrency.unwrap_or(rules.key_concurrency_max);
        rules.tasks_max = self.tasks_max.unwrap_or(rules.tasks_max);
        if let Some(RateFlag(rate)) = self.rate {
            rules.rate = rate;
        }
        if let Some(RateFlag(rate)) = self.key_rate {
            rules.key_rate = rate;
        }
        for (key, weight) in &self.weight {
            // 1 is what every key has that is not named.
            match weight {
                1 => drop(rules.weights.remove(key)),
                weight => drop(rules.weights.insert(key.clone(), *weight)),
            }
        }
        rules
    }
}

/// Flags of `mcp queue scaling`.
#[derive(Debug, Clone, Args)]
pub struct Scaling {
    /// The queue.
    #[command(flatten)]
    pub name: QueueName,
    /// Tasks that one worker runs at a time. Without it what those have that serve the queue now.
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub slots_per_worker: u32,
    /// How soon what waits is to be started. Without it 30 s.
    #[arg(long, value_parser = duration, value_name = "TIME")]
    pub target_wait: Option<Duration>,
}

/// What `mcp queue dead` can do.
#[derive(Debug, Clone, Subcommand)]
pub enum Dead {
    /// List dead letters, the oldest first.
    #[command(after_help = help::queue::DEAD_LIST)]
    List(DeadList),
    /// Submit dead letters again, as new tasks.
    #[command(after_help = help::queue::DEAD_REPLAY)]
    Replay(DeadChoice),
    /// Remove dead letters for good.
    #[command(after_help = help::queue::DEAD_PURGE)]
    Purge(DeadPurge),
}

/// Flags of `mcp queue dead list`.
#[derive(Debug, Clone, Args)]
pub struct DeadList {
    /// The queue.
    #[command(flatten)]
    pub name: QueueName,
    /// Which ones.
    #[command(flatten)]
    pub filter: Filter,
    /// Most to show.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: u32,
    /// Show all, however many.
    #[arg(long, conflicts_with = "limit")]
    pub all: bool,
}

/// Flags of `mcp queue dead replay`.
#[derive(Debug, Clone, Args)]
pub struct DeadChoice {
    /// The queue.
    #[command(flatten)]
    pub name: QueueName,
    /// Which ones.
    #[command(flatten)]
    pub filter: Filter,
    /// All of them.
    #[arg(long, conflicts_with = "Filter", required_unless_present = "Filter")]
    pub all: bool,
}

/// Flags of `mcp queue dead purge`.
#[derive(Debug, Clone, Args)]
pub struct DeadPurge {
    /// Which ones.
    #[command(flatten)]
    pub choice: DeadChoice,
    /// Do not ask.
    #[arg(long, short)]
    pub yes: bool,
}

/// Which dead letters; everything that is given must hold.
#[derive(Debug, Clone, Default, Args)]
#[group(multiple = true)]
pub struct Filter {
    /// Only this task; can be given more than once, at most 1,000 times.
    #[arg(long, value_name = "TASK")]
    pub id: Vec<String>,
    /// Only tasks that this error ended, for instance `EXIT_NON_ZERO`.
    #[arg(long, value_name = "NAME")]
    pub error: Option<String>,
    /// Only those given up at or after this time: a time, a day, or how long ago (`2h`).
    #[arg(long, value_name = "TIME")]
    pub since: Option<Moment>,
    /// Only those given up before this time.
    #[arg(long, value_name = "TIME")]
    pub until: Option<Moment>,
}

impl Filter {
    /// The filter in the form of the wire.
    ///
    /// # Errors
    /// A time that is too far away.
    pub fn wire(&self, all: bool, now: std::time::SystemTime) -> Result<DeadLetterFilter, String> {
        Ok(DeadLetterFilter {
            task_ids: self.id.clone(),
            error_name: self.error.clone().unwrap_or_default(),
            since: self.since.map(|moment| moment.resolve(now)).transpose()?,
            until: self.until.map(|moment| moment.resolve(now)).transpose()?,
            all,
        })
    }
}

/// A rate, or none.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RateFlag(pub Option<Rate>);

impl FromStr for RateFlag {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "none" {
            return Ok(Self(None));
        }
        let wrong = || format!("`{text}` is no rate; {RATE_FORMS}");
        let (rate, burst) = match text.split_once(':') {
            Some((rate, burst)) => (rate, burst.parse().ok().filter(|burst| *burst > 0).ok_or_else(wrong)?),
            None => (text, 0),
        };
        let (count, unit) = rate.split_once('/').ok_or_else(wrong)?;
        let seconds = match unit {
            "s" | "sec" | "second" => 1.0,
            "m" | "min" | "minute" => 60.0,
            "h" | "hour" => 3_600.0,
            _ => return Err(wrong()),
        };
        let per_second = count.parse::<f64>().map_err(|_| wrong())? / seconds;
        if !per_second.is_finite() || per_second <= 0.0 {
            return Err(wrong());
        }
        Ok(Self(Some(Rate { per_second, burst })))
    }
}

/// A limit; `none` is the 0 that stands for no limit. A limit of 0 is refused: to stop a queue is to pause it.
fn bound<T: FromStr + Default + PartialEq>(text: &str) -> Result<T, String> {
    if text == "none" {
        return Ok(T::default());
    }
    match text.parse() {
        Ok(limit) if limit != T::default() => Ok(limit),
        _ => Err("write a number from 1 on, or `none` for no limit; `mcp queue pause` stops a queue".to_owned()),
    }
}

/// `KEY=N`.
fn weight(text: &str) -> Result<(String, u32), String> {
    let parsed = text.rsplit_once('=').and_then(|(key, weight)| Some((key, weight.parse().ok()?)));
    match parsed {
        Some((key, weight @ 1..=1_000)) if !key.is_empty() => Ok((key.to_owned(), weight)),
        _ => Err("write KEY=N with N from 1 to 1000".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use mcp_proto::scheduler::v1::{QueueRules, Rate};

    use super::{Dead, Queue, RateFlag, Set};
    use crate::args::{Cli, Command};

    fn queue(args: &str) -> Result<Queue, clap::Error> {
        let cli = Cli::try_parse_from(["mcp", "queue"].into_iter().chain(args.split_whitespace()))?;
        match cli.command {
            Command::Queue(queue) => Ok(queue),
            command => panic!("{command:?}"),
        }
    }

    fn set(args: &str) -> Set {
        match queue(&format!("set {args}")).unwrap() {
            Queue::Set(set) => set,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn rates_have_units_and_bursts() {
        let rate = |per_second, burst| RateFlag(Some(Rate { per_second, burst }));
        for (text, expected) in [
            ("100/s", rate(100.0, 0)),
            ("100/s:20", rate(100.0, 20)),
            ("30/m", rate(0.5, 0)),
            ("36/h", rate(0.01, 0)),
            ("0.5/sec", rate(0.5, 0)),
            ("none", RateFlag(None)),
        ] {
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
        for wrong in ["", "100", "100/d", "/s", "0/s", "-1/s", "NaN/s", "1/s:", "1/s:0", "1/s:x", "inf/s"] {
            assert!(wrong.parse::<RateFlag>().unwrap_err().contains("100/s:20"), "`{wrong}` was taken");
        }
    }

    #[test]
    fn only_what_is_given_changes() {
        let before = QueueRules {
            concurrency_max: 4,
            key_concurrency_max: 2,
            rate: Some(Rate { per_second: 9.0, burst: 1 }),
            weights: [("a".to_owned(), 3), ("b".to_owned(), 5)].into(),
            tasks_max: 100,
            ..QueueRules::default()
        };
        let after = set("images --concurrency 8 --rate none --weight a=1 --weight c=7").changes.apply(before.clone());
        let expected = QueueRules {
            concurrency_max: 8,
            rate: None,
            weights: [("b".to_owned(), 5), ("c".to_owned(), 7)].into(),
            ..before.clone()
        };
        assert_eq!(after, expected);
        let after = set("--tasks-max none --key-rate 1/s --key-concurrency none").changes.apply(before.clone());
        assert_eq!((after.tasks_max, after.key_concurrency_max, after.concurrency_max), (0, 0, 4));
        assert_eq!(after.key_rate, Some(Rate { per_second: 1.0, burst: 0 }));
    }

    #[test]
    fn a_set_names_the_queue_and_at_least_one_rule() {
        let name = set("images -n prod --concurrency 1").name;
        assert_eq!((&*name.queue, &*name.namespace), ("images", "prod"));
        assert_eq!(set("--concurrency 1").name.queue, "default");
        for wrong in ["set images", "set --concurrency 0", "set --weight a=0", "set --weight a", "set --weight =4"] {
            assert!(queue(wrong).is_err(), "`{wrong}` was taken");
        }
    }

    #[test]
    fn nobody_purges_or_replays_everything_by_mistake() {
        for verb in ["replay", "purge"] {
            assert!(queue(&format!("dead {verb} images")).is_err(), "{verb} without a choice was taken");
            assert!(queue(&format!("dead {verb} images --all --error X")).is_err(), "{verb}: all, and yet not all");
            for choice in ["--all", "--id a --id b", "--error X", "--since 2h --until 1h"] {
                assert!(queue(&format!("dead {verb} images {choice}")).is_ok(), "{verb} {choice}");
            }
        }
        let Queue::Dead(Dead::List(list)) = queue("dead list images").unwrap() else { panic!("not a list") };
        assert_eq!((list.limit, list.filter.id.len()), (50, 0));
    }
}
