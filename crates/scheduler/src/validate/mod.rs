//! Requests from the wire, checked and with their defaults filled in.
//!
//! Every bound written in the .proto files is held here. A violation names the field by its path from the request's
//! root; the violations of a request come back together, up to a bound.

mod dead;
mod fields;
mod intake;
mod key_token;
mod mapping;
mod page_token;
mod placement;
mod queries;
mod queues;
mod schedules;
mod spec;
#[cfg(test)]
mod tests;
mod workflows;

pub(crate) use dead::{DeadFilter, DeadList, dead_filter, dead_list, replay_limit};
pub(crate) use intake::{Intake, NewTask};
pub(crate) use key_token::KeyToken;
pub(crate) use mapping::{Mapping, Names};
pub(crate) use page_token::PageToken;
pub(crate) use queries::{ListFilter, WatchFilter, cancel, list, wait_timeout, watch};
pub(crate) use queues::{ScalingTarget, namespace, queue, queue_rules, queue_scaling};
pub(crate) use schedules::{
    FirePage, NewSchedule, SchedulePage, backfill, ledger_from, ledger_prefix, list_fires, list_schedules, schedule,
    schedule_id,
};
pub(crate) use spec::NAME_DEFAULT;
pub(crate) use workflows::{
    NewRun, RunFilter, check_rerun, check_workflow, list_workflows, reason, scheduled_plan, scheduled_workflow,
    wait_workflow, with_defaults, workflow_id,
};
