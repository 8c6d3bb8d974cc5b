//! Whatever the graph and whatever the order in which tasks end: each step runs once, after those it depends on.

use proptest::prelude::*;

use super::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn each_step_runs_once_and_after_those_it_depends_on(
        edges in prop::collection::vec((0_usize..25, 0_usize..25), 0..80),
        fans in prop::collection::vec(0_usize..4, 25),
        picks in prop::collection::vec(any::<prop::sample::Index>(), 200),
        restarts in prop::collection::vec(0_u32..200, 0..3),
    ) {
        let names: Vec<_> = (0..25).map(|number| format!("s{number}")).collect();
        let mut steps: Vec<_> = names.iter().zip(&fans).map(|(name, fan)| match fan {
            0 => step(name, &[]),
            items => each(&format!("[{}]", vec!["1"; *items].join(",")), step(name, &[])),
        }).collect();
        for (from, to) in &edges {
            if from < to && !steps[*to].depends_on.contains(&names[*from]) {
                steps[*to].depends_on.push(names[*from].clone());
            }
        }
        let mut desk = Desk::running(of(steps), json!(null));
        let mut ended: Vec<ItemRef> = Vec::new();
        for (turn, pick) in (0..).zip(picks) {
            if restarts.contains(&turn) {
                desk.restart();
            }
            let open: Vec<_> = desk.tasks.keys().filter(|item| !ended.contains(item)).copied().collect();
            for item in &open {
                let needed = edges.iter().filter(|(from, to)| from < to && *to == item.step as usize);
                for (from, _) in needed {
                    let items = ended.iter().filter(|item| item.step as usize == *from).count();
                    prop_assert_eq!(items, fans[*from].max(1), "{:?} started before step {} had ended", item, from);
                }
            }
            if open.is_empty() {
                break;
            }
            let item = *pick.get(&open);
            let counted = desk.end(item, ItemEnd::Succeeded { output: None });
            prop_assert!(counted);
            ended.push(item);
        }
        prop_assert_eq!(desk.state(), RunState::Succeeded);
        let items: usize = fans.iter().map(|fan| (*fan).max(1)).sum();
        prop_assert_eq!(ended.len(), items);
    }
}
