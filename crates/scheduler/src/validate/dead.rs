//! Requests about dead letters.

use std::collections::BTreeSet;

use mcp_engine::QueueKey;
use mcp_proto::{
    Error, TaskId,
    scheduler::v1::{DeadLetterFilter, ListDeadLettersRequest},
};

use super::{
    PageToken,
    fields::{Violations, length_fault, page_size},
    queues::named,
    spec::ERROR_NAME_BYTES_MAX,
};

/// Tasks that a filter may name.
const IDS_MAX: usize = 1_000;
/// Most replays of one call, and how many when no number is given.
const REPLAYS_MAX: u32 = 1_000;

/// Which dead letters are meant: those that everything that is set lets pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DeadFilter {
    /// These tasks; none means any.
    pub(crate) ids: BTreeSet<TaskId>,
    /// The name of the error; empty means any.
    pub(crate) error_name: String,
    /// Given up at or after this time, milliseconds since 1970.
    pub(crate) since: u64,
    /// Given up before this time, milliseconds since 1970.
    pub(crate) until: u64,
}

/// A checked list request.
#[derive(Debug, Clone)]
pub(crate) struct DeadList {
    /// The queue.
    pub(crate) queue: QueueKey,
    /// Which ones.
    pub(crate) filter: DeadFilter,
    /// Most of the page.
    pub(crate) limit: usize,
    /// After which task the page begins.
    pub(crate) after: Option<TaskId>,
    /// Hash of queue and filter, for the next page's token.
    pub(crate) hash: u64,
}

/// The queue and the letters that a replay or a purge means. The filter must name something, or say that it means all.
///
/// # Errors
/// `INVALID_ARGUMENT`.
pub(crate) fn dead_filter(
    namespace: &str,
    queue: &str,
    filter: Option<&DeadLetterFilter>,
) -> Result<(QueueKey, DeadFilter), Error> {
    let mut violations = Violations::default();
    let queue = named(namespace, queue, &mut violations);
    let checked = check(filter, &mut violations);
    let wire = filter.cloned().unwrap_or_default();
    if !wire.all && wire == DeadLetterFilter::default() {
        violations.add("filter", "must name something; set `all` to mean every dead letter of the queue");
    }
    violations.into_result()?;
    Ok((queue, checked))
}

/// How many to replay at most.
///
/// # Errors
/// `INVALID_ARGUMENT`.
pub(crate) fn replay_limit(limit: u32) -> Result<usize, Error> {
    let limit = match limit {
        0 => REPLAYS_MAX,
        1..=REPLAYS_MAX => limit,
        _ => return Err(Error::invalid("limit", format!("is {limit}; it must be 1 to {REPLAYS_MAX}, or 0 for that"))),
    };
    Ok(usize::try_from(limit).unwrap_or(usize::MAX))
}

/// Checks a list request.
///
/// # Errors
/// `INVALID_ARGUMENT` or `INVALID_PAGE_TOKEN`.
pub(crate) fn dead_list(request: &ListDeadLettersRequest) -> Result<DeadList, Error> {
    let mut violations = Violations::default();
    let queue = named(&request.namespace, &request.queue, &mut violations);
    let filter = check(request.filter.as_ref(), &mut violations);
    let limit = page_size(request.page_size, &mut violations);
    violations.into_result()?;
    let hash = hash_of(&queue, &filter);
    let after = match request.page_token.as_str() {
        "" => None,
        token => Some(PageToken::decode(token, hash)?.before),
    };
    Ok(DeadList { queue, filter, limit, after, hash })
}

