//! `mcp queue`.

use mcp_proto::scheduler::v1::{Queue, QueueRules, Rate};
use serde_json::json;

use super::{
    run,
    servers::{Script, Servers},
};

fn five_dead() -> Script {
    Script { dead: (1..=5).map(|n| format!("T{n}")).collect(), ..Script::default() }
}

#[tokio::test]
async fn a_set_changes_what_is_given_and_keeps_the_rest() {
    let rules = QueueRules { concurrency_max: 4, tasks_max: 100, ..QueueRules::default() };
    let queue =
        Queue { namespace: "default".to_owned(), queue: "render".to_owned(), rules: Some(rules), ..Queue::default() };
    let servers = Servers::start(Script { queue, ..Script::default() }).await;
    let ended = run(&servers, &["queue", "set", "render", "--rate", "100/s:20", "--tasks-max", "none"], "").await;
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.output.contains("default/render") && ended.output.contains("100/s:20"), "{ended:?}");
    let expected =
        QueueRules { concurrency_max: 4, rate: Some(Rate { per_second: 100.0, burst: 20 }), ..QueueRules::default() };
    assert_eq!(servers.script().queue.rules, Some(expected));
}

#[tokio::test]
async fn a_replay_goes_on_until_there_are_no_more() {
    let servers = Servers::start(five_dead()).await;
    let ended = run(&servers, &["queue", "dead", "replay", "render", "--error", "RUN_TIMEOUT", "-o", "json"], "").await;
    assert_eq!(ended.code, 0, "{ended:?}");
    let replayed = ended.json();
    assert_eq!(replayed["replayed"].as_array().unwrap().len(), 5);
    assert_eq!(replayed["replayed"][4], json!({"taskId": "T5", "newTaskId": "T5-again"}));
    assert!(ended.error.contains("5 dead letters replayed, 0 not"), "{ended:?}");
    let script = servers.script();
    assert_eq!(script.dead_calls, 3);
    assert!(script.filters.iter().all(|filter| filter.error_name == "RUN_TIMEOUT" && !filter.all), "{script:?}");
}

#[tokio::test]
async fn a_purge_without_a_terminal_needs_a_yes() {
    let servers = Servers::start(five_dead()).await;
    let ended = run(&servers, &["queue", "dead", "purge", "render", "--all"], "y\n").await;
    assert_eq!(ended.code, 2, "{ended:?}");
    assert!(ended.error.contains("--yes"), "{ended:?}");
    assert_eq!(servers.script().dead_calls, 0, "nothing was asked of the server");
    let ended = run(&servers, &["queue", "dead", "purge", "render", "--all", "--yes"], "").await;
    assert_eq!((ended.code, ended.output.trim()), (0, "5 dead letters removed"), "{ended:?}");
    assert!(servers.script().filters[0].all);
}

#[tokio::test]
async fn a_list_is_cut_where_it_is_told_to() {
    let servers = Servers::start(five_dead()).await;
    let ended = run(&servers, &["queue", "dead", "list", "render", "--limit", "3"], "").await;
    assert_eq!(ended.output.lines().count(), 4, "a header and three rows: {ended:?}");
    assert!(ended.error.contains("there are more"), "{ended:?}");
    let ended = run(&servers, &["queue", "dead", "list", "render", "--all", "-o", "json"], "").await;
    assert_eq!(ended.json()["deadLetters"].as_array().unwrap().len(), 5, "{ended:?}");
}

#[tokio::test]
async fn the_other_commands_show_the_queue() {
    let queue = Queue { namespace: "default".to_owned(), queue: "render".to_owned(), pending: 7, ..Queue::default() };
    let servers = Servers::start(Script { queue, ..Script::default() }).await;
    for (args, shown) in [
        (&["queue", "list"][..], "default/render  OPEN"),
        (&["queue", "get", "render"], "pending    7"),
        (&["queue", "pause", "render"], "PAUSED"),
        (&["queue", "scaling", "render"], "needed workers   3"),
    ] {
        let ended = run(&servers, args, "").await;
        assert_eq!(ended.code, 0, "{ended:?}");
        assert!(ended.output.contains(shown), "{args:?}: {ended:?}");
    }
}
