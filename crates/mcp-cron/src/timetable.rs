//! All fire times of a schedule: next, last, counted.
//!
//! Every question costs a bounded time, whatever the range: a period and a single expression are counted without going
//! from one fire time to the next, several expressions together at most [`COUNTED_MAX`] of them.

use chrono_tz::Tz;

use crate::{
    expression::{Expression, Style},
    id::Millis,
    zone::Stretch,
};

const SECOND: Millis = 1_000;

/// Fire times of several expressions that are counted one by one.
const COUNTED_MAX: u64 = 50_000;

/// The part of a range that is counted: ten years, up to its end.
const COUNTED_SPAN: Millis = 10 * 366 * 86_400 * SECOND;

/// When a schedule fires, without regard to its start and end.
#[derive(Debug, Clone)]
pub(crate) enum Timetable {
    /// Whenever so much time has passed, counted from 1970.
    Every(Millis),
    /// When one of the expressions says so.
    Cron { expressions: Vec<Expression>, zone: Tz },
}

/// A number of fire times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Count {
    pub(crate) count: u64,
    /// There may be more.
    pub(crate) at_least: bool,
}

impl Timetable {
    /// The first fire time after `after`.
    pub(crate) fn next(&self, after: Millis) -> Option<Millis> {
        match self {
            Self::Every(period) => (after / period).checked_add(1)?.checked_mul(*period),
            Self::Cron { expressions, zone } => {
                let after = seconds(after);
                let next = expressions.iter().filter_map(|expression| next(expression, *zone, after)).min()?;
                Some(millis(next))
            }
        }
    }

    /// How many fire times there are after `after` and up to `until`. The answer need not be exact beyond `enough`.
    pub(crate) fn count(&self, after: Millis, until: Millis, enough: u64) -> Count {
        if after >= until {
            return Count::default();
        }
        let begin = after.max(until.saturating_sub(COUNTED_SPAN));
        let mut counted = match self {
            Self::Every(period) => Count { count: until / period - begin / period, at_least: false },
            Self::Cron { expressions, zone } => match expressions.as_slice() {
                [only] => Count { count: count(only, *zone, seconds(begin), seconds(until)), at_least: false },
                _ => self.count_one_by_one(begin, until, enough),
            },
        };
        counted.at_least |= begin > after && self.next(after).is_some_and(|next| next <= begin);
        counted
    }

    fn count_one_by_one(&self, after: Millis, until: Millis, enough: u64) -> Count {
        let mut counted = Count::default();
        let mut at = after;
        while let Some(next) = self.next(at).filter(|next| *next <= until) {
            if counted.count >= enough.min(COUNTED_MAX) {
                counted.at_least = true;
                break;
            }
            counted.count += 1;
            at = next;
        }
        counted
    }

    /// The last fire time after `after` and up to `until`.
    pub(crate) fn last(&self, after: Millis, until: Millis) -> Option<Millis> {
        let first = self.next(after).filter(|first| *first <= until)?;
        // From some moment on, nothing comes any more: that moment is the last fire time.
        Some(earliest(first, until, |at| self.next(at).is_none_or(|next| next > until)))
    }

    /// The earliest moment from `after` on with at most `most` fire times after it and up to `until`.
    pub(crate) fn newest(&self, after: Millis, until: Millis, most: u64) -> Millis {
        earliest(after, until, |at| {
            let counted = self.count(at, until, most.saturating_add(1));
            counted.count <= most && !counted.at_least
        })
    }
}

/// The first moment from `low` to `high` from which on something holds; at `high` it does.
fn earliest(mut low: Millis, mut high: Millis, holds: impl Fn(Millis) -> bool) -> Millis {
    while low < high {
        let middle = low.midpoint(high);
        if holds(middle) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    low
}

fn seconds(time: Millis) -> i64 {
    i64::try_from(time / SECOND).expect("a thousandth fits")
}

fn millis(second: i64) -> Millis {
    u64::try_from(second).unwrap_or(0).saturating_mul(SECOND)
}

/// The first instant after `after` at which an expression fires.
fn next(expression: &Expression, zone: Tz, after: i64) -> Option<i64> {
    let mut stretch = Stretch::at(zone, after);
    let mut from = stretch.first_wall(expression.style).max(after + stretch.offset + 1);
    // Each turn is a change of the clock nearer to a match, which is some 40 years away at most.
    loop {
        let wall = expression.next(from)?;
        let instant = stretch.instant(wall);
        let Some(following) = stretch.next(zone, after, instant) else { return Some(instant) };
        stretch = following;
        from = stretch.first_wall(expression.style);
    }
}

/// How many instants after `after` and up to `until` an expression fires at.
fn count(expression: &Expression, zone: Tz, after: i64, until: i64) -> u64 {
    let mut stretch = Stretch::at(zone, after);
    let mut from = stretch.first_wall(expression.style).max(after + stretch.offset + 1);
    let mut counted = 0;
    loop {
        let following = stretch.next(zone, after, until);
        let last = following.map_or(until, |following| following.from - 1);
        // All fixed times in a gap fire together with what the clock shows right after it.
        let first = stretch.from + stretch.offset;
        if expression.style == Style::Fixed && from < first {
            counted += u64::from(expression.next(from).is_some_and(|wall| wall <= first));
            from = first + 1;
        }
        counted += expression.count(from, last + stretch.offset + 1);
        let Some(following) = following else { return counted };
        stretch = following;
        from = stretch.first_wall(expression.style);
    }
}

#[cfg(test)]
mod tests;
