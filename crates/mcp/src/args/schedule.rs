//! `mcp schedule`: what starts by the clock.

use std::{
    path::PathBuf,
    time::{Duration, SystemTime},
};

use clap::{Args, Subcommand, ValueEnum};
use mcp_proto::scheduler::v1::{OverlapPolicy, Schedule, schedule::Target};

use super::{
    help,
    moment::Moment,
    parse::duration,
    task_flags::{TaskFlags, wire},
};

/// What `mcp schedule` can do.
#[derive(Debug, Clone, Subcommand)]
pub enum ScheduleCommand {
    /// Create or replace the schedule of a file.
    #[command(after_help = help::schedule::PUT)]
    Put {
        /// The schedule, as YAML or JSON; `-` is standard input.
        #[arg(long, short, value_name = "FILE")]
        file: PathBuf,
    },
    /// Create a schedule that starts a task.
    #[command(after_help = help::schedule::CREATE)]
    Create(Box<Create>),
    /// List schedules.
    #[command(after_help = help::schedule::LIST)]
    List {
        /// Only schedules of this namespace.
        #[arg(long, short, default_value = "")]
        namespace: String,
    },
    /// Show a schedule.
    #[command(after_help = help::schedule::GET)]
    Get(ScheduleName),
    /// End a schedule; what it started goes on.
    #[command(after_help = help::schedule::DELETE)]
    Delete(ScheduleName),
    /// Skip the fire times from now on.
    #[command(after_help = help::schedule::PAUSE)]
    Pause(ScheduleName),
    /// End a pause.
    #[command(after_help = help::schedule::RESUME)]
    Resume(ScheduleName),
    /// Start it once, now.
    #[command(after_help = help::schedule::TRIGGER)]
    Trigger(ScheduleName),
    /// Start it for the fire times of a past range that did not run.
    #[command(after_help = help::schedule::BACKFILL)]
    Backfill {
        /// The schedule.
        #[command(flatten)]
        name: ScheduleName,
        /// First moment of the range: a time, a day, or how long ago (`2h`).
        #[arg(long, value_name = "TIME")]
        from: Moment,
        /// End of the range, not in it.
        #[arg(long, value_name = "TIME", default_value = "now")]
        to: Moment,
    },
    /// Show the ledger: what became of each fire time.
    #[command(after_help = help::schedule::FIRES)]
    Fires(Fires),
    /// Show the next fire times of a schedule, or of cron expressions.
    #[command(after_help = help::schedule::NEXT)]
    Next(Next),
}

impl ScheduleCommand {
    /// The command's name, for its span.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Put { .. } => "schedule put",
            Self::Create(_) => "schedule create",
            Self::List { .. } => "schedule list",
            Self::Get(_) => "schedule get",
            Self::Delete(_) => "schedule delete",
            Self::Pause(_) => "schedule pause",
            Self::Resume(_) => "schedule resume",
            Self::Trigger(_) => "schedule trigger",
            Self::Backfill { .. } => "schedule backfill",
            Self::Fires(_) => "schedule fires",
            Self::Next(_) => "schedule next",
        }
    }
}

/// Which schedule.
#[derive(Debug, Clone, Args)]
pub struct ScheduleName {
    /// Name of the schedule.
    pub name: String,
    /// Namespace of the schedule.
    #[arg(long, short, default_value = "default")]
    pub namespace: String,
}

/// When it fires.
#[derive(Debug, Clone, Default, Args)]
#[group(id = "when", required = true, multiple = true)]
pub struct When {
    /// Cron expression: five fields, or six with seconds first, or `@hourly` and the like; can be given more than once.
    #[arg(long, value_name = "EXPRESSION")]
    pub cron: Vec<String>,
    /// Fire this often instead, counted from 1970.
    #[arg(long, value_parser = duration, value_name = "TIME", conflicts_with = "cron")]
    pub every: Option<Duration>,
}

