//! `mcp workflow`: tasks that depend on each other.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use mcp_proto::scheduler::v1::WorkflowState;
use serde_json::Value;

use super::{
    help,
    parse::{input, pair},
};

/// What `mcp workflow` can do.
#[derive(Debug, Clone, Subcommand)]
pub enum Workflow {
    /// Submit the workflow of a file.
    #[command(after_help = help::workflow::SUBMIT)]
    Submit(Box<WorkflowSubmit>),
    /// Say what is wrong with the workflow of a file; nothing is stored.
    #[command(after_help = help::workflow::CHECK)]
    Check {
        /// The workflow, as YAML or JSON; `-` is standard input.
        #[arg(long, short, value_name = "FILE")]
        file: PathBuf,
    },
    /// Show a workflow and its steps.
    #[command(after_help = help::workflow::GET)]
    Get {
        /// Id of the workflow.
        id: String,
        /// Show all steps, however many.
        #[arg(long)]
        all: bool,
    },
    /// List workflows, the newest first.
    #[command(after_help = help::workflow::LIST)]
    List(WorkflowList),
    /// Wait until a workflow is final, and show it.
    #[command(after_help = help::workflow::WAIT)]
    Wait {
        /// Id of the workflow.
        id: String,
    },
    /// End a workflow.
    #[command(after_help = help::workflow::CANCEL)]
    Cancel {
        /// Id of the workflow.
        id: String,
        /// Why, for the record.
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Start no further step; what runs is finished.
    #[command(after_help = help::workflow::PAUSE)]
    Pause {
        /// Id of the workflow.
        id: String,
    },
    /// Let a paused workflow go on.
    #[command(after_help = help::workflow::RESUME)]
    Resume {
        /// Id of the workflow.
        id: String,
    },
    /// Run a final workflow again: from what did not succeed, or from a step on.
    #[command(after_help = help::workflow::RERUN)]
    Rerun(Rerun),
}

impl Workflow {
    /// The command's name, for its span.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Submit(_) => "workflow submit",
            Self::Check { .. } => "workflow check",
            Self::Get { .. } => "workflow get",
            Self::List(_) => "workflow list",
            Self::Wait { .. } => "workflow wait",
            Self::Cancel { .. } => "workflow cancel",
            Self::Pause { .. } => "workflow pause",
            Self::Resume { .. } => "workflow resume",
            Self::Rerun(_) => "workflow rerun",
        }
    }
}

/// Flags of `mcp workflow submit`.
#[derive(Debug, Clone, Args)]
pub struct WorkflowSubmit {
    /// The workflow, as YAML or JSON; `-` is standard input.
    #[arg(long, short, value_name = "FILE")]
    pub file: PathBuf,
    /// Field of the workflow's input: JSON when it can be read as such, text otherwise. Replaces that field of the file;
    /// can be given more than once.
    #[arg(long, value_parser = input, value_name = "KEY=VALUE")]
    pub input: Vec<(String, Value)>,
    /// The workflow's input, as YAML or JSON, instead of the file's; `-` is standard input.
    #[arg(long, value_name = "FILE")]
    pub input_file: Option<PathBuf>,
    /// Queue instead of the file's.
    #[arg(long, short)]
    pub queue: Option<String>,
    /// Namespace instead of the file's.
    #[arg(long, short)]
    pub namespace: Option<String>,
    /// Name instead of the file's.
    #[arg(long)]
    pub name: Option<String>,
    /// Makes a repeated submit return the first workflow.
    #[arg(long, value_name = "KEY")]
    pub idempotency_key: Option<String>,
    /// Free mark, beside the file's; can be given more than once.
    #[arg(long, value_parser = pair, value_name = "KEY=VALUE")]
    pub label: Vec<(String, String)>,
    /// Wait until the workflow is final, show how its steps fare, and then the whole.
    #[arg(long, short)]
    pub wait: bool,
}

/// Flags of `mcp workflow list`.
#[derive(Debug, Clone, Args)]
pub struct WorkflowList {
    /// Only workflows in this state; can be given more than once.
    #[arg(long, value_enum)]
    pub state: Vec<WorkflowStateFlag>,
    /// Only workflows of this queue.
    #[arg(long, short, default_value = "")]
    pub queue: String,
    /// Only workflows of this namespace.
    #[arg(long, short, default_value = "")]
    pub namespace: String,
    /// Most workflows to show.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: u32,
    /// Show all workflows, however many.
    #[arg(long, conflicts_with = "limit")]
    pub all: bool,
}

/// Flags of `mcp workflow rerun`.
#[derive(Debug, Clone, Args)]
pub struct Rerun {
    /// Id of a final workflow.
    pub id: String,
    /// Step to start from; what comes before is taken over. Without it whatever did not succeed runs again.
    #[arg(long, default_value = "", value_name = "STEP")]
    pub from: String,
    /// A newer version of the workflow, as YAML or JSON; `-` is standard input.
    #[arg(long, short, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Wait until the new run is final, and show it.
    #[arg(long, short)]
    pub wait: bool,
}

/// A workflow's state, as it is typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum WorkflowStateFlag {
    /// Steps run, or wait to run.
    Running,
    /// No further step starts until it is resumed.
    Paused,
    /// What still runs is being stopped or waited for.
    Ending,
    /// Every step succeeded or was skipped.
    Succeeded,
    /// A step failed.
    Failed,
    /// Ended by a caller.
    Cancelled,
}

impl From<WorkflowStateFlag> for WorkflowState {
    fn from(state: WorkflowStateFlag) -> Self {
        match state {
            WorkflowStateFlag::Running => Self::Running,
            WorkflowStateFlag::Paused => Self::Paused,
            WorkflowStateFlag::Ending => Self::Ending,
            WorkflowStateFlag::Succeeded => Self::Succeeded,
            WorkflowStateFlag::Failed => Self::Failed,
            WorkflowStateFlag::Cancelled => Self::Cancelled,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::json;

    use super::Workflow;
    use crate::args::{Cli, Command};

    fn workflow(args: &str) -> Result<Workflow, clap::Error> {
        let cli = Cli::try_parse_from(["mcp", "workflow"].into_iter().chain(args.split_whitespace()))?;
        match cli.command {
            Command::Workflow(workflow) => Ok(workflow),
            command => panic!("{command:?}"),
        }
    }

    #[test]
    fn inputs_and_labels_are_collected() {
        let args = "submit -f w.yaml --input n=3 --input who=Ada --label team=x --wait -q images";
        let Workflow::Submit(submit) = workflow(args).unwrap() else { panic!("not a submit") };
        assert_eq!(submit.input, [("n".to_owned(), json!(3)), ("who".to_owned(), json!("Ada"))]);
        assert_eq!((submit.wait, submit.queue.as_deref(), submit.namespace), (true, Some("images"), None));
    }

    #[test]
    fn a_rerun_needs_no_more_than_the_workflow() {
        let Workflow::Rerun(rerun) = workflow("rerun X").unwrap() else { panic!("not a rerun") };
        assert_eq!((&*rerun.from, rerun.file), ("", None));
        assert!(workflow("rerun").is_err() && workflow("submit").is_err() && workflow("check").is_err());
    }
}
