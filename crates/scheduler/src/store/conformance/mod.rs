//! The clauses of [`Store`](super::Store) and [`PartitionStore`](super::PartitionStore) as functions. Every backend
//! runs all of them, through [`store_conformance!`](crate::store_conformance).
#![allow(missing_docs, clippy::unwrap_used, reason = "a test suite: every function is a named clause")]

mod commits;
mod entries;
mod lists;
mod logs;
mod parts;
mod samples;
mod sweeps;
mod tasks;

use std::sync::Arc;

pub use self::{commits::*, entries::*, lists::*, logs::*, parts::*, sweeps::*, tasks::*};
use super::Store;

/// Makes one test for each clause. The expression gives a function that opens the same, at first empty, store each
/// time it is called, as a restart would.
#[macro_export]
macro_rules! store_conformance {
    ($module:ident, $make:expr) => {
        mod $module {
            $crate::store_conformance!(@clauses $make;
                a_commit_survives_a_reopening,
                an_older_opening_is_fenced,
                an_older_epoch_cannot_open,
                a_handle_moves_to_a_newer_epoch,
                the_newest_epoch_outlives_a_restart,
                partitions_are_apart,
                a_commit_of_several_parts_is_there_as_a_whole,
                one_fenced_part_refuses_all,
                an_empty_commit_touches_nothing,
                a_large_commit_over_all_partitions_is_there_as_a_whole,
                a_finished_task_is_in_one_place,
                only_unfinished_tasks_are_loaded,
                a_load_visits_entries_then_tasks_then_keys,
                keys_are_loaded_until_they_are_forgotten,
                a_large_spec_and_output_come_back_whole,
                an_end_can_be_corrected,
                failures_and_tokens_are_kept,
                tasks_to_run_come_with_their_whole_spec,
                lists_filter_by_state_queue_and_namespace,
                lists_filter_by_label_and_name,
                a_cursor_goes_on_where_the_page_ended,
                a_list_looks_at_a_bounded_number_of_records,
                logs_come_back_in_order_from_any_line,
                a_log_read_is_bounded,
                an_entry_is_put_replaced_and_deleted,
                an_entry_and_a_task_of_a_batch_are_there_together,
                a_scan_is_in_the_order_of_the_keys,
                a_scan_is_bounded,
                entries_expire_in_their_own_time,
                expired_entries_are_swept_in_parts,
                a_sweep_removes_what_is_old_and_nothing_else,
                a_sweep_of_many_is_done_in_parts,
                a_fenced_handle_sweeps_nothing);
        }
    };
    (@clauses $make:expr; $($clause:ident),+) => {
        $(#[test] fn $clause() { $crate::store::conformance::$clause($make); })+
    };
}

/// Opens the store under test.
pub trait Make: FnMut() -> Arc<dyn Store> {}
impl<F: FnMut() -> Arc<dyn Store>> Make for F {}
