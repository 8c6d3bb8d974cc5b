//! Time zones: stretches of time with one offset, and names.

use chrono::{DateTime, Offset as _, TimeZone as _};
use chrono_tz::{TZ_VARIANTS, Tz};

use crate::expression::Style;

const DAY: i64 = 86_400;

/// No two changes of a zone are closer than this: the closest are those around Ramadan in Morocco, four weeks apart.
const PROBE: i64 = 7 * DAY;

/// The latest change that still matters for the clock: offsets change by a day at most.
const LOOK_BACK: i64 = 2 * DAY;

/// Names offered in place of an unknown one.
const SUGGESTIONS_MAX: usize = 3;

/// Time from a change of the offset on, up to the next one. Instants are seconds since 1970; walls are seconds since
/// 1970 as the clock on the wall shows them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stretch {
    /// First instant, or any later one more than [`LOOK_BACK`] after it.
    pub(crate) from: i64,
    /// The wall is this much ahead.
    pub(crate) offset: i64,
    /// The offset before `from`.
    pub(crate) before: i64,
}

impl Stretch {
    /// The one that `instant` is in.
    pub(crate) fn at(zone: Tz, instant: i64) -> Self {
        let offset = offset(zone, instant);
        let back = instant - LOOK_BACK;
        let before = self::offset(zone, back);
        let from = if before == offset { back } else { first_with_other(zone, back, instant) };
        Self { from, offset, before }
    }

    /// The one that follows, when it begins after `after` and not after `until`.
    pub(crate) fn next(&self, zone: Tz, after: i64, until: i64) -> Option<Self> {
        if zone == Tz::UTC {
            return None;
        }
        let mut low = after.max(self.from);
        while low < until {
            let high = until.min(low + PROBE);
            let offset = offset(zone, high);
            if offset != self.offset {
                let from = first_with_other(zone, low, high);
                return Some(Self { from, offset: self::offset(zone, from), before: self.offset });
            }
            low = high;
        }
        None
    }

    /// The first wall whose fire time lies in this stretch. A clock that was put forward leaves walls without an
    /// instant: fixed times among them belong to the first instant after the gap. A clock that was put back shows walls
    /// a second time: fixed times among them belong to the first time.
    pub(crate) const fn first_wall(&self, style: Style) -> i64 {
        match style {
            Style::Fixed => self.from + self.before,
            Style::Interval => self.from + self.offset,
        }
    }

    /// The instant of a wall that is not before [`first_wall`](Self::first_wall).
    pub(crate) fn instant(&self, wall: i64) -> i64 {
        (wall - self.offset).max(self.from)
    }
}

/// How much the wall is ahead, in seconds.
pub(crate) fn offset(zone: Tz, instant: i64) -> i64 {
    let instant = DateTime::from_timestamp(instant, 0).unwrap_or(DateTime::<chrono::Utc>::MAX_UTC).naive_utc();
    i64::from(zone.offset_from_utc_datetime(&instant).fix().local_minus_utc())
}

/// The first instant after `low` with another offset than there; `high` has one.
fn first_with_other(zone: Tz, mut low: i64, mut high: i64) -> i64 {
    let before = offset(zone, low);
    while high - low > 1 {
        let middle = low.midpoint(high);
        if offset(zone, middle) == before {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

/// The zone of a name. The error says which names are near.
pub(crate) fn parse(name: &str) -> Result<Tz, String> {
    name.parse().map_err(|_| {
        let near = near(name);
        let near = if near.is_empty() { String::new() } else { format!("; near it: {}", near.join(", ")) };
        format!("`{name}` is not a time zone; expected a name of the IANA database as `Europe/Berlin`{near}")
    })
}

/// Names near a wrong one, the nearest first.
fn near(name: &str) -> Vec<&'static str> {
    let wanted = simplified(name);
    if wanted.is_empty() || wanted.len() > 64 {
        return Vec::new();
    }
    let wanted_city = wanted.rsplit('/').next().unwrap_or(&wanted);
    let mut scored: Vec<_> = TZ_VARIANTS
        .iter()
        .filter_map(|zone| {
            let known = simplified(zone.name());
            let city = known.rsplit('/').next().unwrap_or(&known);
            let distance =
                distance(&wanted, &known).min(distance(wanted_city, city) + usize::from(wanted.contains('/')));
            (distance <= 1 + wanted_city.len() / 4).then_some((distance, zone.name()))
        })
        .collect();
    scored.sort_unstable();
    scored.into_iter().take(SUGGESTIONS_MAX).map(|(_, name)| name).collect()
}

fn simplified(name: &str) -> String {
    name.trim().to_lowercase().replace([' ', '-'], "_")
}

/// How many letters must be changed, added or left out to get from one text to the other.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<_> = right.chars().collect();
    let mut row: Vec<_> = (0..=right.len()).collect();
    for (at, letter) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = at + 1;
        for (column, other) in right.iter().enumerate() {
            let changed = diagonal + usize::from(letter != *other);
            diagonal = row[column + 1];
            row[column + 1] = changed.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_zone_is_answered_with_near_ones() {
        for (name, near) in [
            ("Europe/Berln", "Europe/Berlin"),
            ("europe/berlin", "Europe/Berlin"),
            ("Berlin", "Europe/Berlin"),
            ("America/New York", "America/New_York"),
            ("new_york", "America/New_York"),
            ("Europe/New_York", "America/New_York"),
            ("utc", "UTC"),
            ("Lord Howe", "Australia/Lord_Howe"),
        ] {
            let told = parse(name).unwrap_err();
            assert!(told.contains(near), "{name}: {told}");
        }
        for name in ["", "Middle-earth/Minas Tirith", &"x".repeat(10_000)] {
            assert!(!parse(name).unwrap_err().contains("near it"), "{name}");
        }
    }

    #[test]
    fn stretches_begin_where_the_clock_changes() {
        let at = |text: &str| DateTime::parse_from_rfc3339(text).unwrap().timestamp();
        for (zone, change, before, after) in [
            (Tz::Europe__Berlin, "2025-03-30T01:00:00Z", 3_600, 7_200),
            (Tz::Europe__Berlin, "2025-10-26T01:00:00Z", 7_200, 3_600),
            (Tz::America__New_York, "2025-11-02T06:00:00Z", -14_400, -18_000),
            (Tz::Australia__Lord_Howe, "2025-10-04T15:30:00Z", 37_800, 39_600),
            (Tz::Pacific__Apia, "2011-12-30T10:00:00Z", -36_000, 50_400),
        ] {
            let change = at(change);
            for instant in [change, change + 1, change + DAY] {
                let stretch = Stretch::at(zone, instant);
                assert_eq!((stretch.from, stretch.before, stretch.offset), (change, before, after), "{zone} {instant}");
            }
            let earlier = Stretch::at(zone, change - 1);
            assert_eq!(earlier.offset, before, "{zone}");
            assert_eq!(earlier.next(zone, change - 30 * DAY, change + 30 * DAY).unwrap().from, change, "{zone}");
            assert!(earlier.next(zone, change - 2, change - 1).is_none(), "{zone}");
            assert!(earlier.next(zone, change - 1, change).is_some(), "{zone}");
        }
        assert!(Stretch::at(Tz::UTC, 0).next(Tz::UTC, 0, i64::MAX).is_none());
    }
}
