//! One cron expression, on the clock's face: which times of which days it names. It knows nothing of time zones.
//!
//! Croner reads the expression, and decides on days where `L`, `W` or `#` is used; the rest are bit sets here, so that
//! a schedule is small and a year of fire times is counted in microseconds.

use chrono::{Datelike as _, NaiveDate};
use croner::{
    Cron, CronComponent, CronPattern, Weekday,
    parser::{CronParser, Seconds, Year},
};

const DAY: i64 = 86_400;

/// How far ahead a match is looked for. A 29 February on a given weekday comes at least every 40 years.
const HORIZON_DAYS: i64 = 41 * 366;

/// Fields of an expression with seconds, in order.
const FIELDS: [(&str, &str); 6] = [
    ("second", "0-59"),
    ("minute", "0-59"),
    ("hour", "0-23"),
    ("day of the month", "1-31, `L`, `15W` or `?`"),
    ("month", "1-12 or JAN-DEC"),
    ("day of the week", "0-7 or SUN-SAT, `FRI#2`, `FRIL` or `?`"),
];

const NICKNAMES: [(&str, &str); 7] = [
    ("@hourly", "0 * * * *"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@weekly", "0 0 * * SUN"),
    ("@monthly", "0 0 1 * *"),
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
];

/// How fire times follow a clock that is put forward or back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// Times of the day: each comes once a day, whatever the clock does.
    Fixed,
    /// Whenever the clock shows it.
    Interval,
}

/// A cron expression.
#[derive(Debug, Clone)]
pub(crate) struct Expression {
    seconds: u64,
    minutes: u64,
    hours: u64,
    months: u64,
    days: Days,
    pub(crate) style: Style,
}

#[derive(Debug, Clone)]
enum Days {
    /// Days of the month and of the week, and whether one of the two is enough.
    Plain { month_days: u64, week_days: u64, either: bool },
    /// With `L`, `W` or `#`.
    Special(Box<CronPattern>),
}

