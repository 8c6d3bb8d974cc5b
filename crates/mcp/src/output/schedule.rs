//! Schedules and their ledgers as tables.

use std::time::{Duration, SystemTime};

use mcp_proto::scheduler::v1::{Fire, FireKind, FireOutcome, Schedule, schedule::Target};

use super::{
    table::{Facts, from_now, length, plain, second, shortened_to, span, text, time},
    task,
};

/// Longest reason that a row shows, in characters.
const REASON_CHARS_MAX: usize = 80;

/// The schedules, one per row.
pub fn schedules(schedules: &[Schedule], now: SystemTime) -> String {
    let mut table = plain(&["SCHEDULE", "STATE", "WHEN", "ZONE", "NEXT", "RUNNING", "STARTS"]);
    for schedule in schedules {
        table.add_row([
            format!("{}/{}", schedule.namespace, schedule.name),
            state(schedule).to_owned(),
            when(schedule),
            zone(schedule),
            from_now(schedule.next_time, now),
            schedule.running.len().to_string(),
            shortened_to(&starts(schedule), REASON_CHARS_MAX),
        ]);
    }
    text(table)
}

/// One schedule, one line per thing that is known of it.
pub fn schedule(schedule: &Schedule, now: SystemTime) -> String {
    let seen = |timestamp| match second(timestamp) {
        text if text.is_empty() => text,
        text => format!("{text} ({})", from_now(timestamp, now)),
    };
    let mut facts = Facts::new();
    facts.add("schedule", format!("{}/{}", schedule.namespace, schedule.name));
    facts.add("state", state(schedule));
    facts.add("when", when(schedule));
    facts.add("zone", zone(schedule));
    facts.add("next", seen(schedule.next_time));
    facts.add("paused", seen(schedule.pause_time));
    facts.add("starts", starts(schedule));
    let overlap = schedule.overlap().as_str_name().trim_start_matches("OVERLAP_POLICY_");
    let overlap = if overlap == "UNSPECIFIED" { "SKIP" } else { overlap };
    facts.add("overlap", overlap.to_lowercase().replace('_', "-"));
    facts.add("catch-up", length(schedule.catch_up));
    facts.add("jitter", length(schedule.jitter));
    facts.add("from", seen(schedule.start_time));
    facts.add("until", seen(schedule.end_time));
    facts.add("running", schedule.running.join(" "));
    facts.add("created", seen(schedule.create_time));
    facts.text()
}

/// The ledger, one entry per row.
pub fn fires(fires: &[Fire]) -> String {
    let mut table = plain(&["FIRE TIME", "KIND", "OUTCOME", "COUNT", "STARTED", "REASON"]);
    for fire in fires {
        table.add_row(cells(fire));
    }
    text(table)
}

/// The next fire times, with the clock in the zone of the schedule and how far away they are.
pub fn upcoming(times: &[(SystemTime, String)], now: SystemTime) -> String {
    let mut table = plain(&["FIRE TIME", "LOCAL TIME", "IN", "AFTER THE ONE BEFORE"]);
    let mut before: Option<SystemTime> = None;
    for (time, local) in times {
        let gap = before.and_then(|before| time.duration_since(before).ok()).map(span).unwrap_or_default();
        table.add_row([
            humantime::format_rfc3339_seconds(*time).to_string(),
            local.clone(),
            time.duration_since(now).map(span).unwrap_or_else(|passed| format!("-{}", span(passed.duration()))),
            gap,
        ]);
        before = Some(*time);
    }
    text(table)
}

fn cells(fire: &Fire) -> [String; 6] {
    let first = second(fire.fire_time);
    let range = match (time(fire.fire_time), time(fire.last_fire_time)) {
        (Some(from), Some(to)) if to > from => format!("{first} .. {}", second(fire.last_fire_time)),
        _ => first,
    };
    let started = if fire.workflow_id.is_empty() { &fire.task_id } else { &fire.workflow_id };
    [
        range,
        kind(fire.kind()).to_owned(),
        outcome(fire.outcome()).to_owned(),
        fire.count.max(1).to_string(),
        started.clone(),
        shortened_to(&fire.reason, REASON_CHARS_MAX),
    ]
}

fn kind(kind: FireKind) -> &'static str {
    kind.as_str_name().trim_start_matches("FIRE_KIND_")
}

