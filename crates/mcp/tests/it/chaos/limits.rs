//! A limit of a queue, and whether it held.

use mcp_client::Client;
use mcp_proto::scheduler::v1::QueueRules;

use super::{
    history::{Execution, Trouble},
    load::SLOW,
};

/// How many tasks of the slow queue may run at a time.
const LIMIT: u32 = 2;

/// `/proc/uptime` counts in hundredths of a second, so two times may be this far from the truth together.
const CLOCK_ERROR_MS: u64 = 20;

/// Gives the slow queue its rules.
pub(super) async fn set(client: &Client) {
    let rules = QueueRules { concurrency_max: LIMIT, ..QueueRules::default() };
    client.set_queue_rules("default", SLOW, rules).await.expect("rules are taken");
}

/// Where the slow queue ran more at a time than it may. What a worker in trouble does is not counted: it may be another
/// worker's by then.
pub(super) fn exceeded(executions: &[Execution], troubles: &[Trouble]) -> Vec<String> {
    let mut changes: Vec<(u64, i32, &str)> = Vec::new();
    for execution in executions.iter().filter(|execution| execution.queue == SLOW) {
        let of_worker = || troubles.iter().filter(|trouble| trouble.worker == execution.worker);
        if of_worker().any(|trouble| (trouble.from..=trouble.until).contains(&execution.start)) {
            continue;
        }
        let trouble = of_worker().map(|trouble| trouble.from).filter(|from| *from >= execution.start).min();
        let Some(end) = [execution.end, trouble].into_iter().flatten().min() else { continue };
        if end > execution.start + CLOCK_ERROR_MS {
            changes.push((execution.start + CLOCK_ERROR_MS, 1, &execution.task));
            changes.push((end, -1, &execution.task));
        }
    }
    changes.sort_unstable();
    let (mut running, mut most, mut faults) = (0, 0, Vec::new());
    for (time, change, task) in changes {
        running += change;
        most = most.max(running);
        if running > i32::try_from(LIMIT).expect("it is small") {
            faults.push(format!("{running} run in `{SLOW}` at {time}, {task} among them"));
        }
    }
    if most < i32::try_from(LIMIT).expect("it is small") {
        faults.push(format!("at most {most} ran in `{SLOW}` at a time: its limit was not put to the test"));
    }
    faults
}
