//! The demo job: a workflow splits an access log, has its parts summed up in parallel and merges the sums into a report,
//! which is drawn and checked here.
//!
//! The workflow is `log-report.yaml`. [`generate`] makes the log, [`input`] the workflow's input with the awk programs that
//! its steps run, [`mod@reference`] computes the same report in this process without any of it, and [`draw`] puts it on the
//! terminal.

pub mod draw;
pub mod generate;
pub mod input;
pub mod reference;
pub mod report;
