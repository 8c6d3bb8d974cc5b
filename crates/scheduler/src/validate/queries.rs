//! Requests that read or end tasks.

use std::{
    collections::HashSet,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    time::Duration,
};

use mcp_proto::{
    Error, TaskId,
    scheduler::v1::{CancelTaskRequest, ListTasksRequest, TaskState, WaitTaskRequest, WatchTasksRequest},
};

use super::{
    PageToken,
    fields::{Violations, duration, length_fault, namespace_fault, queue_fault},
};
use crate::store::States;

/// Page size when none is given.
const PAGE_SIZE_DEFAULT: usize = 50;
/// Largest page.
const PAGE_SIZE_MAX: i32 = 500;
/// Wait when none is given.
const WAIT_DEFAULT: Duration = Duration::from_secs(30);
/// Longest wait.
const WAIT_MAX: Duration = Duration::from_secs(5 * 60);
/// Tasks that one watch may name.
const WATCHED_TASKS_MAX: usize = 1_000;
/// Longest reason of a cancel.
pub(crate) const CANCEL_REASON_BYTES_MAX: usize = 200;

/// A checked list request.
#[derive(Debug, Clone)]
pub(crate) struct ListFilter {
    /// In one of these states.
    pub(crate) states: States,
    /// Of this namespace.
    pub(crate) namespace: Option<String>,
    /// Of this queue.
    pub(crate) queue: Option<String>,
    /// Most tasks of the page.
    pub(crate) limit: usize,
    /// Where the page begins.
    pub(crate) before: Option<TaskId>,
    /// Hash of the filters, for the next page's token.
    pub(crate) hash: u64,
}

/// Checks a list request.
///
/// # Errors
/// `INVALID_ARGUMENT` or `INVALID_PAGE_TOKEN`.
pub(crate) fn list(request: ListTasksRequest) -> Result<ListFilter, Error> {
    let mut violations = Violations::default();
    check_names(&request.namespace, &request.queue, &mut violations);
    let mut states = States::NONE;
    for (index, number) in request.states.iter().enumerate() {
        match TaskState::try_from(*number) {
            Ok(TaskState::Unspecified) => states = States::ALL,
            Ok(state) => states = states.with(state),
            Err(_) => violations.add(format_args!("states[{index}]"), format!("{number} is not a state")),
        }
    }
    if request.states.is_empty() {
        states = States::ALL;
    }
    let limit = match request.page_size {
        0 => PAGE_SIZE_DEFAULT,
        size @ 1..=PAGE_SIZE_MAX => usize::try_from(size).unwrap_or(PAGE_SIZE_DEFAULT),
        size => {
            violations.add("page_size", format!("is {size}; it must be 1 to {PAGE_SIZE_MAX}, or 0 for the default"));
            PAGE_SIZE_DEFAULT
        }
    };
    violations.into_result()?;
    let hash = hash_of(&request.namespace, &request.queue, states);
    let before = match request.page_token.as_str() {
        "" => None,
        token => Some(PageToken::decode(token, hash)?.before),
    };
    let some = |text: String| Some(text).filter(|text| !text.is_empty());
    Ok(ListFilter { states, namespace: some(request.namespace), queue: some(request.queue), limit, before, hash })
}

/// How long to wait.
///
/// # Errors
/// `INVALID_ARGUMENT`.
pub(crate) fn wait_timeout(request: &WaitTaskRequest) -> Result<Duration, Error> {
    let Some(timeout) = request.timeout else { return Ok(WAIT_DEFAULT) };
    match duration(timeout) {
        Ok(timeout) if timeout <= WAIT_MAX => Ok(timeout),
        Ok(_) => Err(Error::invalid("timeout", format!("must be at most {} s", WAIT_MAX.as_secs()))),
        Err(fault) => Err(Error::invalid("timeout", fault)),
    }
}

/// A checked watch request.
#[derive(Debug, Clone, Default)]
pub(crate) struct WatchFilter {
    /// Of this namespace; empty means any.
    pub(crate) namespace: String,
    /// Of this queue; empty means any.
    pub(crate) queue: String,
    /// These tasks; none means any.
    pub(crate) tasks: HashSet<TaskId>,
}

impl WatchFilter {
    /// True when a change of this task is wanted.
    pub(crate) fn wants(&self, id: TaskId, namespace: &str, queue: &str) -> bool {
        (self.namespace.is_empty() || self.namespace == namespace)
            && (self.queue.is_empty() || self.queue == queue)
            && (self.tasks.is_empty() || self.tasks.contains(&id))
    }
}

/// Checks a watch request.
///
/// # Errors
/// `INVALID_ARGUMENT`.
pub(crate) fn watch(request: WatchTasksRequest) -> Result<WatchFilter, Error> {
    let mut violations = Violations::default();
    check_names(&request.namespace, &request.queue, &mut violations);
    if request.task_ids.len() > WATCHED_TASKS_MAX {
        let count = request.task_ids.len();
        violations.add("task_ids", format!("names {count} tasks; at most {WATCHED_TASKS_MAX} are allowed"));
    }
    let mut tasks = HashSet::new();
    for (index, id) in request.task_ids.iter().enumerate().take(WATCHED_TASKS_MAX) {
        match id.parse() {
            Ok(id) => drop(tasks.insert(id)),
            Err(_) => violations.add(format_args!("task_ids[{index}]"), "must be a UUID"),
        }
    }
    violations.into_result()?;
    Ok(WatchFilter { namespace: request.namespace, queue: request.queue, tasks })
}

/// Checks a cancel request.
///
/// # Errors
/// `INVALID_ARGUMENT`.
pub(crate) fn cancel(request: &CancelTaskRequest) -> Result<TaskId, Error> {
    if let Some(fault) = length_fault(&request.reason, CANCEL_REASON_BYTES_MAX) {
        return Err(Error::invalid("reason", fault));
    }
    request.task_id.parse()
}

fn check_names(namespace: &str, queue: &str, violations: &mut Violations) {
    if let Some(fault) = namespace_fault(namespace).filter(|_| !namespace.is_empty()) {
        violations.add("namespace", fault);
    }
    if let Some(fault) = queue_fault(queue).filter(|_| !queue.is_empty()) {
        violations.add("queue", fault);
    }
}

/// Ties a token to its filters. Another build may hash otherwise: then old tokens are refused, and the list begins
/// again.
fn hash_of(namespace: &str, queue: &str, states: States) -> u64 {
    let mut hasher = DefaultHasher::new();
    (namespace, queue, states).hash(&mut hasher);
    hasher.finish()
}