/// Flags of `mcp schedule create`.
#[derive(Debug, Clone, Args)]
pub struct Create {
    /// Name of the schedule.
    #[arg(value_name = "NAME")]
    pub schedule: String,
    /// When.
    #[command(flatten)]
    pub when: When,
    /// Time zone of the expressions, for instance `Europe/Berlin`. Without it UTC.
    #[arg(long, default_value = "", value_name = "ZONE")]
    pub time_zone: String,
    /// What happens when a fire time comes while an earlier run is not over.
    #[arg(long, value_enum, default_value_t = Overlap::Skip)]
    pub overlap: Overlap,
    /// How old a fire time that nobody could serve may be to be served late. Without it 1 min.
    #[arg(long, value_parser = duration, value_name = "TIME")]
    pub catch_up: Option<Duration>,
    /// Start up to this much later than the fire time, the same for the same fire time.
    #[arg(long, value_parser = duration, value_name = "TIME")]
    pub jitter: Option<Duration>,
    /// No fire time before this: a time, a day, or how far from now (`+2h`).
    #[arg(long, value_name = "TIME")]
    pub start: Option<Moment>,
    /// No fire time at or after this.
    #[arg(long, value_name = "TIME")]
    pub end: Option<Moment>,
    /// Replace a schedule that has this name already.
    #[arg(long)]
    pub replace: bool,
    /// The task.
    #[command(flatten)]
    pub task: TaskFlags,
    /// Program and arguments, after `--`.
    #[arg(last = true, required_unless_present = "handler", value_name = "ARGV")]
    pub argv: Vec<String>,
}

impl Create {
    /// The schedule that the flags describe; `stdin` is what `--stdin` names.
    ///
    /// # Errors
    /// A time that the wire cannot carry, with the flag's name.
    pub fn schedule(&self, stdin: Vec<u8>, now: SystemTime) -> Result<Schedule, String> {
        let task = self.task.spec(&self.argv, stdin)?;
        Ok(Schedule {
            namespace: self.task.namespace.clone(),
            name: self.schedule.clone(),
            cron: self.when.cron.clone(),
            every: wire("--every", self.when.every)?,
            time_zone: self.time_zone.clone(),
            target: Some(Target::Task(task)),
            overlap: OverlapPolicy::from(self.overlap).into(),
            catch_up: wire("--catch-up", self.catch_up)?,
            jitter: wire("--jitter", self.jitter)?,
            start_time: self.start.map(|moment| moment.resolve(now)).transpose()?,
            end_time: self.end.map(|moment| moment.resolve(now)).transpose()?,
            ..Schedule::default()
        })
    }
}

/// An overlap policy, as it is typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Overlap {
    /// The fire time is skipped.
    Skip,
    /// It starts when the earlier run is over; a further one meanwhile is skipped.
    BufferOne,
    /// The earlier run is cancelled, and this one starts.
    CancelOther,
    /// It starts.
    AllowAll,
}

impl From<Overlap> for OverlapPolicy {
    fn from(overlap: Overlap) -> Self {
        match overlap {
            Overlap::Skip => Self::Skip,
            Overlap::BufferOne => Self::BufferOne,
            Overlap::CancelOther => Self::CancelOther,
            Overlap::AllowAll => Self::AllowAll,
        }
    }
}

/// Flags of `mcp schedule fires`.
#[derive(Debug, Clone, Args)]
pub struct Fires {
    /// The schedule.
    #[command(flatten)]
    pub name: ScheduleName,
    /// Only fire times at or after this: a time, a day, or how long ago (`2h`).
    #[arg(long, value_name = "TIME")]
    pub since: Option<Moment>,
    /// Most entries to show.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: u32,
    /// Show all entries, however many.
    #[arg(long, conflicts_with = "limit")]
    pub all: bool,
}

