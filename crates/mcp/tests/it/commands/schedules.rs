//! `mcp schedule`.

use mcp_proto::{
    Error,
    scheduler::v1::{Fire, FireOutcome, OverlapPolicy, Schedule, schedule::Target},
};
use serde_json::json;

use super::{
    run,
    servers::{Script, Servers},
};

#[tokio::test]
async fn a_schedule_is_created_once_and_replaced_on_request() {
    let servers = Servers::start(Script::default()).await;
    let create = ["schedule", "create", "report", "--cron", "0 7 * * *", "--time-zone", "Europe/Berlin"];
    let ended = run(&servers, &[&create[..], &["--", "make-report"]].concat(), "").await;
    assert_eq!(ended.code, 0, "{ended:?}");
    let ended = run(&servers, &[&create[..], &["--", "other"]].concat(), "").await;
    assert_eq!(ended.code, 5, "{ended:?}");
    assert!(ended.error.contains("--replace"), "{ended:?}");
    let ended =
        run(&servers, &[&create[..], &["--replace", "--overlap", "allow-all", "--", "other"]].concat(), "").await;
    assert_eq!(ended.code, 0, "{ended:?}");
    let stored: Schedule = servers.script().schedules["report"].clone();
    assert_eq!((stored.overlap(), &*stored.time_zone), (OverlapPolicy::AllowAll, "Europe/Berlin"));
}

#[tokio::test]
async fn what_is_printed_can_be_put_again() {
    let servers = Servers::start(Script::default()).await;
    let text = "name: sync\nevery: 90s\njitter: 5s\ntask: {handler: sync, input: {full: false}, queue: q}\n";
    let ended = run(&servers, &["schedule", "put", "-f", "-", "-o", "json"], text).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(ended.json()["task"]["handler"], json!({"handler": "sync", "input": {"full": false}}));
    let before = servers.script().schedules["sync"].clone();
    assert!(matches!(&before.target, Some(Target::Task(task)) if task.queue == "q"), "{before:?}");
    let again = run(&servers, &["schedule", "put", "-f", "-"], &ended.output).await;
    assert_eq!(again.code, 0, "{again:?}");
    assert_eq!(servers.script().schedules["sync"], before);
}

#[tokio::test]
async fn a_fault_is_told_with_its_line() {
    let fault = Error::invalid("schedule.cron[0]", "has 4 fields");
    let servers = Servers::start(Script { fault: Some(fault), ..Script::default() }).await;
    let ended = run(&servers, &["schedule", "put", "-f", "-"], "name: x\ncron: '1 2 3 4'\ntask: {run: x}\n").await;
    assert_eq!(ended.code, 5, "{ended:?}");
    assert!(ended.error.contains("-:2: `cron[0]` has 4 fields"), "{ended:?}");
}

#[tokio::test]
async fn a_range_is_sent_as_typed() {
    let servers = Servers::start(Script::default()).await;
    let args = ["schedule", "backfill", "report", "--from", "2026-11-01", "--to", "2026-11-08T00:00:00+01:00"];
    let ended = run(&servers, &args, "").await;
    assert_eq!((ended.code, ended.output.trim()), (0, "7 fire times will start, 2 ran before"), "{ended:?}");
    let request = servers.script().backfill.clone().unwrap();
    let range = request.end_time.unwrap().seconds - request.start_time.unwrap().seconds;
    assert_eq!((&*request.namespace, &*request.name, range), ("default", "report", 7 * 86_400 - 3_600));
}

#[tokio::test]
async fn the_ledger_and_a_trigger_show_what_became_of_a_fire() {
    let missed = Fire { outcome: FireOutcome::Missed.into(), reason: "too late".to_owned(), ..Fire::default() };
    let ran = Fire { outcome: FireOutcome::Ran.into(), task_id: "T1".to_owned(), ..Fire::default() };
    let servers = Servers::start(Script { fires: vec![ran, missed], ..Script::default() }).await;
    let ended = run(&servers, &["schedule", "fires", "report"], "").await;
    assert!(ended.output.contains("MISSED") && ended.output.contains("too late"), "{ended:?}");
    let ended = run(&servers, &["schedule", "trigger", "report"], "").await;
    assert!(ended.output.contains("RAN") && ended.output.contains("mcp wait T1"), "{ended:?}");
}

#[tokio::test]
async fn fire_times_are_shown_without_a_schedule_and_with_one() {
    let servers = Servers::start(Script::default()).await;
    let spring = ["--time-zone", "Europe/Berlin", "--after", "2027-03-27T12:00:00Z", "--count", "2"];
    let ended = run(&servers, &[&["schedule", "next", "--cron", "30 2 * * *"][..], &spring].concat(), "").await;
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.output.contains("Sun 2027-03-28 03:00:00 CEST"), "right after the gap: {ended:?}");
    assert!(ended.output.contains("Mon 2027-03-29 02:30:00 CEST"), "{ended:?}");

    let stored = Schedule { name: "s".to_owned(), cron: vec!["@daily".to_owned()], ..Schedule::default() };
    servers.script().schedules.insert("s".to_owned(), stored);
    let args = ["schedule", "next", "s", "--after", "2026-01-01", "--count", "1", "-o", "json"];
    let ended = run(&servers, &args, "").await;
    assert_eq!(ended.json()["fireTimes"][0]["fireTime"], "2026-01-02T00:00:00Z", "{ended:?}");

    let ended = run(&servers, &["schedule", "next", "--cron", "61 * * * *"], "").await;
    assert_eq!(ended.code, 2, "{ended:?}");
    let ended = run(&servers, &["schedule", "get", "nobody"], "").await;
    assert_eq!(ended.code, 4, "{ended:?}");
}
