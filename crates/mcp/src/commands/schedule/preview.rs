//! `mcp schedule next`: the fire times to come. They are computed here, by the rules that the scheduler goes by, so that
//! expressions can be tried out without storing anything.

use std::time::{Duration, SystemTime};

use chrono::DateTime;
use chrono_tz::Tz;
use mcp_cron::{RawRules, Rules};
use mcp_proto::scheduler::v1::Schedule;
use serde_json::json;

use crate::{
    args::{Format, schedule::Next},
    commands::context::Context,
    exit::{Exit, Failure},
    output::{json, print, schedule},
};

/// Shows the next fire times of a stored schedule, or of what the flags say.
pub(super) async fn run(context: &Context, args: &Next) -> Result<Exit, Failure> {
    let now = SystemTime::now();
    let after = args.after.resolve(now).ok().and_then(|time| SystemTime::try_from(time).ok());
    let after = after.ok_or_else(|| Failure::usage("--after is too far away", "give a time that is nearer"))?;
    let raw = match &args.name {
        Some(name) => {
            let stored =
                context.client.schedule(&args.namespace, name).await.map_err(|error| context.failure(error))?;
            if stored.pause_time.is_some() {
                print::note(format!("{name} is paused: these fire times will be skipped unless it is resumed"));
            }
            of_schedule(&stored)
        }
        None => RawRules {
            cron: args.cron.clone(),
            every_ms: args.every.map(millis),
            time_zone: args.time_zone.clone(),
            ..RawRules::default()
        },
    };
    let rules =
        Rules::checked(raw).map_err(|error| Failure::usage(error.to_string(), "see `mcp schedule next --help`"))?;
    let zone: Tz = rules.raw().time_zone.parse().unwrap_or(Tz::UTC);
    let since_1970 = after.duration_since(SystemTime::UNIX_EPOCH).map(millis).unwrap_or_default();
    let times = rules.next_fires(since_1970, usize::from(args.count));
    let times: Vec<(SystemTime, String)> = times.into_iter().map(|time| (at(time), local(time, zone))).collect();
    match context.format {
        Format::Table => print::line(schedule::upcoming(&times, now))?,
        Format::Json => {
            let times = times.iter().map(|(time, local)| {
                json!({"fireTime": humantime::format_rfc3339_seconds(*time).to_string(), "localTime": local})
            });
            print::line(json::pretty(&json!({ "fireTimes": times.collect::<Vec<_>>() })))?;
        }
    }
    Ok(Exit::Done)
}

fn of_schedule(schedule: &Schedule) -> RawRules {
    let moment = |time: Option<prost_types::Timestamp>| {
        let time = time.and_then(|time| SystemTime::try_from(time).ok());
        time.and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok()).map(millis)
    };
    RawRules {
        cron: schedule.cron.clone(),
        every_ms: schedule.every.and_then(|every| Duration::try_from(every).ok()).map(millis),
        time_zone: schedule.time_zone.clone(),
        start_ms: moment(schedule.start_time),
        end_ms: moment(schedule.end_time),
        ..RawRules::default()
    }
}

fn millis(length: Duration) -> u64 {
    u64::try_from(length.as_millis()).unwrap_or(u64::MAX)
}

fn at(millis: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(millis)
}

/// What the clock shows in the zone.
fn local(millis: u64, zone: Tz) -> String {
    let time = i64::try_from(millis).ok().and_then(DateTime::from_timestamp_millis);
    time.map(|time| time.with_timezone(&zone).format("%a %Y-%m-%d %H:%M:%S %Z").to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use chrono_tz::Tz;

    use super::local;

    #[test]
    fn the_clock_of_the_zone_is_shown() {
        let berlin: Tz = "Europe/Berlin".parse().unwrap();
        assert_eq!(local(1_700_000_000_000, berlin), "Tue 2023-11-14 23:13:20 CET");
        assert_eq!(local(1_690_000_000_000, berlin), "Sat 2023-07-22 06:26:40 CEST");
    }
}
