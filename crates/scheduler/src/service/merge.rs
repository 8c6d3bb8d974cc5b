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

/// Merges parts: at most `limit` of them, newest first, and where the next
/// page begins.
pub(super) fn merge<T>(parts: Vec<Part<T>>, limit: usize) -> Part<T> {
    let frontier = parts.iter().filter_map(|part| part.next).max();
    let mut tasks: Vec<(TaskId, T)> = parts.into_iter().flat_map(|part| part.tasks).collect();
    tasks.retain(|(id, _)| frontier.is_none_or(|frontier| *id >= frontier));
    tasks.sort_by_key(|(id, _)| Reverse(*id));
    let next = if tasks.len() > limit { Some(tasks[limit - 1].0) } else { frontier };
    tasks.truncate(limit);
    Part { tasks, next }
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

    fn numbers(part: &Part<u128>) -> Vec<u128> {
        part.tasks.iter().map(|(_, n)| *n).collect()
    }

    #[test]
    fn nothing_below_a_frontier_is_taken() {
        let cases = [
            (vec![part(&[9, 3], Some(3)), part(&[8, 7, 2], None), part(&[], Some(7))], 10, &[9, 8, 7][..], Some(7)),
            (vec![part(&[9, 3], None), part(&[8], None)], 10, &[9, 8, 3], None),
            (vec![part(&[9, 3], None), part(&[8], None)], 2, &[9, 8], Some(8)),
            (vec![part(&[9], Some(9)), part(&[8], Some(8))], 2, &[9], Some(9)),
            (vec![part(&[], Some(5))], 2, &[], Some(5)),
        ];
        for (parts, limit, tasks, next) in cases {
            let merged = merge(parts, limit);
            assert_eq!((numbers(&merged), merged.next), (tasks.to_vec(), next.map(id)));
        }
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
            let merged = merge(all.iter().map(|source| page(source, before, 7)).collect(), 7);
            seen.extend(numbers(&merged));
            match merged.next {
                Some(next) => before = next.as_u128(),
                None => break,
            }
        }
        assert_eq!(seen, (1..=60).rev().collect::<Vec<_>>());
    }
}
