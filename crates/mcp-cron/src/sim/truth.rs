//! Fire times found the slow way: from minute to minute, with a look at the clock on the wall.

use std::{collections::BTreeMap, str::FromStr as _};

use chrono::{DateTime, Datelike as _, NaiveDateTime, Timelike as _};
use chrono_tz::Tz;
use croner::{Cron, Weekday};

use crate::{id::Millis, rules::RawRules};

const MINUTE: Millis = 60_000;

/// Minutes before a question that are looked at: more than a clock is put forward or back.
const MARGIN: i64 = 3 * 60;

/// Clocks of a run, looked at once each minute.
#[derive(Debug)]
pub(super) struct Truth {
    /// First minute of the run.
    from: i64,
    walls: BTreeMap<&'static str, Vec<NaiveDateTime>>,
    expressions: BTreeMap<String, Cron>,
}

impl Truth {
    pub(super) fn new(from: Millis) -> Self {
        let from = i64::try_from(from / MINUTE).unwrap() - MARGIN;
        Self { from, walls: BTreeMap::new(), expressions: BTreeMap::new() }
    }

    /// The fire times of rules after `after` and up to `until`, start and end regarded.
    pub(super) fn fires(&mut self, rules: &RawRules, after: Millis, until: Millis) -> Vec<Millis> {
        let after = rules.start_ms.map_or(after, |start| after.max(start - 1));
        let until = rules.end_ms.map_or(until, |end| until.min(end - 1));
        if after >= until {
            return Vec::new();
        }
        if let Some(period) = rules.every_ms {
            let first = (after / period + 1) * period;
            let step = usize::try_from(period).unwrap();
            return (first..=until).step_by(step).collect();
        }
        let zone: Tz = rules.time_zone.parse().unwrap();
        self.look(zone, until);
        let mut fires: Vec<_> = rules.cron.iter().flat_map(|text| self.of_one(text, zone, after, until)).collect();
        fires.sort_unstable();
        fires.dedup();
        fires
    }

    /// Looks at the clock of a zone until some moment.
    fn look(&mut self, zone: Tz, until: Millis) {
        let walls = self.walls.entry(zone.name()).or_default();
        let seen = i64::try_from(walls.len()).unwrap();
        let last = i64::try_from(until / MINUTE).unwrap();
        walls.extend(
            (self.from + seen..=last)
                .map(|minute| DateTime::from_timestamp(minute * 60, 0).unwrap().with_timezone(&zone).naive_local()),
        );
    }

    fn of_one(&mut self, text: &str, zone: Tz, after: Millis, until: Millis) -> Vec<Millis> {
        let cron = self.expressions.entry(text.to_owned()).or_insert_with(|| Cron::from_str(text).unwrap());
        let is_fixed =
            !text.starts_with("@hourly") && !text.split_whitespace().take(2).any(|field| field.contains('*'));
        let walls = &self.walls[zone.name()];
        let minute_of = |index: usize| Millis::try_from(self.from + i64::try_from(index).unwrap()).unwrap() * MINUTE;
        let first = usize::try_from(i64::try_from(after / MINUTE).unwrap() + 1 - self.from).unwrap();
        let begin = first - usize::try_from(MARGIN).unwrap() + 1;
        let mut latest = walls[begin - 1];
        let mut fires = Vec::new();
        for (index, wall) in walls.iter().enumerate().skip(begin) {
            let time = minute_of(index);
            if time > until {
                break;
            }
            let fires_now = if is_fixed {
                // Every minute of the clock has its turn once: skipped ones late, doubled ones the first time.
                let mut any = false;
                while latest < *wall {
                    latest += chrono::Duration::minutes(1);
                    any |= matches(cron, latest);
                }
                any
            } else {
                time > after && matches(cron, *wall)
            };
            if fires_now && time > after {
                fires.push(time);
            }
        }
        fires
    }
}

fn matches(cron: &Cron, wall: NaiveDateTime) -> bool {
    let pattern = &cron.pattern;
    let weekday = Weekday::from_days_from_sunday(wall.weekday().num_days_from_sunday());
    pattern.minute_match(wall.minute()).unwrap()
        && pattern.hour_match(wall.hour()).unwrap()
        && pattern.month_match(wall.month()).unwrap()
        && pattern.day_match(wall.year(), wall.month(), wall.day(), weekday).unwrap()
}
