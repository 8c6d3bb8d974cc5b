//! The demo job: an access log is split, its parts are parsed by tasks in parallel, a last task reduces their sums
//! to a report, and the report is drawn and checked.
//!
//! [`generate`] makes the log, [`scripts`] holds the programs the tasks run (POSIX sh and awk, sent along with each
//! task), [`job`] submits and follows them, [`mod@reference`] computes the same report in this process without any of
//! it, and [`draw`] puts it on the terminal.

pub mod draw;
pub mod generate;
pub mod job;
pub mod live;
pub mod reference;
pub mod report;
pub mod scripts;
