//! Random workflows.

use dice::Dice;
use serde_json::{Value, json};

use crate::{FailureMode, Json, RawDefinition, RawStep};

/// Most steps of a simulated workflow.
const STEPS_MAX: u64 = 9;

/// A random workflow and its input.
pub(super) fn invent(dice: &mut Dice) -> (RawDefinition, Json) {
    let count = dice.range(1, STEPS_MAX);
    let mut steps: Vec<RawStep> = Vec::new();
    for number in 0..count {
        let step = invent_step(dice, number, &steps);
        steps.push(step);
    }
    // The order in the definition has nothing to do with the order in the graph.
    for at in (1..steps.len()).rev() {
        let other = dice.range(0, at as u64);
        steps.swap(at, usize::try_from(other).unwrap());
    }
    let on_failure = dice.percent(40).then(|| RawStep {
        name: "rescue".to_owned(),
        task: task(&format!("${{steps.{}.state}}", steps[0].name)),
        for_each: if dice.percent(30) { "[1, 2]".to_owned() } else { String::new() },
        ..RawStep::default()
    });
    let definition = RawDefinition {
        name: "simulated".to_owned(),
        on_failure,
        output: if dice.percent(20) { format!("steps.{}.output", steps[0].name) } else { String::new() },
        timeout: dice.percent(15).then(|| dice.range(50, 2_000)),
        steps,
    };
    let items: Vec<u64> = (0..dice.range(0, 6)).collect();
    (definition, json!({"list": items, "map": {"a": 1, "b": 2, "c": 3}, "yes": true}).into())
}

fn invent_step(dice: &mut Dice, number: u64, before: &[RawStep]) -> RawStep {
    let mut depends_on: Vec<String> = Vec::new();
    for step in before {
        if depends_on.len() < 3 && dice.percent(30) {
            depends_on.push(step.name.clone());
        }
    }
    let dependency = depends_on.first().cloned();
    let condition = match (dice.range(0, 9), &dependency) {
        (0, _) => "input.yes".to_owned(),
        (1, _) => "!input.yes".to_owned(),
        (2 | 3, Some(name)) => format!("steps.{name}.state in ['SUCCEEDED', 'FAILED']"),
        (4, Some(name)) => format!("steps.{name}.state == 'FAILED' && steps.{name}.error.message != ''"),
        (5, _) if dice.percent(20) => "input.nothing".to_owned(),
        _ => String::new(),
    };
    let for_each = match (dice.range(0, 9), &dependency) {
        (0 | 1, _) => "input.list".to_owned(),
        (2, Some(name)) => format!("steps.{name}.output"),
        (3, _) => "input.map.map(key, key)".to_owned(),
        (4, _) if dice.percent(30) => "[]".to_owned(),
        _ => String::new(),
    };
    let text = match (&dependency, for_each.is_empty()) {
        (Some(name), true) => format!("${{steps.{name}.output}}"),
        (_, false) => "${item} of ${input.list.size()} at ${index}".to_owned(),
        (None, true) => "plain".to_owned(),
    };
    RawStep {
        name: format!("s{number}"),
        task: task(&text),
        depends_on,
        condition,
        for_each,
        parallel_max: u32::try_from(dice.range(0, 3)).unwrap(),
        failure_mode: if dice.percent(50) { FailureMode::Continue } else { FailureMode::Fail },
    }
}

fn task(text: &str) -> Json {
    Json::from(json!({"handler": {"handler": "work", "input": {"text": text}}}) as Value)
}
