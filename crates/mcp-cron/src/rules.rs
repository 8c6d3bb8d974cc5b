//! When a schedule fires, and how: as people write it, and checked.

use serde::{Deserialize, Serialize};

use crate::{
    error::RulesError,
    expression::Expression,
    id::{Millis, ScheduleId},
    ledger::Range,
    limits::ON_TIME,
    timetable::Timetable,
    zone,
};

const SECOND: Millis = 1_000;
const HOUR: Millis = 3_600 * SECOND;
const DAY: Millis = 24 * HOUR;

/// Most expressions of a schedule.
const EXPRESSIONS_MAX: usize = 10;
/// Longest expression, in bytes.
const EXPRESSION_BYTES_MAX: usize = 256;
/// Shortest period.
const EVERY_MIN: Millis = SECOND;
/// Longest period, and longest catch-up window.
const SPAN_MAX: Millis = 366 * DAY;
/// Longest jitter.
const JITTER_MAX: Millis = HOUR;
/// Most fire times that are caught up with at once.
const CATCH_UP_MAX: u32 = 10_000;
/// Most fire times in a preview.
const PREVIEW_MAX: usize = 1_000;

/// What happens when a fire time comes while an earlier run is not over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overlap {
    /// The fire time is skipped.
    #[default]
    Skip,
    /// It starts when the earlier run is over; a further one meanwhile is skipped.
    BufferOne,
    /// The earlier run is cancelled, and this one starts when it is over; a further one meanwhile takes its place.
    CancelOther,
    /// It starts.
    AllowAll,
}

/// The rules of a schedule as somebody wrote them, and as they are on record. Times are milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RawRules {
    /// One to ten cron expressions of five fields, six with the second first, or a nickname as `@hourly`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cron: Vec<String>,
    /// Fires this often instead, counted from 1970: 1 s to 366 days.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub every_ms: Option<Millis>,
    /// Time zone of the expressions, a name of the IANA database.
    pub time_zone: String,
    /// What happens when an earlier run is not over.
    pub overlap: Overlap,
    /// Fire times that could not be served are served later when they are not older than this (and the jitter), 10 s to
    /// 366 days.
    pub catch_up_ms: Millis,
    /// How many of them at most, 1 to 10,000, the newest ones.
    pub catch_up_max: u32,
    /// Each start is later than its fire time by a part of this, and before the next fire time; at most 1 h.
    pub jitter_ms: Millis,
    /// No fire time before this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_ms: Option<Millis>,
    /// No fire time at or after this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_ms: Option<Millis>,
}

impl Default for RawRules {
    fn default() -> Self {
        Self {
            cron: Vec::new(),
            every_ms: None,
            time_zone: "UTC".to_owned(),
            overlap: Overlap::default(),
            catch_up_ms: 60 * SECOND,
            catch_up_max: 1_000,
            jitter_ms: 0,
            start_ms: None,
            end_ms: None,
        }
    }
}

/// Rules that hold what they promise.
#[derive(Debug, Clone)]
pub struct Rules {
    raw: RawRules,
    timetable: Timetable,
}

impl Rules {
    /// Checks rules. An empty time zone means UTC.
    ///
    /// # Errors
    /// The first field that cannot be used, and what it should be.
    pub fn checked(mut raw: RawRules) -> Result<Self, RulesError> {
        if raw.time_zone.is_empty() {
            raw.time_zone = RawRules::default().time_zone;
        }
        let zone = zone::parse(&raw.time_zone).map_err(|problem| RulesError::new("time_zone", problem))?;
        within("catch_up", raw.catch_up_ms, ON_TIME, SPAN_MAX, "10 s to 366 days")?;
        within("catch_up_max", raw.catch_up_max.into(), 1, CATCH_UP_MAX.into(), "1 to 10,000")?;
        within("jitter", raw.jitter_ms, 0, JITTER_MAX, "at most 1 h")?;
        let timetable = match raw.every_ms {
            Some(period) => {
                if !raw.cron.is_empty() {
                    return Err(RulesError::new("every", "is set beside `cron`; expected one of the two"));
                }
                within("every", period, EVERY_MIN, SPAN_MAX, "1 s to 366 days")?;
                Timetable::Every(period)
            }
            None => Timetable::Cron { expressions: expressions(&raw.cron)?, zone },
        };
        if let (Some(start), Some(end)) = (raw.start_ms, raw.end_ms)
            && start >= end
        {
            return Err(RulesError::new(
                "end",
                format!("{end} is not after `start`, {start}; expected a later moment"),
            ));
        }
        let rules = Self { raw, timetable };
        if rules.next(0).is_none() {
            return Err(RulesError::new(
                "end",
                "there is no fire time between `start` and `end`; expected a later end",
            ));
        }
        Ok(rules)
    }

    /// The rules as they were written.
    pub const fn raw(&self) -> &RawRules {
        &self.raw
    }