impl Expression {
    /// Reads an expression of five or six fields, or a nickname. The error says what is wrong and what is expected.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let text = expand(text)?;
        let fields: Vec<_> = text.split_whitespace().collect();
        if !matches!(fields.len(), 5 | 6) {
            return Err(format!(
                "`{text}` has {} fields; expected 5 (minute, hour, day of the month, month, day of the week), 6 (with \
                 the second first), or a nickname as `@hourly`",
                fields.len()
            ));
        }
        let Some(cron) = read(&fields) else { return Err(complaint(&text, &fields)) };
        let expression = Self::new(cron, &fields);
        if expression.next(0).is_none() {
            return Err(format!("`{text}` names a day that never comes; expected one that the calendar has"));
        }
        Ok(expression)
    }

    fn new(cron: Cron, fields: &[&str]) -> Self {
        let mut pattern = cron.pattern;
        let time_fields = &fields[..fields.len() - 3];
        let style = if time_fields.iter().any(|field| field.contains('*')) { Style::Interval } else { Style::Fixed };
        let [seconds, minutes, hours, months] =
            [&pattern.seconds, &pattern.minutes, &pattern.hours, &pattern.months].map(bits);
        let days = if pattern.days.has_modifiers() || pattern.days_of_week.has_modifiers() {
            // Years are not used, and are most of a pattern's size.
            pattern.years = CronComponent::new(1, 1, 0, 0);
            Days::Special(Box::new(pattern))
        } else {
            Days::Plain {
                month_days: bits(&pattern.days),
                week_days: bits(&pattern.days_of_week),
                either: !pattern.is_dom_wildcard() && !pattern.is_dow_wildcard() && !pattern.matches_dom_and_dow(),
            }
        };
        Self { seconds, minutes, hours, months, days, style }
    }

    /// The first match at or after `from`. Times are seconds since 1970 as the clock on the wall shows them.
    pub(crate) fn next(&self, from: i64) -> Option<i64> {
        let mut day = from.div_euclid(DAY);
        let mut second = from.rem_euclid(DAY);
        let horizon = day + HORIZON_DAYS;
        while day <= horizon {
            let date = date(day)?;
            if !has(self.months, date.month()) {
                day += days_left_in_month(date);
                second = 0;
                continue;
            }
            if let Some(time) = self.day_matches(date).then(|| self.time_from(second)).flatten() {
                return Some(day * DAY + time);
            }
            day += 1;
            second = 0;
        }
        None
    }

    /// How many matches there are from `from` on and before `until`. Costs a few nanoseconds for each day.
    pub(crate) fn count(&self, from: i64, until: i64) -> u64 {
        if from >= until {
            return 0;
        }
        let (first, last) = (from.div_euclid(DAY), (until - 1).div_euclid(DAY));
        let whole = self.times_before(DAY);
        let mut count = 0;
        let mut day = first;
        while day <= last {
            let Some(date) = date(day) else { break };
            if !has(self.months, date.month()) {
                day += days_left_in_month(date);
                continue;
            }
            if self.day_matches(date) {
                let end = if day == last { self.times_before(until - day * DAY) } else { whole };
                let begin = if day == first { self.times_before(from - day * DAY) } else { 0 };
                count += end - begin;
            }
            day += 1;
        }
        count
    }

    fn day_matches(&self, date: NaiveDate) -> bool {
        let weekday = date.weekday().num_days_from_sunday();
        match &self.days {
            Days::Plain { month_days, week_days, either } => {
                let (by_month, by_week) = (has(*month_days, date.day()), has(*week_days, weekday));
                if *either { by_month || by_week } else { by_month && by_week }
            }
            Days::Special(pattern) => pattern
                .day_match(date.year(), date.month(), date.day(), Weekday::from_days_from_sunday(weekday))
                .unwrap_or(false),
        }
    }

    /// The first time of a matching day at or after `second` of it.
    fn time_from(&self, second: i64) -> Option<i64> {
        let [hour, minute, second] = split(second);
        let first_minute = lowest_from(self.minutes, 0)?;
        let first_second = lowest_from(self.seconds, 0)?;
        if has(self.hours, hour) {
            if has(self.minutes, minute)
                && let Some(second) = lowest_from(self.seconds, second)
            {
                return Some(joined(hour, minute, second));
            }
            if let Some(minute) = lowest_from(self.minutes, minute + 1) {
                return Some(joined(hour, minute, first_second));
            }
        }
        let hour = lowest_from(self.hours, hour + 1)?;
        Some(joined(hour, first_minute, first_second))
    }

    /// How many times of a matching day are before `second` of it; at [`DAY`], all.
    fn times_before(&self, second: i64) -> u64 {
        let [hour, minute, second] = split(second);
        let [seconds, minutes] = [self.seconds, self.minutes].map(|set| u64::from(set.count_ones()));
        let mut count = below(self.hours, hour) * minutes * seconds;
        if has(self.hours, hour) {
            count += below(self.minutes, minute) * seconds;
            if has(self.minutes, minute) {
                count += below(self.seconds, second);
            }
        }
        count
    }
}

/// Has five or six fields read by croner.
fn read(fields: &[&str]) -> Option<Cron> {
    // Croner takes anything with an `@` in it for a nickname.
    if fields.iter().any(|field| field.contains('@')) {
        return None;
    }
    let second = if fields.len() == 5 { "0 " } else { "" };
    // Years are not used, and one of them is read a thousand times faster than all of them.
    let text = format!("{second}{} 1", fields.join(" "));
    CronParser::builder().seconds(Seconds::Required).year(Year::Required).build().parse(&text).ok()
}

/// Puts what a nickname stands for in its place.
fn expand(text: &str) -> Result<String, String> {
    let text = text.trim();
    if !text.starts_with('@') {
        return Ok(text.to_owned());
    }
    let known = NICKNAMES.iter().find(|(nickname, _)| nickname.eq_ignore_ascii_case(text));
    known.map(|(_, meaning)| (*meaning).to_owned()).ok_or_else(|| {
        let names: Vec<_> = NICKNAMES.iter().map(|(nickname, _)| *nickname).collect();
        format!("`{text}` is not a nickname; expected one of {}", names.join(", "))
    })
}

