//! Queues, schedules and workflows by the command line, on `mcp dev`.

use serde_json::Value;

use super::{Ended, run_at};
use crate::support::Dev;

/// Runs a command that must succeed; words are separated by blanks, the rest comes as it is.
async fn done(dev: &Dev, words: &str, rest: &[&str]) -> Ended {
    let args: Vec<&str> = words.split_whitespace().chain(rest.iter().copied()).collect();
    let ended = run_at(&dev.url, &args, "").await;
    assert_eq!(ended.code, 0, "mcp {words} {rest:?}: {ended:?}");
    ended
}

/// The same, printed as JSON.
async fn json(dev: &Dev, words: &str, rest: &[&str]) -> Value {
    done(dev, &format!("-o json {words}"), rest).await.json()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("not a text: {value}")).to_owned()
}

#[tokio::test]
async fn a_queue_is_paused_explained_limited_and_resumed() {
    let dev = Dev::start(&[]).await;
    let set = done(&dev, "queue set render --concurrency 1 --rate 50/s:10 --weight ana=3", &[]).await;
    assert!(set.output.contains("50/s:10") && set.output.contains("ana=3"), "{set:?}");
    done(&dev, "queue pause render", &[]).await;
    let id = text(&json(&dev, "submit -q render --key ana --", &["true"]).await["taskId"]);
    let explained = done(&dev, "explain", &[&id]).await.output;
    assert!(explained.contains("1. QUEUE_PAUSED") && explained.contains("PENDING"), "{explained}");
    let listed = done(&dev, "queue list", &[]).await.output;
    assert!(listed.contains("default/render") && listed.contains("PAUSED"), "{listed}");
    let shown = done(&dev, "queue resume render", &[]).await.output;
    assert!(shown.contains("OPEN") && shown.contains("concurrency"), "{shown}");
    done(&dev, "wait", &[&id]).await;
    let explained = json(&dev, "explain", &[&id]).await;
    assert_eq!(explained["reasons"][0]["kind"], "FINISHED", "{explained}");
    done(&dev, "queue drain render", &[]).await;
    let refused = run_at(&dev.url, &["submit", "-q", "render", "--", "true"], "").await;
    assert!(refused.code == 5 && refused.error.contains("QUEUE_CLOSED"), "{refused:?}");
    let scaling = json(&dev, "queue scaling render", &[]).await;
    assert_eq!(scaling["neededWorkers"], 0.0, "{scaling}");
}

#[tokio::test]
async fn dead_letters_are_listed_replayed_and_purged() {
    let dev = Dev::start(&[]).await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(text(&json(&dev, "submit -q mails --retries 0 --", &["false"]).await["taskId"]));
    }
    let mut wait = vec!["wait"];
    wait.extend(ids.iter().map(String::as_str));
    let waited = run_at(&dev.url, &wait, "").await;
    assert_eq!(waited.code, 1, "they failed: {waited:?}");
    let dead = json(&dev, "queue dead list mails --error EXIT_NON_ZERO", &[]).await;
    assert_eq!(dead["deadLetters"].as_array().unwrap().len(), 3, "{dead}");

    let replayed = json(&dev, "queue dead replay mails --id", &[&ids[0]]).await;
    assert_eq!(replayed["replayed"][0]["taskId"], ids[0], "{replayed}");
    let new = text(&replayed["replayed"][0]["newTaskId"]);
    assert_eq!(run_at(&dev.url, &["wait", &new], "").await.code, 1);
    let task = json(&dev, "get", &[&new]).await;
    assert_eq!(task["replayOf"], ids[0], "{task}");
    let retried = text(&json(&dev, "retry", &[&ids[1]]).await["taskId"]);
    assert_eq!(run_at(&dev.url, &["wait", &retried], "").await.code, 1);

    let purged = done(&dev, "queue dead purge mails --all --yes", &[]).await;
    assert!(purged.output.contains("3 dead letters removed"), "one stayed, two failed again: {purged:?}");
    let dead = json(&dev, "queue dead list mails", &[]).await;
    assert_eq!(dead["deadLetters"], serde_json::json!([]), "{dead}");
}

