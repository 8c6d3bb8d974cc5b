use super::*;

fn raw(cron: &[&str]) -> RawRules {
    RawRules { cron: cron.iter().map(|text| (*text).to_owned()).collect(), ..RawRules::default() }
}

#[test]
fn each_field_that_is_wrong_is_named_with_what_is_expected() {
    let hourly = || raw(&["@hourly"]);
    let every = |every_ms| RawRules { every_ms: Some(every_ms), ..RawRules::default() };
    for (rules, field, expected) in [
        (raw(&[]), "cron", "expected 1 to 10"),
        (raw(&["@daily"; 11]), "cron", "has 11 expressions"),
        (raw(&["@daily", "0 25 * * *"]), "cron[1]", "`25` in `0 25 * * *` cannot be the hour"),
        (raw(&["@daily", &"*".repeat(257)]), "cron[1]", "at most 256"),
        (raw(&["0 0 31 2 *"]), "cron[0]", "never comes"),
        (every(999), "every", "is 999 ms; expected 1 s to 366 days"),
        (every(367 * DAY), "every", "expected 1 s to 366 days"),
        (RawRules { every_ms: Some(60_000), ..hourly() }, "every", "expected one of the two"),
        (RawRules { time_zone: "Europe/Berln".into(), ..hourly() }, "time_zone", "near it: Europe/Berlin"),
        (RawRules { catch_up_ms: 9_999, ..hourly() }, "catch_up", "is 9999 ms; expected 10 s to 366 days"),
        (RawRules { catch_up_ms: 367 * DAY, ..hourly() }, "catch_up", "expected 10 s to 366 days"),
        (RawRules { catch_up_max: 0, ..hourly() }, "catch_up_max", "is 0; expected 1 to 10,000"),
        (RawRules { jitter_ms: HOUR + 1, ..hourly() }, "jitter", "expected at most 1 h"),
        (RawRules { start_ms: Some(5), end_ms: Some(5), ..hourly() }, "end", "is not after `start`"),
        (RawRules { start_ms: Some(HOUR + 1), end_ms: Some(2 * HOUR), ..hourly() }, "end", "no fire time"),
    ] {
        let error = Rules::checked(rules.clone()).expect_err("wrong rules are refused");
        assert_eq!(error.field, field, "{rules:?}");
        assert!(error.problem.contains(expected), "{rules:?}: {error}");
    }
}

#[test]
fn defaults_are_as_documented() {
    let rules = Rules::checked(RawRules { time_zone: String::new(), ..raw(&["@hourly"]) }).unwrap();
    let RawRules { time_zone, overlap, catch_up_ms, jitter_ms, .. } = rules.raw().clone();
    assert_eq!((time_zone.as_str(), overlap, catch_up_ms, jitter_ms), ("UTC", Overlap::Skip, 60_000, 0));
}

#[test]
fn rules_survive_the_record_and_what_later_versions_add() {
    let rules = RawRules { every_ms: Some(5_000), end_ms: Some(10 * HOUR), ..RawRules::default() };
    let text = serde_json::to_string(&rules).unwrap();
    assert_eq!(serde_json::from_str::<RawRules>(&text).unwrap(), rules);
    let newer = r#"{"cron":["@daily"],"overlap":"buffer_one","colour":"red"}"#;
    let expected = RawRules { overlap: Overlap::BufferOne, ..raw(&["@daily"]) };
    assert_eq!(serde_json::from_str::<RawRules>(newer).unwrap(), expected);
}

#[test]
fn fire_times_keep_between_start_and_end() {
    let rules =
        Rules::checked(RawRules { start_ms: Some(2 * HOUR), end_ms: Some(5 * HOUR), ..raw(&["@hourly"]) }).unwrap();
    assert_eq!(rules.next_fires(0, 10), [2 * HOUR, 3 * HOUR, 4 * HOUR]);
    assert_eq!(rules.next_fires(2 * HOUR, 1), [3 * HOUR]);
    assert_eq!(rules.next(4 * HOUR), None);
    let range = rules.range(0, 100 * HOUR).unwrap();
    assert_eq!((range.first, range.last, range.count), (2 * HOUR, 4 * HOUR, 3));
    assert_eq!(rules.range(4 * HOUR, 100 * HOUR), None);
    assert_eq!(rules.surplus(0, 100 * HOUR, 2), Some(2 * HOUR));
    assert_eq!(rules.surplus(0, 100 * HOUR, 3), None);
}

#[test]
fn a_preview_is_bounded() {
    assert_eq!(Rules::checked(raw(&["* * * * * *"])).unwrap().next_fires(0, usize::MAX).len(), PREVIEW_MAX);
}

#[test]
fn jitter_is_the_same_for_the_same_fire_and_stays_before_the_next_one() {
    let jittered = |cron, jitter_ms| Rules::checked(RawRules { jitter_ms, ..raw(&[cron]) }).unwrap();
    let [id, other] = ["a", "b"].map(|name| ScheduleId::new("default", name).unwrap());
    for (rules, limit) in [(jittered("*/5 * * * *", 20_000), 20_000), (jittered("* * * * *", HOUR), 59_999)] {
        let times = rules.next_fires(0, 1_000);
        let delays: Vec<_> = times.iter().map(|time| rules.start_of(&id, *time) - time).collect();
        assert!(delays.iter().all(|delay| *delay <= limit));
        assert!(delays.iter().max() > Some(&(limit * 9 / 10)) && delays.iter().min() < Some(&(limit / 10)));
        let again: Vec<_> = times.iter().map(|time| rules.start_of(&id, *time) - time).collect();
        let others: Vec<_> = times.iter().map(|time| rules.start_of(&other, *time) - time).collect();
        assert_eq!(delays, again);
        assert_ne!(delays, others);
    }
    // Across upgrades, too.
    assert_eq!(jittered("*/5 * * * *", 20_000).start_of(&id, 300_000), 319_395);
}
