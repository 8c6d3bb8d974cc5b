use chrono::DateTime;

use super::*;

fn cron(expressions: &[&str], zone: Tz) -> Timetable {
    let expressions = expressions.iter().map(|text| Expression::parse(text).unwrap()).collect();
    Timetable::Cron { expressions, zone }
}

fn at(text: &str) -> Millis {
    DateTime::parse_from_rfc3339(text).unwrap().timestamp_millis().try_into().unwrap()
}

/// Fire times after one moment and up to another, as the clock there shows them.
fn fires(timetable: &Timetable, zone: Tz, after: &str, until: &str) -> Vec<String> {
    let (mut time, until) = (at(after), at(until));
    let mut shown = Vec::new();
    while let Some(next) = timetable.next(time).filter(|next| *next <= until) {
        let moment = DateTime::from_timestamp_millis(next.try_into().unwrap()).unwrap().with_timezone(&zone);
        shown.push(moment.format("%d. %H:%M %Z").to_string());
        time = next;
    }
    let counted = timetable.count(at(after), until, u64::MAX);
    assert_eq!(counted, Count { count: shown.len() as u64, at_least: false }, "{timetable:?}");
    assert_eq!(timetable.last(at(after), until), (!shown.is_empty()).then_some(time), "{timetable:?}");
    shown
}

/// The night of a change: what fires from 00:30 to 06:00.
#[track_caller]
fn check(zone: Tz, [after, until]: [&str; 2], expressions: &[&str], expected: &[&str]) {
    assert_eq!(fires(&cron(expressions, zone), zone, after, until), expected, "{zone} {expressions:?}");
}

#[test]
fn a_skipped_hour_in_berlin() {
    // 2025-03-30 02:00 CET becomes 03:00 CEST.
    let night = ["2025-03-29T23:30:00Z", "2025-03-30T04:00:00Z"];
    let check = |expressions: &[&str], expected: &[&str]| check(Tz::Europe__Berlin, night, expressions, expected);
    check(&["30 2 * * *"], &["30. 03:00 CEST"]);
    check(&["0 2 * * *"], &["30. 03:00 CEST"]);
    check(&["0,15,30,45 2 * * *"], &["30. 03:00 CEST"]);
    check(&["0 1,2,3,4 * * *"], &["30. 01:00 CET", "30. 03:00 CEST", "30. 04:00 CEST"]);
    check(&["30 1 * * *", "30 3 * * *"], &["30. 01:30 CET", "30. 03:30 CEST"]);
    check(&["30 2 * * *", "0 3 * * *"], &["30. 03:00 CEST"]);
    // What follows the clock does not make up for anything.
    check(&["30 * * * *"], &["30. 01:30 CET", "30. 03:30 CEST", "30. 04:30 CEST", "30. 05:30 CEST"]);
    check(&["*/30 2 * * *"], &[]);
    check(&["*/30 1-3 * * *"], &["30. 01:00 CET", "30. 01:30 CET", "30. 03:00 CEST", "30. 03:30 CEST"]);
}

#[test]
fn a_doubled_hour_in_berlin() {
    // 2025-10-26 03:00 CEST becomes 02:00 CET.
    let night = ["2025-10-25T22:30:00Z", "2025-10-26T03:00:00Z"];
    let check = |expressions: &[&str], expected: &[&str]| check(Tz::Europe__Berlin, night, expressions, expected);
    check(&["30 2 * * *"], &["26. 02:30 CEST"]);
    check(&["0 2 * * *"], &["26. 02:00 CEST"]);
    check(&["0,30 2 * * *"], &["26. 02:00 CEST", "26. 02:30 CEST"]);
    check(&["0 3 * * *"], &["26. 03:00 CET"]);
    check(&["30 * * * *"], &["26. 01:30 CEST", "26. 02:30 CEST", "26. 02:30 CET", "26. 03:30 CET"]);
    check(&["*/30 2 * * *"], &["26. 02:00 CEST", "26. 02:30 CEST", "26. 02:00 CET", "26. 02:30 CET"]);
    // One expression of each kind: once each, where they meet once.
    check(&["30 2 * * *", "30 * 26 * *"], &["26. 01:30 CEST", "26. 02:30 CEST", "26. 02:30 CET", "26. 03:30 CET"]);
}

#[test]
fn both_changes_in_new_york() {
    let night = ["2025-03-09T05:30:00Z", "2025-03-09T10:00:00Z"];
    // 2025-03-09 02:00 EST becomes 03:00 EDT.
    let check_spring =
        |expressions: &[&str], expected: &[&str]| check(Tz::America__New_York, night, expressions, expected);
    check_spring(&["15 2 * * *"], &["09. 03:00 EDT"]);
    check_spring(&["15 2 * * SUN"], &["09. 03:00 EDT"]);
    check_spring(&["15 2 * * MON"], &[]);
    check_spring(&["15 * * * *"], &["09. 01:15 EST", "09. 03:15 EDT", "09. 04:15 EDT", "09. 05:15 EDT"]);
    // 2025-11-02 02:00 EDT becomes 01:00 EST.
    let night = ["2025-11-02T04:30:00Z", "2025-11-02T08:00:00Z"];
    let check_autumn =
        |expressions: &[&str], expected: &[&str]| check(Tz::America__New_York, night, expressions, expected);
    check_autumn(&["15 1 * * *"], &["02. 01:15 EDT"]);
    check_autumn(&["15 2 * * *"], &["02. 02:15 EST"]);
    check_autumn(&["15 * * * *"], &["02. 01:15 EDT", "02. 01:15 EST", "02. 02:15 EST"]);
}

