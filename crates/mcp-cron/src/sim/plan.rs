//! What a seed decides: limits, zones, rules.

use chrono::DateTime;
use dice::Dice;

use crate::{
    faults::Fault,
    id::Millis,
    limits::Limits,
    rules::{Overlap, RawRules},
};

const MINUTE: Millis = 60_000;
const HOUR: Millis = 60 * MINUTE;

/// Nights in which clocks are changed, and one in which nothing happens.
const NIGHTS: [(&str, &str); 7] = [
    ("Europe/Berlin", "2025-03-30T01:00:00Z"),
    ("Europe/Berlin", "2025-10-26T01:00:00Z"),
    ("America/New_York", "2025-03-09T07:00:00Z"),
    ("America/New_York", "2025-11-02T06:00:00Z"),
    ("Australia/Lord_Howe", "2025-10-04T15:30:00Z"),
    ("Australia/Lord_Howe", "2025-04-05T15:00:00Z"),
    ("UTC", "2026-02-28T23:00:00Z"),
];

const EXPRESSIONS: [&str; 14] = [
    "* * * * *",
    "*/5 * * * *",
    "*/7 * * * *",
    "*/15 1-3 * * *",
    "30 * * * *",
    "@hourly",
    "30 2 * * *",
    "45 1 * * *",
    "0,30 1-3 * * *",
    "15,45 2 * * *",
    "0 3 * * 0",
    "0-59/10 0-23 * * *",
    "10 0-4 * * *",
    "*/20 2 1-31/2 * *",
];

/// How a run goes.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) limits: Limits,
    pub(super) fault: Option<Fault>,
    pub(super) start: Millis,
    pub(super) steps: u64,
    zone: &'static str,
    /// Batches that are lost with their owner, of 1,000.
    pub(super) crashing: u64,
    /// Steps in which another owner takes over, of 1,000.
    pub(super) replacing: u64,
    /// Starts that are refused, of 1,000.
    pub(super) refusing: u64,
    /// Largest difference between the clocks of owners.
    pub(super) skew: Millis,
    /// Longest run of a task.
    pub(super) work_time: Millis,
    /// Batches with a command, of 1,000.
    pub(super) commanding: u64,
    /// Steps that take hours, of 1,000.
    pub(super) sleeping: u64,
}

impl Plan {
    pub(super) fn new(dice: &mut Dice, fault: Option<Fault>) -> Self {
        let (zone, night) = dice.pick(&NIGHTS);
        let night = Millis::try_from(DateTime::parse_from_rfc3339(night).unwrap().timestamp_millis()).unwrap();
        let size = |dice: &mut Dice, from: &[u64]| usize::try_from(dice.pick(from)).unwrap();
        let limits = Limits {
            schedules_max: 4,
            tick_steps_max: size(dice, &[3, 20, 1_000]),
            schedule_steps_max: size(dice, &[1, 3, 100]),
            running_max: size(dice, &[2, 5, 1_000]),
            backfill_max: size(dice, &[10, 50]),
            backlog_ranges_max: size(dice, &[3, 10]),
            recent_max: size(dice, &[1, 5, 256]),
        };
        Self {
            limits,
            fault,
            start: night - dice.range(10 * MINUTE, 5 * HOUR),
            steps: dice.range(40, 160),
            zone,
            crashing: dice.pick(&[0, 30, 150]),
            replacing: dice.pick(&[0, 20, 80]),
            refusing: dice.pick(&[0, 50]),
            skew: dice.pick(&[0, 2_000, 10 * MINUTE]),
            work_time: dice.pick(&[MINUTE, 10 * MINUTE, 2 * HOUR]),
            commanding: dice.pick(&[50, 200, 500]),
            sleeping: dice.pick(&[0, 30, 100]),
        }
    }

    /// Rules to try.
    pub(super) fn rules(&self, dice: &mut Dice, now: Millis) -> RawRules {
        let (mut cron, mut every_ms) = (Vec::new(), None);
        if dice.percent(15) {
            every_ms = Some(dice.pick(&[90_000, 7 * MINUTE, HOUR]));
        } else {
            for _ in 0..dice.pick(&[1, 1, 1, 2, 3]) {
                cron.push(dice.pick(&EXPRESSIONS).to_owned());
            }
        }
        RawRules {
            cron,
            every_ms,
            time_zone: if dice.percent(80) { self.zone } else { "UTC" }.to_owned(),
            overlap: dice.pick(&[Overlap::Skip, Overlap::BufferOne, Overlap::CancelOther, Overlap::AllowAll]),
            catch_up_ms: dice.pick(&[10_000, MINUTE, HOUR, 24 * HOUR]),
            catch_up_max: u32::try_from(dice.pick(&[1, 3, 1_000])).unwrap(),
            jitter_ms: dice.pick(&[0, 0, 20_000, 5 * MINUTE, HOUR]),
            start_ms: dice.percent(10).then(|| now + dice.range(0, 3 * HOUR)),
            end_ms: dice.percent(10).then(|| now + dice.range(30 * HOUR, 60 * HOUR)),
        }
    }
}