fn check(filter: Option<&DeadLetterFilter>, violations: &mut Violations) -> DeadFilter {
    let filter = filter.cloned().unwrap_or_default();
    if filter.task_ids.len() > IDS_MAX {
        let count = filter.task_ids.len();
        violations.add("filter.task_ids", format!("names {count} tasks; at most {IDS_MAX} are allowed"));
    }
    let mut ids = BTreeSet::new();
    for (index, id) in filter.task_ids.iter().enumerate().take(IDS_MAX) {
        match id.parse() {
            Ok(id) => drop(ids.insert(id)),
            Err(_) => violations.add(format_args!("filter.task_ids[{index}]"), "must be a UUID"),
        }
    }
    if let Some(fault) = length_fault(&filter.error_name, ERROR_NAME_BYTES_MAX) {
        violations.add("filter.error_name", fault);
    }
    let mut time = |field: &str, wire: Option<prost_types::Timestamp>, default: u64| match wire {
        None => default,
        Some(time) => unix_ms(time).unwrap_or_else(|| {
            violations.add(format_args!("filter.{field}"), "must be a time after 1970");
            default
        }),
    };
    let (since, until) = (time("since", filter.since, 0), time("until", filter.until, u64::MAX));
    DeadFilter { ids, error_name: filter.error_name, since, until }
}

fn unix_ms(time: prost_types::Timestamp) -> Option<u64> {
    let nanos = u64::try_from(time.nanos).ok().filter(|nanos| *nanos < 1_000_000_000)?;
    u64::try_from(time.seconds).ok()?.checked_mul(1_000)?.checked_add(nanos / 1_000_000)
}

/// Ties a token to its queue and filter. FNV-1a, the same in every replica and version.
fn hash_of(queue: &QueueKey, filter: &DeadFilter) -> u64 {
    let ids = filter.ids.iter().flat_map(|id| id.as_u128().to_be_bytes());
    let texts = [&*queue.namespace, &*queue.queue, filter.error_name.as_str()];
    let texts = texts.into_iter().flat_map(|text| text.bytes().chain([0]));
    let times = [filter.since, filter.until].into_iter().flat_map(u64::to_be_bytes);
    let bytes = texts.chain(times).chain(ids);
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use mcp_proto::Code;

    use super::*;

    #[test]
    fn what_changes_the_list_must_be_named() {
        let wrong =
            |filter: DeadLetterFilter| dead_filter("", "", Some(&filter)).unwrap_err().violations()[0].field.clone();
        assert_eq!(dead_filter("", "", None).unwrap_err().violations()[0].field, "filter");
        assert_eq!(wrong(DeadLetterFilter::default()), "filter");
        let ids = |ids: Vec<String>| DeadLetterFilter { task_ids: ids, ..DeadLetterFilter::default() };
        assert_eq!(wrong(ids(vec!["no".to_owned()])), "filter.task_ids[0]");
        assert_eq!(wrong(ids(vec![TaskId::from_u128(1).to_string(); 1_001])), "filter.task_ids");
        let since = Some(prost_types::Timestamp { seconds: -1, nanos: 0 });
        assert_eq!(wrong(DeadLetterFilter { since, ..DeadLetterFilter::default() }), "filter.since");
        let all = DeadLetterFilter { all: true, ..DeadLetterFilter::default() };
        let (queue, filter) = dead_filter("", "q", Some(&all)).unwrap();
        assert_eq!((&*queue.namespace, filter.since, filter.until), ("default", 0, u64::MAX));
        assert_eq!((replay_limit(0).unwrap(), replay_limit(7).unwrap()), (1_000, 7));
        assert!(replay_limit(1_001).is_err());
    }

    #[test]
    fn a_token_belongs_to_its_queue_and_filter() {
        let request = ListDeadLettersRequest { queue: "q".to_owned(), ..ListDeadLettersRequest::default() };
        let list = dead_list(&request).unwrap();
        let token = PageToken { filters: list.hash, before: TaskId::from_u128(7) }.encode();
        let next = ListDeadLettersRequest { page_token: token, ..request };
        assert_eq!(dead_list(&next).unwrap().after, Some(TaskId::from_u128(7)));
        let other = ListDeadLettersRequest { queue: "r".to_owned(), ..next };
        assert_eq!(dead_list(&other).unwrap_err().code(), Code::InvalidPageToken);
    }
}