/// Which field of an expression is wrong.
fn complaint(text: &str, fields: &[&str]) -> String {
    let names = &FIELDS[FIELDS.len() - fields.len()..];
    for (at, (field, (name, expected))) in fields.iter().zip(names).enumerate() {
        let alone: Vec<_> = (0..fields.len()).map(|other| if other == at { *field } else { "*" }).collect();
        if read(&alone).is_none() {
            return format!(
                "`{field}` in `{text}` cannot be the {name}; expected {expected}, with `*`, `,`, `-` and `/` as in \
                 `*/5` or `1-5,8`"
            );
        }
    }
    format!("`{text}` is not a cron expression")
}

fn bits(component: &CronComponent) -> u64 {
    component.values().into_iter().fold(0, |set, value| set | 1 << value)
}

const fn has(set: u64, value: u32) -> bool {
    set >> value & 1 == 1
}

/// How many members of a set are below `value`, which is at most 63.
const fn below(set: u64, value: u32) -> u64 {
    (set & ((1 << value) - 1)).count_ones() as u64
}

fn lowest_from(set: u64, value: u32) -> Option<u32> {
    let left = set >> value << value;
    (left != 0).then(|| left.trailing_zeros())
}

/// Hour, minute and second of a second of the day.
fn split(second: i64) -> [u32; 3] {
    [second / 3_600, second / 60 % 60, second % 60].map(|part| u32::try_from(part).expect("a second of a day"))
}

fn joined(hour: u32, minute: u32, second: u32) -> i64 {
    i64::from(hour * 3_600 + minute * 60 + second)
}

fn date(day: i64) -> Option<NaiveDate> {
    NaiveDate::from_epoch_days(i32::try_from(day).ok()?)
}