#[tokio::test]
async fn a_schedule_is_made_triggered_filled_back_and_deleted() {
    let dev = Dev::start(&[]).await;
    let cron =
        ["--cron", "0 7 1 1 *", "--time-zone", "Europe/Berlin", "--overlap", "allow-all", "--", "echo", "report"];
    let made = json(&dev, "schedule create report", &cron).await;
    assert!(text(&made["nextTime"]).ends_with("-01-01T06:00:00Z"), "{made}");
    let fired = json(&dev, "schedule trigger report", &[]).await;
    done(&dev, "wait", &[&text(&fired["fire"]["taskId"])]).await;
    let filled = done(&dev, "schedule backfill report --from 2024-12-31 --to 2026-01-02", &[]).await;
    assert!(filled.output.contains("2 fire times will start"), "{filled:?}");
    let paused = done(&dev, "schedule pause report", &[]).await;
    assert!(paused.output.contains("paused"), "{paused:?}");
    done(&dev, "schedule resume report", &[]).await;
    testkit::eventually(crate::support::SOON, || async {
        let fires = done(&dev, "schedule fires report", &[]).await.output;
        if fires.matches("RAN").count() == 3 { Ok(()) } else { Err(fires) }
    })
    .await;
    done(&dev, "schedule delete report", &[]).await;
    assert_eq!(run_at(&dev.url, &["schedule", "get", "report"], "").await.code, 4);
}

/// Adds up to 6, with a fan-out, an expression and a step that is left out.
const SUM: &str = "
name: sum
input: {numbers: [1, 2]}
steps:
  - name: double
    for_each: input.numbers
    env: {N: '${ item }'}
    run: echo $((N * 2)) > $MCP_OUTPUT
  - name: never
    condition: size(input.numbers) > 5
    run: 'false'
  - name: add
    depends_on: [double, never]
    env: {NUMBERS: '${ steps.double.output }'}
    run: echo \"$NUMBERS\" | tr -d '[]' | tr , '\\n' | awk '{n += $1} END {print n}' > $MCP_OUTPUT
output: steps.add.output
";

#[tokio::test]
async fn a_workflow_runs_to_its_end_and_again_from_a_step() {
    let dev = Dev::start(&[]).await;
    let submit = ["-o", "json", "workflow", "submit", "-f", "-", "--wait"];
    let ended = run_at(&dev.url, &submit, SUM).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    let workflow = ended.json();
    assert_eq!(workflow["output"], 6, "{workflow}");
    let id = text(&workflow["id"]);
    let shown = done(&dev, "workflow get", &[&id]).await.output;
    assert!(shown.contains("SUCCEEDED") && shown.contains("SKIPPED") && shown.contains("double"), "{shown}");

    let ended = run_at(&dev.url, &[&submit[..], &["--input", "numbers=[3, 4]"]].concat(), SUM).await;
    assert_eq!(ended.json()["output"], 14, "{ended:?}");
    let rerun = ["-o", "json", "workflow", "rerun", &id, "--from", "add", "--wait"];
    let again = run_at(&dev.url, &rerun, "").await;
    assert_eq!(again.code, 0, "{again:?}");
    let again = again.json();
    assert_eq!((&again["rerunOf"], &again["output"]), (&Value::from(id), &Value::from(6)), "{again}");
    let state = |name: &str| {
        let steps = again["steps"].as_array().unwrap();
        text(&steps.iter().find(|step| step["name"] == name).unwrap()["state"])
    };
    assert_eq!((state("double"), state("add")), ("STEP_STATE_REUSED".into(), "STEP_STATE_SUCCEEDED".into()));
}

#[tokio::test]
async fn what_is_wrong_with_a_workflow_is_told_by_name_and_line() {
    let dev = Dev::start(&[]).await;
    for (text, line, what) in [
        (
            "name: x\nsteps:\n  - name: a\n    depends_on: b\n    run: x\n  - name: b\n    depends_on: a\n    run: x\n",
            "",
            "a -> b -> a",
        ),
        ("name: x\nsteps:\n  - name: a\n    depends_on: nobody\n    run: x\n", "-:4:", "nobody"),
        ("name: x\nsteps:\n  - name: a\n    condition: 1 +\n    run: x\n", "-:4:", "condition"),
    ] {
        let ended = run_at(&dev.url, &["workflow", "check", "-f", "-"], text).await;
        assert_eq!(ended.code, 5, "{ended:?}");
        assert!(ended.error.contains(what) && ended.error.contains(line), "{ended:?}");
    }
    let slow = "name: slow\nsteps:\n  - name: a\n    handler: nobody\n";
    let ended = run_at(&dev.url, &["-o", "json", "workflow", "submit", "-f", "-"], slow).await;
    let id = text(&ended.json()["workflowId"]);
    let paused = done(&dev, "workflow pause", &[&id]).await.output;
    assert!(paused.contains("PAUSED"), "{paused}");
    done(&dev, "workflow resume", &[&id]).await;
    done(&dev, "workflow cancel", &[&id, "--reason", "wrong input"]).await;
    assert_eq!(run_at(&dev.url, &["workflow", "wait", &id], "").await.code, 1, "it was cancelled");
    let listed = done(&dev, "workflow list --state cancelled", &[]).await.output;
    assert!(listed.contains(&id), "{listed}");
}
