//! Over which of the instances calls are spread: the zone's own, the fit ones, or all.

use crate::upstream::policy::Zone;

/// How many instances there are, and how many of them are fit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Fitness {
    /// All of them.
    pub(crate) all: usize,
    /// Neither ejected nor unreachable nor refused by a breaker.
    pub(crate) fit: usize,
}

impl Fitness {
    /// True when at least this share is fit.
    fn reaches(self, percent: u8) -> bool {
        self.fit * 100 >= self.all * usize::from(percent)
    }
}

/// True when so few are fit that ejections are ignored: the few could not carry the calls of all.
pub(crate) fn is_panic(all: Fitness, panic_percent: u8) -> bool {
    panic_percent > 0 && !all.reaches(panic_percent)
}

/// True when calls stay in the gateway's own zone: it has instances, and enough of them are fit.
pub(crate) fn stays_local(local: Fitness, zone: &Zone) -> bool {
    zone.prefer && local.fit > 0 && local.reaches(zone.fit_percent_min)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_fit_instances_are_not_crushed() {
        for (fit, all, percent, expected) in
            [(4, 10, 50, true), (5, 10, 50, false), (0, 1, 50, true), (1, 1, 50, false), (0, 10, 0, false)]
        {
            assert_eq!(is_panic(Fitness { all, fit }, percent), expected, "{fit} of {all}, {percent} %");
        }
    }

    #[test]
    fn calls_stay_in_the_zone_while_enough_of_it_is_fit() {
        let zone = Zone { prefer: true, fit_percent_min: 70 };
        for (fit, all, expected) in [(0, 0, false), (1, 1, true), (2, 3, false), (7, 10, true), (6, 10, false)] {
            assert_eq!(stays_local(Fitness { all, fit }, &zone), expected, "{fit} of {all}");
        }
        assert!(!stays_local(Fitness { all: 1, fit: 1 }, &Zone::default()));
    }
}
