//! Merging pages: of several partitions, and of several owners.
//!
//! A source is known down to its frontier: everything at or above it is at hand. A task may go into the merged page only
//! at or above the frontiers of all sources; so a page never skips a task, and its cursor is exact.

use std::cmp::Reverse;

use mcp_proto::TaskId;

/// A part of a list: tasks, newest first, and where the part goes on (`None` at its end).
#[derive(Debug)]
pub(super) struct Part<T> {
    pub(super) tasks: Vec<(TaskId, T)>,
    pub(super) next: Option<TaskId>,
}

/// Merges parts that were all asked for at least `limit` tasks: at most `limit` of them, newest first, and where the next
/// page begins.
pub(super) fn merge<T>(parts: Vec<Part<T>>, limit: usize) -> (Vec<T>, Option<TaskId>) {
    let frontier = parts.iter().filter_map(|part| part.next).max();
    let mut tasks: Vec<(TaskId, T)> = parts.into_iter().flat_map(|part| part.tasks).collect();
    tasks.retain(|(id, _)| frontier.is_none_or(|frontier| *id >= frontier));
    tasks.sort_by_key(|(id, _)| Reverse(*id));
    let next = if tasks.len() > limit { Some(tasks[limit - 1].0) } else { frontier };
    tasks.truncate(limit);
    (tasks.into_iter().map(|(_, task)| task).collect(), next)
}

#[cfg(test)]
mod tests {
    use mcp_proto::TaskId;

    use super::{Part, merge};

    fn id(n: u128) -> TaskId {
        TaskId::from_u128(n)
    }

    fn part(ids: &[u128], next: Option<u128>) -> Part<u128> {
        Part { tasks: ids.iter().map(|n| (id(*n), *n)).collect(), next: next.map(id) }
    }

    #[test]
    fn nothing_below_a_frontier_is_taken() {
        let merged = merge(vec![part(&[9, 3], Some(3)), part(&[8, 7, 2], None), part(&[], Some(7))], 10);
        assert_eq!(merged, (vec![9, 8, 7], Some(id(7))));
        assert_eq!(merge(vec![part(&[9, 3], None), part(&[8], None)], 10), (vec![9, 8, 3], None));
        assert_eq!(merge(vec![part(&[9, 3], None), part(&[8], None)], 2), (vec![9, 8], Some(id(8))));
        assert_eq!(merge(vec![part(&[9], Some(9)), part(&[8], Some(8))], 2), (vec![9], Some(id(9))));
        assert_eq!(merge(vec![part(&[], Some(5))], 2), (vec![], Some(id(5))));
    }

    #[test]
    fn pages_give_every_task_once_in_order() {
        let all: Vec<Vec<u128>> = (0..5).map(|source| (1..=60).filter(|n| n * 7 % 5 == source).collect()).collect();
        let page = |source: &[u128], before: u128, limit: usize| {
            let ids: Vec<u128> = source.iter().rev().copied().filter(|n| *n < before).take(limit).collect();
            let next = ids.last().copied().filter(|last| source.iter().any(|n| n < last));
            part(&ids, next)
        };
        let (mut seen, mut before) = (Vec::new(), u128::MAX);
        loop {
            let (tasks, next) = merge(all.iter().map(|source| page(source, before, 7)).collect(), 7);
            seen.extend(tasks);
            match next {
                Some(next) => before = next.as_u128(),
                None => break,
            }
        }
        assert_eq!(seen, (1..=60).rev().collect::<Vec<_>>());
    }
}