/// Days to the first of the next month.
fn days_left_in_month(date: NaiveDate) -> i64 {
    i64::from(u32::from(date.num_days_in_month()) - date.day() + 1)
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, NaiveDateTime};

    use super::*;

    fn wall(text: &str) -> i64 {
        NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S").unwrap().and_utc().timestamp()
    }

    fn nexts(expression: &str, from: &str, count: usize) -> Vec<String> {
        let expression = Expression::parse(expression).unwrap();
        let mut from = wall(from);
        let mut found = Vec::new();
        while found.len() < count {
            let next = expression.next(from).unwrap();
            found.push(DateTime::from_timestamp(next, 0).unwrap().format("%Y-%m-%d %H:%M:%S").to_string());
            from = next + 1;
        }
        found
    }

    #[test]
    fn matches_are_what_the_fields_say() {
        for (expression, expected) in [
            ("*/20 * * * *", ["2024-02-28 23:00:00", "2024-02-28 23:20:00", "2024-02-28 23:40:00"]),
            ("*/30 59 23 * * *", ["2024-02-28 23:59:00", "2024-02-28 23:59:30", "2024-02-29 23:59:00"]),
            ("0 0 29 2 *", ["2024-02-29 00:00:00", "2028-02-29 00:00:00", "2032-02-29 00:00:00"]),
            ("0 12 L * *", ["2024-02-29 12:00:00", "2024-03-31 12:00:00", "2024-04-30 12:00:00"]),
            ("0 12 * * FRI#2", ["2024-03-08 12:00:00", "2024-04-12 12:00:00", "2024-05-10 12:00:00"]),
            ("0 12 1W * *", ["2024-03-01 12:00:00", "2024-04-01 12:00:00", "2024-05-01 12:00:00"]),
            // Either the day of the month or the day of the week, as Vixie cron has it; both with `+`.
            ("0 0 1 * MON", ["2024-03-01 00:00:00", "2024-03-04 00:00:00", "2024-03-11 00:00:00"]),
            ("0 0 1 * +MON", ["2024-04-01 00:00:00", "2024-07-01 00:00:00", "2025-09-01 00:00:00"]),
            ("@weekly", ["2024-03-03 00:00:00", "2024-03-10 00:00:00", "2024-03-17 00:00:00"]),
            ("0 0 29 2 +MON", ["2044-02-29 00:00:00", "2072-02-29 00:00:00", "2112-02-29 00:00:00"]),
        ] {
            assert_eq!(nexts(expression, "2024-02-28 23:00:00", 3), expected, "{expression}");
        }
    }

    #[test]
    fn counting_is_the_same_as_going_from_match_to_match() {
        let from = wall("2024-01-01 00:00:00");
        for expression in
            ["*/7 3-5 * * * *", "5,50 */2 31 * *", "*/13 * * * *", "30 2 1-7 * MON", "0 9 LW * *", "0 0 1 3 *"]
        {
            let expression = Expression::parse(expression).unwrap();
            for (begin, length) in [(0, 0), (0, 1), (11_111, 77_777), (3 * 3_600 + 7, 90_000), (99, 100 * DAY)] {
                let (begin, until) = (from + begin, from + begin + length);
                let mut count = 0;
                let mut at = begin;
                while let Some(next) = expression.next(at).filter(|next| *next < until) {
                    count += 1;
                    at = next + 1;
                }
                assert_eq!(expression.count(begin, until), count, "{expression:?} {begin} {length}");
            }
        }
    }

    /// Croner's own search is the judge.
    #[test]
    fn matches_are_those_of_croner() {
        for text in [
            "*/5 * * * *",
            "17 3,15 * * 1-5",
            "0 0 31 * *",
            "0 0 15W * *",
            "30 4 L * *",
            "0 6 * * MON#1,FRIL",
            "15 10 13 * FRI",
            "15 10 13 * +FRI",
            "10-20/5 1 0 1,15 */3 ?",
            "0 0 */10 * *",
        ] {
            let cron: Cron = text.parse().unwrap();
            let expression = Expression::parse(text).unwrap();
            let mut at = DateTime::from_timestamp(wall("2023-11-05 07:08:09"), 0).unwrap();
            for _ in 0..500 {
                let next = cron.find_next_occurrence(&at, false).unwrap();
                assert_eq!(expression.next(at.timestamp() + 1), Some(next.timestamp()), "{text} after {at}");
                at = next;
            }
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (expression, expected) in [
            ("* * * *", "has 4 fields"),
            ("* * * * * * 2030", "has 7 fields"),
            ("", "has 0 fields"),
            ("60 * * * *", "`60` in `60 * * * *` cannot be the minute; expected 0-59"),
            ("61 0 * * * *", "cannot be the second"),
            ("* 24 * * *", "`24` in `* 24 * * *` cannot be the hour; expected 0-23"),
            ("* * 0 * *", "cannot be the day of the month"),
            ("* * * FOO *", "cannot be the month"),
            ("* * * * 8", "cannot be the day of the week"),
            ("* * * * @daily", "cannot be the day of the week"),
            ("5/ * * * *", "cannot be the minute"),
            ("@fortnightly", "expected one of @hourly, @daily"),
            ("0 0 30 2 *", "never comes"),
            ("0 0 31 4,6 *", "never comes"),
        ] {
            let told = Expression::parse(expression).unwrap_err();
            assert!(told.contains(expected), "{expression}: {told}");
        }
    }

    #[test]
    fn fixed_times_have_no_star_before_the_day() {
        for (expression, style) in [
            ("30 2 * * *", Style::Fixed),
            ("0,30 2-3 * * *", Style::Fixed),
            ("0 30 2 * * *", Style::Fixed),
            ("@daily", Style::Fixed),
            ("*/5 2 * * *", Style::Interval),
            ("0 * * * *", Style::Interval),
            ("* 30 2 * * *", Style::Interval),
            ("@hourly", Style::Interval),
        ] {
            assert_eq!(Expression::parse(expression).unwrap().style, style, "{expression}");
        }
    }
}