/// Flags of `mcp schedule next`.
#[derive(Debug, Clone, Args)]
pub struct Next {
    /// Name of a schedule; without it the fire times of --cron or --every are shown, and no gateway is needed.
    #[arg(required_unless_present_any = ["cron", "every"])]
    pub name: Option<String>,
    /// Namespace of the schedule.
    #[arg(long, short, default_value = "default", requires = "name")]
    pub namespace: String,
    /// Cron expression; can be given more than once.
    #[arg(long, value_name = "EXPRESSION", conflicts_with = "name")]
    pub cron: Vec<String>,
    /// This often, counted from 1970.
    #[arg(long, value_parser = duration, value_name = "TIME", conflicts_with_all = ["cron", "name"])]
    pub every: Option<Duration>,
    /// Time zone of --cron. Without it UTC.
    #[arg(long, default_value = "", value_name = "ZONE", conflicts_with = "name")]
    pub time_zone: String,
    /// Begin after this moment: a time, a day, or how far from now (`+2h`).
    #[arg(long, value_name = "TIME", default_value = "now")]
    pub after: Moment,
    /// How many.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    pub count: u16,
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use clap::Parser;
    use mcp_proto::scheduler::v1::{OverlapPolicy, schedule::Target};

    use super::ScheduleCommand;
    use crate::args::{Cli, Command};

    fn schedule(args: &[&str]) -> Result<ScheduleCommand, clap::Error> {
        let cli = Cli::try_parse_from(["mcp", "schedule"].iter().chain(args))?;
        match cli.command {
            Command::Schedule(schedule) => Ok(schedule),
            command => panic!("{command:?}"),
        }
    }

    #[test]
    fn flags_describe_a_schedule() {
        let args = ["create", "report", "--cron", "0 7 * * 1-5", "--time-zone", "Europe/Berlin", "--overlap"];
        let more = ["buffer-one", "--catch-up", "1h", "--jitter", "30s", "--end", "+7d", "-q", "nightly", "-n", "prod"];
        let rest = ["--retries", "5", "--", "make-report", "--all"];
        let ScheduleCommand::Create(create) = schedule(&[&args[..], &more, &rest].concat()).unwrap() else {
            panic!("not a create")
        };
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        let schedule = create.schedule(Vec::new(), now).unwrap();
        assert_eq!((&*schedule.name, &*schedule.namespace), ("report", "prod"));
        assert_eq!((&schedule.cron[..], &*schedule.time_zone), (&["0 7 * * 1-5".to_owned()][..], "Europe/Berlin"));
        assert_eq!(schedule.overlap(), OverlapPolicy::BufferOne);
        assert_eq!((schedule.catch_up.unwrap().seconds, schedule.jitter.unwrap().seconds), (3_600, 30));
        assert_eq!(schedule.end_time.unwrap().seconds, 1_000 + 7 * 86_400);
        let Some(Target::Task(task)) = schedule.target else { panic!("no task") };
        assert_eq!((&*task.queue, task.retry.unwrap().max_attempts), ("nightly", 6));
    }

    #[test]
    fn what_a_schedule_needs_is_asked_for() {
        for wrong in [
            &["create", "x", "--", "true"][..],
            &["create", "x", "--cron", "@daily"],
            &["create", "x", "--cron", "@daily", "--every", "5m", "--", "true"],
            &["create", "--cron", "@daily", "--", "true"],
            &["backfill", "x"],
            &["next"],
            &["next", "x", "--cron", "@daily"],
            &["put"],
        ] {
            assert!(schedule(wrong).is_err(), "`{wrong:?}` was taken");
        }
        for right in [
            &["create", "x", "--every", "5m", "--handler", "greet"][..],
            &["backfill", "x", "--from", "2026-11-01"],
            &["next", "x"],
            &["next", "--cron", "@daily", "--count", "3"],
            &["next", "--every", "90m"],
        ] {
            schedule(right).unwrap();
        }
    }
}
