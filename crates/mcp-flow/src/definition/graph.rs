//! The graph of a definition's steps: who waits for whom.

/// The edges between steps, by number.
#[derive(Debug, Default)]
pub(super) struct Graph {
    /// For each step, the steps it waits for.
    pub(super) dependencies: Vec<Vec<u32>>,
}

impl Graph {
    /// For each step, the steps that wait for it.
    pub(super) fn dependents(&self) -> Vec<Vec<u32>> {
        let mut dependents = vec![Vec::new(); self.dependencies.len()];
        for (step, dependencies) in (0..).zip(&self.dependencies) {
            for dependency in dependencies {
                dependents[*dependency as usize].push(step);
            }
        }
        dependents
    }

    /// The steps in an order in which each comes after those it waits for.
    ///
    /// # Errors
    /// The steps of a circle: each waits for the next, and the last for the first.
    pub(super) fn order(&self) -> Result<Vec<u32>, Vec<u32>> {
        let dependents = self.dependents();
        let mut waits: Vec<usize> = self.dependencies.iter().map(Vec::len).collect();
        let mut order: Vec<u32> = (0..).zip(&waits).filter(|(_, waits)| **waits == 0).map(|(step, _)| step).collect();
        let mut next = 0;
        while let Some(step) = order.get(next) {
            next += 1;
            for dependent in &dependents[*step as usize] {
                waits[*dependent as usize] -= 1;
                if waits[*dependent as usize] == 0 {
                    order.push(*dependent);
                }
            }
        }
        match waits.iter().position(|waits| *waits > 0) {
            None => Ok(order),
            Some(step) => Err(self.circle(step, &waits)),
        }
    }

    /// A circle among the steps that still wait, found by walking from one of them to one it waits for.
    fn circle(&self, from: usize, waits: &[usize]) -> Vec<u32> {
        let mut way = Vec::new();
        let mut seen_at = vec![None; waits.len()];
        let mut step = from;
        loop {
            if let Some(at) = seen_at[step] {
                return way.split_off(at);
            }
            seen_at[step] = Some(way.len());
            way.extend(u32::try_from(step));
            let next = self.dependencies[step].iter().find(|dependency| waits[**dependency as usize] > 0);
            // A step waits only as long as one that it waits for does.
            let Some(next) = next else { return way };
            step = *next as usize;
        }
    }

    /// For each step, all the steps that come before it, directly or not. `order` is what [`Self::order`] gave.
    pub(super) fn ancestors(&self, order: &[u32]) -> Ancestors {
        let words = self.dependencies.len().div_ceil(64);
        let mut ancestors = Ancestors { words, bits: vec![0; words * self.dependencies.len()] };
        let mut row = vec![0_u64; words];
        for step in order {
            row.fill(0);
            for dependency in &self.dependencies[*step as usize] {
                let dependency = *dependency as usize;
                row[dependency / 64] |= 1 << (dependency % 64);
                for (to, from) in row.iter_mut().zip(&ancestors.bits[dependency * words..]) {
                    *to |= from;
                }
            }
            let at = *step as usize * words;
            ancestors.bits[at..at + words].copy_from_slice(&row);
        }
        ancestors
    }
}

/// Which steps come before which.
#[derive(Debug)]
pub(super) struct Ancestors {
    words: usize,
    bits: Vec<u64>,
}

impl Ancestors {
    /// Whether `step` cannot start before `ancestor` has ended.
    pub(super) fn contains(&self, step: u32, ancestor: u32) -> bool {
        let (step, ancestor) = (step as usize, ancestor as usize);
        self.bits[step * self.words + ancestor / 64] >> (ancestor % 64) & 1 == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(dependencies: &[&[u32]]) -> Graph {
        Graph { dependencies: dependencies.iter().map(|of| of.to_vec()).collect() }
    }

    #[test]
    fn each_step_comes_after_those_it_waits_for() {
        assert_eq!(graph(&[&[2], &[0, 2], &[]]).order(), Ok(vec![2, 0, 1]));
    }

    #[test]
    fn a_circle_is_named_without_what_leads_to_it() {
        // 0 waits for 1, which is in the circle 1 -> 2 -> 3 -> 1.
        assert_eq!(graph(&[&[1], &[2], &[3], &[1, 4], &[]]).order(), Err(vec![1, 2, 3]));
        assert_eq!(graph(&[&[0]]).order(), Err(vec![0]));
    }

    #[test]
    fn ancestors_are_found_over_any_distance() {
        let chain: Vec<Vec<u32>> = (0..200_u32).map(|step| step.checked_sub(1).into_iter().collect()).collect();
        let graph = Graph { dependencies: chain };
        let ancestors = graph.ancestors(&graph.order().unwrap());
        assert!(ancestors.contains(199, 0) && ancestors.contains(150, 149));
        assert!(!ancestors.contains(0, 199) && !ancestors.contains(5, 5));
    }
}
