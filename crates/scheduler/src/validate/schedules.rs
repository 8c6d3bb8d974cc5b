//! Requests about schedules.

use std::{ops::Range, sync::Arc};

use mcp_cron::{ON_TIME, Overlap, RawRules, Rules, ScheduleId};
use mcp_proto::{
    Code, Error,
    scheduler::v1::{
        BackfillScheduleRequest, ListFiresRequest, ListSchedulesRequest, OverlapPolicy, Schedule, TaskSpec,
        WorkflowSpec, schedule::Target as WireTarget,
    },
};

use super::{
    KeyToken,
    fields::{Violations, duration, namespace_fault, page_size, queue_fault},
    spec::{NAME_DEFAULT, Root, normalise},
    workflows::check_workflow,
};
use crate::{clock::millis, conductor::Target};

/// Largest encoded task or workflow of a schedule: it is held in memory, and written with each fire.
const TARGET_BYTES_MAX: usize = 256 * 1024;

/// A schedule that may be put.
#[derive(Debug, Clone)]
pub(crate) struct NewSchedule {
    /// Which.
    pub(crate) id: ScheduleId,
    /// When it fires.
    pub(crate) rules: Rules,
    /// What it starts.
    pub(crate) target: Target,
}

/// The name of a schedule; an empty namespace is `default`.
///
/// # Errors
/// `INVALID_ARGUMENT`.
pub(crate) fn schedule_id(namespace: &str, name: &str) -> Result<ScheduleId, Error> {
    let mut violations = Violations::default();
    let id = named(namespace, name, "", &mut violations);
    violations.into_result()?;
    id.ok_or_else(|| Error::invalid("name", "is not the name of a schedule"))
}

/// Checks a schedule and fills in its defaults.
///
/// # Errors
/// `INVALID_ARGUMENT` or `PAYLOAD_TOO_LARGE`.
pub(crate) fn schedule(schedule: Option<Schedule>) -> Result<NewSchedule, Error> {
    let schedule = schedule.ok_or_else(|| Error::invalid("schedule", "is missing"))?;
    let mut violations = Violations::default();
    let id = named(&schedule.namespace, &schedule.name, "schedule.", &mut violations);
    let raw = raw_rules(&schedule, &mut violations);
    let rules = match Rules::checked(raw) {
        Ok(rules) => Some(rules),
        Err(error) => {
            let field = match error.field.as_str() {
                "start" => "start_time",
                "end" => "end_time",
                field => field,
            };
            violations.add(format_args!("schedule.{field}"), error.problem);
            None
        }
    };
    // What it starts is in its namespace; a wrong one is named once.
    let namespace = Some(schedule.namespace.as_str()).filter(|namespace| namespace_fault(namespace).is_none());
    let namespace = namespace.unwrap_or(NAME_DEFAULT);
    let target = match schedule.target {
        Some(WireTarget::Task(spec)) => Some(Target::Task(Arc::new(task(spec, namespace, &mut violations)))),
        Some(WireTarget::Workflow(spec)) => {
            Some(Target::Workflow(Arc::new(workflow(spec, namespace, &mut violations)?)))
        }
        None => {
            violations.add("schedule.target", "is missing: set `task` or `workflow`");
            None
        }
    };
    violations.into_result()?;
    let (Some(id), Some(rules), Some(target)) = (id, rules, target) else {
        return Err(Error::invalid("schedule", "is not a schedule"));
    };
    if target.len() > TARGET_BYTES_MAX {
        let message =
            format!("what the schedule starts takes {} bytes; at most {TARGET_BYTES_MAX} are allowed", target.len());
        return Err(Error::new(Code::PayloadTooLarge, message));
    }
    Ok(NewSchedule { id, rules, target })
}

fn named(namespace: &str, name: &str, root: &str, violations: &mut Violations) -> Option<ScheduleId> {
    let namespace = if namespace.is_empty() { NAME_DEFAULT } else { namespace };
    if let Some(fault) = namespace_fault(namespace) {
        violations.add(format_args!("{root}namespace"), fault);
    }
    if let Some(fault) = queue_fault(name) {
        violations.add(format_args!("{root}name"), fault);
    }
    ScheduleId::new(namespace, name)
}