#[test]
fn a_shift_of_half_an_hour_in_lord_howe() {
    let zone = Tz::Australia__Lord_Howe;
    // 2025-10-05 02:00 +1030 becomes 02:30 +11.
    let night = ["2025-10-04T14:00:00Z", "2025-10-04T18:00:00Z"];
    let check_spring = |expressions: &[&str], expected: &[&str]| check(zone, night, expressions, expected);
    check_spring(&["15 2 * * *"], &["05. 02:30 +11"]);
    check_spring(&["30 2 * * *"], &["05. 02:30 +11"]);
    check_spring(&["15,30,45 2 * * *"], &["05. 02:30 +11", "05. 02:45 +11"]);
    check_spring(&["0 * * * *"], &["05. 01:00 +1030", "05. 03:00 +11", "05. 04:00 +11", "05. 05:00 +11"]);
    check_spring(&["*/15 2 * * *"], &["05. 02:30 +11", "05. 02:45 +11"]);
    // 2025-04-06 02:00 +11 becomes 01:30 +1030.
    let night = ["2025-04-05T13:45:00Z", "2025-04-05T17:00:00Z"];
    let check_autumn = |expressions: &[&str], expected: &[&str]| check(zone, night, expressions, expected);
    check_autumn(&["45 1 * * *"], &["06. 01:45 +11"]);
    check_autumn(&["15,45 1 * * *"], &["06. 01:15 +11", "06. 01:45 +11"]);
    check_autumn(&["0 2 * * *"], &["06. 02:00 +1030"]);
    check_autumn(
        &["*/15 1 * * *"],
        &["06. 01:00 +11", "06. 01:15 +11", "06. 01:30 +11", "06. 01:45 +11", "06. 01:30 +1030", "06. 01:45 +1030"],
    );
}

#[test]
fn a_skipped_day_in_apia() {
    // There was no 30 December 2011.
    let days = ["2011-12-29T12:00:00Z", "2012-01-01T00:00:00Z"];
    check(
        Tz::Pacific__Apia,
        days,
        &["0 9 * * *"],
        &["29. 09:00 -10", "31. 00:00 +14", "31. 09:00 +14", "01. 09:00 +14"],
    );
    check(
        Tz::Pacific__Apia,
        days,
        &["0 */12 * * *"],
        &["29. 12:00 -10", "31. 00:00 +14", "31. 12:00 +14", "01. 00:00 +14", "01. 12:00 +14"],
    );
}

#[test]
fn starting_within_a_doubled_hour_goes_on_where_it_is() {
    let quarter_hours = cron(&["*/15 2 * * *"], Tz::Europe__Berlin);
    let daily = cron(&["20,40 2 * * *"], Tz::Europe__Berlin);
    let next = |timetable: &Timetable, after| timetable.next(at(after)).unwrap();
    // First pass, then second.
    assert_eq!(next(&quarter_hours, "2025-10-26T00:50:00Z"), at("2025-10-26T01:00:00Z"));
    assert_eq!(next(&quarter_hours, "2025-10-26T01:50:00Z"), at("2025-10-27T01:00:00Z"));
    assert_eq!(next(&daily, "2025-10-26T00:30:00Z"), at("2025-10-26T00:40:00Z"));
    assert_eq!(next(&daily, "2025-10-26T01:10:00Z"), at("2025-10-27T01:20:00Z"));
}

#[test]
fn a_period_knows_no_clock() {
    let timetable = Timetable::Every(90_000);
    assert_eq!(timetable.next(0), Some(90_000));
    assert_eq!(timetable.next(89_999), Some(90_000));
    assert_eq!(timetable.next(90_000), Some(180_000));
    assert_eq!(timetable.next(Millis::MAX), None);
    assert_eq!(timetable.count(90_000, 270_000, 1), Count { count: 2, at_least: false });
    assert_eq!(timetable.last(90_000, 269_999), Some(180_000));
    assert_eq!(timetable.newest(0, 900_000, 3), 630_000);
}

#[test]
fn a_million_minutes_are_counted_at_once() {
    let every_minute = cron(&["* * * * *"], Tz::Europe__Berlin);
    let from = at("2024-01-01T00:00:00Z");
    let until = from + 1_000_000 * 60_000;
    assert_eq!(every_minute.count(from, until, u64::MAX), Count { count: 1_000_000, at_least: false });
    assert_eq!(every_minute.newest(from, until, 1_000), until - 1_000 * 60_000);
}

#[test]
fn what_cannot_be_counted_is_at_least_so_much() {
    let two = cron(&["* * * * * *", "*/2 * * * * *"], Tz::UTC);
    let day = 86_400_000;
    assert_eq!(two.count(day, 2 * day, u64::MAX), Count { count: COUNTED_MAX, at_least: true });
    assert_eq!(two.newest(day, 2 * day, 1_000), 2 * day - 1_000 * SECOND);
    let long = cron(&["* * * * *"], Tz::UTC).count(0, 100 * 366 * day, u64::MAX);
    assert_eq!(long, Count { count: 10 * 366 * 24 * 60, at_least: true });
}