fn outcome(outcome: FireOutcome) -> &'static str {
    outcome.as_str_name().trim_start_matches("FIRE_OUTCOME_")
}

fn state(schedule: &Schedule) -> &'static str {
    match (schedule.pause_time.is_some(), schedule.next_time.is_some()) {
        (true, _) => "PAUSED",
        (false, true) => "ACTIVE",
        (false, false) => "OVER",
    }
}

fn when(schedule: &Schedule) -> String {
    match schedule.every.and_then(|every| Duration::try_from(every).ok()) {
        Some(every) => format!("every {}", humantime::format_duration(every)),
        None => schedule.cron.join(" | "),
    }
}

fn zone(schedule: &Schedule) -> String {
    match (schedule.every.is_some(), schedule.time_zone.as_str()) {
        (true, _) => String::new(),
        (false, "") => "UTC".to_owned(),
        (false, zone) => zone.to_owned(),
    }
}

fn starts(schedule: &Schedule) -> String {
    match &schedule.target {
        Some(Target::Task(spec)) => format!("task {}", task::work(spec)),
        Some(Target::Workflow(spec)) => format!("workflow {} ({} steps)", spec.name, spec.steps.len()),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use mcp_proto::scheduler::v1::{
        Fire, FireKind, FireOutcome, HandlerWork, Schedule, TaskSpec, schedule::Target, task_spec::Work,
    };
    use prost_types::Timestamp;

    fn at(seconds: i64) -> Option<Timestamp> {
        Some(Timestamp { seconds, nanos: 0 })
    }

    fn schedule() -> Schedule {
        let work = Work::Handler(HandlerWork { handler: "report".to_owned(), input: None });
        Schedule {
            namespace: "default".to_owned(),
            name: "daily".to_owned(),
            cron: vec!["0 7 * * *".to_owned(), "@weekly".to_owned()],
            time_zone: "Europe/Berlin".to_owned(),
            target: Some(Target::Task(TaskSpec { work: Some(work), ..TaskSpec::default() })),
            next_time: at(160),
            ..Schedule::default()
        }
    }

    fn trimmed(text: &str) -> String {
        text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_list_shows_when_and_what() {
        let every = Schedule {
            cron: Vec::new(),
            every: Some(prost_types::Duration { seconds: 90, nanos: 0 }),
            next_time: None,
            ..schedule()
        };
        let text = super::schedules(&[schedule(), every], SystemTime::UNIX_EPOCH + Duration::from_secs(100));
        let expected = "\
SCHEDULE       STATE   WHEN                 ZONE           NEXT      RUNNING  STARTS
default/daily  ACTIVE  0 7 * * * | @weekly  Europe/Berlin  in 1m 0s  0        task handler report
default/daily  OVER    every 1m 30s                                  0        task handler report";
        assert_eq!(trimmed(&text), expected);
    }

    #[test]
    fn one_schedule_shows_its_rules() {
        let text = super::schedule(&schedule(), SystemTime::UNIX_EPOCH + Duration::from_secs(100));
        let expected = "\
schedule  default/daily
state     ACTIVE
when      0 7 * * * | @weekly
zone      Europe/Berlin
next      1970-01-01T00:02:40Z (in 1m 0s)
starts    task handler report
overlap   skip";
        assert_eq!(trimmed(&text), expected);
    }

    #[test]
    fn the_ledger_shows_ranges_and_reasons() {
        let ran = Fire {
            fire_time: at(60),
            kind: FireKind::Regular.into(),
            outcome: FireOutcome::Ran.into(),
            task_id: "T1".to_owned(),
            ..Fire::default()
        };
        let missed = Fire {
            fire_time: at(120),
            last_fire_time: at(240),
            count: 3,
            kind: FireKind::CatchUp.into(),
            outcome: FireOutcome::Missed.into(),
            reason: "older than 1m".to_owned(),
            ..Fire::default()
        };
        let expected = "\
FIRE TIME                                     KIND      OUTCOME  COUNT  STARTED  REASON
1970-01-01T00:01:00Z                          REGULAR   RAN      1      T1
1970-01-01T00:02:00Z .. 1970-01-01T00:04:00Z  CATCH_UP  MISSED   3               older than 1m";
        assert_eq!(trimmed(&super::fires(&[ran, missed])), expected);
    }
}
