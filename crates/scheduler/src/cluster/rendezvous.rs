//! Rendezvous hashing: every replica ranks the members for a partition in the same order, without talking to anybody,
//! and a member that comes or goes moves only the partitions it gains or loses.

/// The weight of a member for a partition; the one with the greatest is preferred. It must be the same in every version,
/// or replicas of two versions would hand partitions back and forth.
pub(super) fn weight(instance_id: &str, partition: u16) -> u64 {
    // FNV-1a, then the finisher of splitmix64, so that similar names give unlike weights.
    let hash = instance_id
        .bytes()
        .chain(partition.to_be_bytes())
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    let mut mixed = hash.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::weight;

    fn preferred<'a>(members: &[&'a str], partition: u16) -> &'a str {
        members.iter().max_by_key(|member| weight(member, partition)).unwrap()
    }

    #[test]
    fn a_member_that_leaves_moves_only_what_it_had() {
        let all = ["scheduler-0", "scheduler-1", "scheduler-2", "scheduler-3"];
        for partition in 0..256 {
            let before = preferred(&all, partition);
            let after = preferred(&all[..3], partition);
            assert!(before == after || before == "scheduler-3");
        }
    }

    #[test]
    fn partitions_are_spread_over_members_with_similar_names() {
        let members: Vec<_> = (0..4).map(|n| format!("scheduler-{n}")).collect();
        let members: Vec<_> = members.iter().map(String::as_str).collect();
        for member in &members {
            let share = (0..256).filter(|partition| preferred(&members, *partition) == *member).count();
            assert!((40..90).contains(&share), "{member} has {share} of 256");
        }
    }

    #[test]
    fn a_weight_is_the_same_for_ever() {
        assert_eq!(weight("scheduler-0", 7), 15_447_211_955_463_867_334);
    }
}