    /// What happens when an earlier run is not over.
    pub const fn overlap(&self) -> Overlap {
        self.raw.overlap
    }

    /// The first fire time after `after`, without jitter. `None`: there is none.
    pub fn next(&self, after: Millis) -> Option<Millis> {
        let next = self.timetable.next(self.begin(after))?;
        self.raw.end_ms.is_none_or(|end| next < end).then_some(next)
    }

    /// The first fire times after `after`, at most `count` and at most 1,000 of them.
    pub fn next_fires(&self, after: Millis, count: usize) -> Vec<Millis> {
        let next = |after: &Millis| self.next(*after);
        std::iter::successors(self.next(after), next).take(count.min(PREVIEW_MAX)).collect()
    }

    /// When the fire of `time` is to start: later by a part of the jitter that is always the same for this schedule and
    /// fire time, and before the next fire time.
    pub fn start_of(&self, id: &ScheduleId, time: Millis) -> Millis {
        if self.raw.jitter_ms == 0 {
            return time;
        }
        let gap = self.next(time).map_or(Millis::MAX, |next| next - time);
        time + hash(id, time) % gap.min(self.raw.jitter_ms + 1)
    }

    /// True when both sets of rules have the same fire times and starts.
    pub(crate) fn fires_like(&self, other: &Self) -> bool {
        let timing = |rules: &Self| {
            let RawRules { cron, every_ms, time_zone, jitter_ms, start_ms, end_ms, .. } = rules.raw.clone();
            (cron, every_ms, time_zone, jitter_ms, start_ms, end_ms)
        };
        timing(self) == timing(other)
    }

    /// The fire times after `after` and up to `until`, counted. `None`: there is none.
    pub(crate) fn range(&self, after: Millis, until: Millis) -> Option<Range> {
        let (after, until) = (self.begin(after), self.finish(until));
        let last = self.timetable.last(after, until)?;
        let first = self.timetable.next(after)?;
        let counted = self.timetable.count(after, until, u64::MAX);
        Some(Range { first, last, count: counted.count, at_least: counted.at_least })
    }

    /// The last of the fire times after `after` and up to `until` that come before the newest `most` of them.
    pub(crate) fn surplus(&self, after: Millis, until: Millis, most: u32) -> Option<Millis> {
        let (after, until) = (self.begin(after), self.finish(until));
        let counted = self.timetable.count(after, until, u64::from(most) + 1);
        let is_surplus = counted.count > most.into() || counted.at_least;
        is_surplus.then(|| self.timetable.newest(after, until, most.into()))
    }

    /// A planted bug: fixed times of the day follow the clock as everything else.
    #[cfg(test)]
    pub(crate) fn forget_fixed_times(&mut self) {
        if let Timetable::Cron { expressions, .. } = &mut self.timetable {
            expressions.iter_mut().for_each(|expression| expression.style = crate::expression::Style::Interval);
        }
    }

    /// `after`, or the moment before the start.
    fn begin(&self, after: Millis) -> Millis {
        self.raw.start_ms.map_or(after, |start| after.max(start.saturating_sub(1)))
    }

    /// `until`, or the moment before the end.
    fn finish(&self, until: Millis) -> Millis {
        self.raw.end_ms.map_or(until, |end| until.min(end.saturating_sub(1)))
    }
}

fn expressions(texts: &[String]) -> Result<Vec<Expression>, RulesError> {
    if !(1..=EXPRESSIONS_MAX).contains(&texts.len()) {
        let problem = format!("has {} expressions; expected 1 to {EXPRESSIONS_MAX}, or `every`", texts.len());
        return Err(RulesError::new("cron", problem));
    }
    texts
        .iter()
        .enumerate()
        .map(|(at, text)| {
            if text.len() > EXPRESSION_BYTES_MAX {
                let problem = format!("has {} bytes; expected at most {EXPRESSION_BYTES_MAX}", text.len());
                return Err(RulesError::new(format!("cron[{at}]"), problem));
            }
            Expression::parse(text).map_err(|problem| RulesError::new(format!("cron[{at}]"), problem))
        })
        .collect()
}

fn within(field: &str, value: u64, min: u64, max: u64, expected: &str) -> Result<(), RulesError> {
    if (min..=max).contains(&value) {
        return Ok(());
    }
    let unit = if field == "catch_up_max" { "" } else { " ms" };
    Err(RulesError::new(field, format!("is {value}{unit}; expected {expected}")))
}

/// The same number for the same fire time for ever (FNV-1a, finished as splitmix64 does).
fn hash(id: &ScheduleId, time: Millis) -> u64 {
    let bytes = id.key();
    let hash = bytes
        .iter()
        .copied()
        .chain(time.to_le_bytes())
        .fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3));
    let hash = (hash ^ (hash >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let hash = (hash ^ (hash >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests;