fn raw_rules(schedule: &Schedule, violations: &mut Violations) -> RawRules {
    let mut span = |field: &str, wire: Option<prost_types::Duration>| match wire.map(duration) {
        None => None,
        Some(Ok(span)) => Some(millis(span)),
        Some(Err(fault)) => {
            violations.add(format_args!("schedule.{field}"), fault);
            None
        }
    };
    let (every_ms, catch_up, jitter) =
        (span("every", schedule.every), span("catch_up", schedule.catch_up), span("jitter", schedule.jitter));
    let start_ms = moment("schedule.start_time", schedule.start_time, violations);
    let end_ms = moment("schedule.end_time", schedule.end_time, violations);
    let overlap = match OverlapPolicy::try_from(schedule.overlap) {
        Ok(OverlapPolicy::Unspecified | OverlapPolicy::Skip) => Overlap::Skip,
        Ok(OverlapPolicy::BufferOne) => Overlap::BufferOne,
        Ok(OverlapPolicy::CancelOther) => Overlap::CancelOther,
        Ok(OverlapPolicy::AllowAll) => Overlap::AllowAll,
        Err(_) => {
            violations.add("schedule.overlap", format!("{} is not an overlap policy", schedule.overlap));
            Overlap::Skip
        }
    };
    let defaults = RawRules::default();
    RawRules {
        cron: schedule.cron.clone(),
        every_ms,
        time_zone: schedule.time_zone.clone(),
        overlap,
        catch_up_ms: catch_up.map_or(defaults.catch_up_ms, |catch_up| catch_up.max(ON_TIME)),
        jitter_ms: jitter.unwrap_or_default(),
        start_ms,
        end_ms,
        ..defaults
    }
}

/// A moment of the wire in milliseconds since 1970.
fn moment(field: &str, wire: Option<prost_types::Timestamp>, violations: &mut Violations) -> Option<u64> {
    let time = wire?;
    let unix_ms = u64::try_from(time.seconds).ok().zip(u64::try_from(time.nanos).ok());
    let unix_ms = unix_ms.and_then(|(seconds, nanos)| seconds.checked_mul(1_000)?.checked_add(nanos / 1_000_000));
    if unix_ms.is_none() {
        violations.add(field, "must be a moment after 1970");
    }
    unix_ms
}

fn task(mut spec: TaskSpec, namespace: &str, violations: &mut Violations) -> TaskSpec {
    let mut must_be_empty = |field: &str, is_set: bool| {
        if is_set {
            violations.add(Root::Scheduled.field(field), "must not be set in the task of a schedule");
        }
    };
    must_be_empty("delay", spec.delay.is_some());
    must_be_empty("idempotency_key", !spec.idempotency_key.is_empty());
    must_be_empty("unique_key", !spec.unique_key.is_empty());
    if spec.namespace.is_empty() {
        namespace.clone_into(&mut spec.namespace);
    } else if spec.namespace != namespace {
        violations.add(Root::Scheduled.field("namespace"), "must be empty or that of the schedule");
    }
    normalise(&mut spec, Root::Scheduled, violations);
    spec
}

fn workflow(mut spec: WorkflowSpec, namespace: &str, violations: &mut Violations) -> Result<WorkflowSpec, Error> {
    if !spec.idempotency_key.is_empty() {
        violations.add("schedule.workflow.idempotency_key", "must not be set in the workflow of a schedule");
    }
    if spec.namespace.is_empty() {
        namespace.clone_into(&mut spec.namespace);
    } else if spec.namespace != namespace {
        violations.add("schedule.workflow.namespace", "must be empty or that of the schedule");
    }
    match check_workflow(Some(spec.clone()), "") {
        Ok(_) => Ok(spec),
        Err(error) if error.violations().is_empty() => Err(error),
        Err(error) => {
            for violation in error.violations() {
                violations.add(format_args!("schedule.{}", violation.field), violation.description.clone());
            }
            Ok(spec)
        }
    }
}

