//! Who is refused when an instance has nearly as many calls as it takes: the lower the priority, the earlier.

use crate::upstream::policy::Priority;

/// The share of a limit, in percent, that calls of a priority may fill.
const fn percent(priority: Priority) -> u64 {
    match priority {
        Priority::Low => 70,
        Priority::Normal => 90,
        Priority::High => 100,
    }
}

/// True when one more call of this priority fits under the limit. One call at a time always does.
pub(crate) fn has_room(in_flight: u32, limit: u32, priority: Priority) -> bool {
    in_flight == 0 || (u64::from(in_flight) + 1) * 100 <= u64::from(limit) * percent(priority)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn low_priority_is_refused_first_and_high_last() {
        let most = |priority| (0..).find(|in_flight| !has_room(*in_flight, 100, priority)).unwrap();
        assert_eq!([Priority::Low, Priority::Normal, Priority::High].map(most), [70, 90, 100]);
    }

    #[test]
    fn one_call_at_a_time_always_fits() {
        assert!(has_room(0, 1, Priority::Low));
        assert!(!has_room(1, 1, Priority::High));
    }
}
