//! Requests that read or end tasks.

use std::{collections::HashSet, time::Duration};

use mcp_proto::{
    Error, TaskId,
    scheduler::v1::{CancelTaskRequest, ListTasksRequest, TaskState, WaitTaskRequest, WatchTasksRequest},
};

use super::{
    PageToken,
    fields::{Violations, duration, length_fault, namespace_fault, page_size, queue_fault},
};
use crate::store::States;

/// Labels that a list may ask for.
const LABELS_MAX: usize = 8;
/// Longest part of a name to look for.
const NAME_CONTAINS_BYTES_MAX: usize = 200;
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
    /// With all of these labels.
    pub(crate) labels: Vec<(String, String)>,
    /// With this in their name; empty means any.
    pub(crate) name_contains: String,
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
pub(crate) fn list(request: &ListTasksRequest) -> Result<ListFilter, Error> {
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
    let limit = page_size(request.page_size, &mut violations);
    if request.labels.len() > LABELS_MAX {
        let fault = format!("has {} entries; at most {LABELS_MAX} are allowed", request.labels.len());
        violations.add("labels", fault);
    }
    if let Some(fault) = length_fault(&request.name_contains, NAME_CONTAINS_BYTES_MAX) {
        violations.add("name_contains", fault);
    }
    violations.into_result()?;
    let hash = hash_of(request, states);
    let before = match request.page_token.as_str() {
        "" => None,
        token => Some(PageToken::decode(token, hash)?.before),
    };
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Ok(ListFilter {
        states,
        namespace: some(&request.namespace),
        queue: some(&request.queue),
        labels: request.labels.clone().into_iter().collect(),
        name_contains: request.name_contains.clone(),
        limit,
        before,
        hash,
    })
}

/// How long to wait.
///
/// # Errors
/// `INVALID_ARGUMENT`.
pub(crate) fn wait_timeout(request: &WaitTaskRequest) -> Result<Duration, Error> {
    wait_of(request.timeout)
}

/// How long to wait when a request says `timeout`.
///
/// # Errors
/// `INVALID_ARGUMENT`.
pub(super) fn wait_of(timeout: Option<prost_types::Duration>) -> Result<Duration, Error> {
    let Some(timeout) = timeout else { return Ok(WAIT_DEFAULT) };
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
pub(crate) fn watch(request: &WatchTasksRequest) -> Result<WatchFilter, Error> {
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
    Ok(WatchFilter { namespace: request.namespace.clone(), queue: request.queue.clone(), tasks })
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

pub(super) fn check_names(namespace: &str, queue: &str, violations: &mut Violations) {
    if let Some(fault) = namespace_fault(namespace).filter(|_| !namespace.is_empty()) {
        violations.add("namespace", fault);
    }
    if let Some(fault) = queue_fault(queue).filter(|_| !queue.is_empty()) {
        violations.add("queue", fault);
    }
}

/// FNV-1a of some bytes: the same in every replica and version.
pub(super) fn fnv(bytes: impl IntoIterator<Item = u8>) -> u64 {
    let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    bytes.into_iter().fold(0xcbf2_9ce4_8422_2325, mix)
}

/// Ties a token to its filters, the same in every replica: a page may be gathered from several.
fn hash_of(request: &ListTasksRequest, states: States) -> u64 {
    let states = states.iter().map(|state| (state as i32).to_string()).collect::<Vec<_>>().join(",");
    let texts = [&request.namespace, &request.queue, &states, &request.name_contains];
    let labels = request.labels.iter().flat_map(|(key, value)| [key, value]);
    fnv(texts.into_iter().chain(labels).flat_map(|text| text.bytes().chain([0])))
}