/// A checked list of schedules.
#[derive(Debug, Clone)]
pub(crate) struct SchedulePage {
    /// How keys begin that are wanted.
    pub(crate) prefix: Vec<u8>,
    /// Most schedules of the page.
    pub(crate) limit: usize,
    /// Key after which the page begins.
    pub(crate) after: Option<Vec<u8>>,
    /// Ties a token to the filter.
    pub(crate) filters: u64,
}

/// Checks a list request.
///
/// # Errors
/// `INVALID_ARGUMENT` or `INVALID_PAGE_TOKEN`.
pub(crate) fn list_schedules(request: &ListSchedulesRequest) -> Result<SchedulePage, Error> {
    let mut violations = Violations::default();
    if let Some(fault) = namespace_fault(&request.namespace).filter(|_| !request.namespace.is_empty()) {
        violations.add("namespace", fault);
    }
    let limit = page_size(request.page_size, &mut violations);
    violations.into_result()?;
    let mut prefix = request.namespace.clone().into_bytes();
    if !prefix.is_empty() {
        prefix.push(0);
    }
    let filters = KeyToken::hash(&[b"schedules", &prefix]);
    let after = KeyToken::decode(&request.page_token, filters)?;
    Ok(SchedulePage { prefix, limit, after, filters })
}

/// A checked list of a ledger.
#[derive(Debug, Clone)]
pub(crate) struct FirePage {
    /// Whose ledger.
    pub(crate) id: ScheduleId,
    /// Most entries of the page.
    pub(crate) limit: usize,
    /// Key after which the page begins.
    pub(crate) after: Option<Vec<u8>>,
    /// True for the first page.
    pub(crate) is_first: bool,
    /// Ties a token to the filter.
    pub(crate) filters: u64,
}

/// How the keys of a schedule's ledger begin.
pub(crate) fn ledger_prefix(id: &ScheduleId) -> Vec<u8> {
    let mut prefix = id.key();
    prefix.push(0);
    prefix
}

/// The key right before the entries of a ledger at or after a moment.
pub(crate) fn ledger_from(id: &ScheduleId, unix_ms: u64) -> Vec<u8> {
    let mut key = ledger_prefix(id);
    key.extend_from_slice(&unix_ms.to_be_bytes());
    key
}

/// Checks a request for a part of a ledger.
///
/// # Errors
/// `INVALID_ARGUMENT` or `INVALID_PAGE_TOKEN`.
pub(crate) fn list_fires(request: &ListFiresRequest) -> Result<FirePage, Error> {
    let mut violations = Violations::default();
    let id = named(&request.namespace, &request.name, "", &mut violations);
    let since = moment("since", request.since, &mut violations);
    let limit = page_size(request.page_size, &mut violations);
    violations.into_result()?;
    let id = id.ok_or_else(|| Error::invalid("name", "is not the name of a schedule"))?;
    let filters = KeyToken::hash(&[b"fires", &id.key(), &since.unwrap_or(0).to_be_bytes()]);
    let token = KeyToken::decode(&request.page_token, filters)?;
    let is_first = token.is_none();
    let after = token.or_else(|| since.map(|since| ledger_from(&id, since)));
    Ok(FirePage { id, limit, after, is_first, filters })
}

/// Checks a backfill: which schedule, and which range.
///
/// # Errors
/// `INVALID_ARGUMENT`.
pub(crate) fn backfill(request: &BackfillScheduleRequest) -> Result<(ScheduleId, Range<u64>), Error> {
    let mut violations = Violations::default();
    let id = named(&request.namespace, &request.name, "", &mut violations);
    let mut required = |field: &str, time: Option<prost_types::Timestamp>| {
        if time.is_none() {
            violations.add(field, "is missing");
        }
        moment(field, time, &mut violations).unwrap_or_default()
    };
    let range = required("start_time", request.start_time)..required("end_time", request.end_time);
    violations.into_result()?;
    Ok((id.ok_or_else(|| Error::invalid("name", "is not the name of a schedule"))?, range))
}
