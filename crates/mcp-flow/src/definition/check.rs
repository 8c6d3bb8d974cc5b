//! The check of a definition.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use serde_json::Value;

use super::{
    Definition, FAULTS_MAX, Fault, RawDefinition, RawStep, STEPS_MAX, Step,
    graph::{Ancestors, Graph},
    nearest::nearest,
};
use crate::{
    expression::{Names, Program},
    json::Json,
    template::Template,
    time::Millis,
};

/// Longest name of a workflow, in bytes.
const NAME_BYTES_MAX: usize = 200;
/// Longest name of a step, in bytes.
const STEP_NAME_BYTES_MAX: usize = 63;
/// Longest time that a workflow may take.
const TIMEOUT_MAX: Millis = 366 * 24 * 60 * 60 * 1000;
/// Most dependencies of all steps together.
const DEPENDENCIES_MAX: usize = 100_000;
/// Most expressions of all steps together.
const EXPRESSIONS_MAX: usize = 100_000;
/// Most patterns in all expressions together.
const PATTERNS_MAX: usize = 100;
/// Most steps of a circle that are named.
const CIRCLE_NAMES_MAX: usize = 12;
/// Fields of a step's task that the workflow sets, or that make no sense in it.
const TASK_FIELDS_UNWANTED: [&str; 4] = ["namespace", "delay", "idempotencyKey", "uniqueKey"];

/// See [`Definition::check`].
pub(super) fn check(raw: Arc<RawDefinition>) -> Result<Definition, Vec<Fault>> {
    let mut faults = Faults::default();
    check_frame(&raw, &mut faults);
    if raw.steps.len() > STEPS_MAX {
        return Err(faults.list);
    }
    let numbers = check_names(&raw, &mut faults);
    let graph = check_dependencies(&raw, &numbers, &mut faults);
    let order = graph.order();
    if let Err(circle) = &order {
        faults.push(field(circle[0], "depends_on"), circle_text(&raw, circle));
    }
    let mut expressions = Expressions { numbers: &numbers, known: HashMap::new(), count: 0, patterns: 0 };
    let mut steps = compile_steps(&raw, &graph, &mut expressions, &mut faults);
    let output = expressions.optional(&raw.output, false, "workflow.output", &mut faults);
    if let Ok(order) = order
        && !faults.is_full()
    {
        check_references(&steps[..raw.steps.len()], &graph, &order, &mut faults);
    }
    if !faults.list.is_empty() {
        return Err(faults.list);
    }
    for (step, dependents) in steps.iter_mut().zip(graph.dependents()) {
        step.dependents = dependents;
    }
    Ok(Definition { has_on_failure: raw.on_failure.is_some(), steps, output, numbers, raw })
}

#[derive(Debug, Default)]
struct Faults {
    list: Vec<Fault>,
}

impl Faults {
    fn push(&mut self, field: impl Into<String>, description: impl Into<String>) {
        if self.list.len() < FAULTS_MAX {
            self.list.push(Fault { field: field.into(), description: description.into() });
        }
    }

    fn is_full(&self) -> bool {
        self.list.len() == FAULTS_MAX
    }
}

fn field(step: u32, name: &str) -> String {
    format!("workflow.steps[{step}].{name}")
}

fn check_frame(raw: &RawDefinition, faults: &mut Faults) {
    if raw.name.len() > NAME_BYTES_MAX {
        faults.push("workflow.name", format!("has {} bytes; at most {NAME_BYTES_MAX} are allowed", raw.name.len()));
    }
    if raw.steps.is_empty() || raw.steps.len() > STEPS_MAX {
        faults.push("workflow.steps", format!("there are {} steps; 1 to {STEPS_MAX} are allowed", raw.steps.len()));
    }
    if raw.timeout.is_some_and(|timeout| timeout == 0 || timeout > TIMEOUT_MAX) {
        faults.push("workflow.timeout", "must be more than 0 and at most 366 days");
    }
}

fn check_names(raw: &RawDefinition, faults: &mut Faults) -> BTreeMap<Arc<str>, u32> {
    let mut numbers: BTreeMap<Arc<str>, u32> = BTreeMap::new();
    for (number, step) in (0..).zip(&raw.steps) {
        if let Some(description) = name_fault(&step.name) {
            faults.push(field(number, "name"), description);
        } else if let Some(first) = numbers.get(step.name.as_str()) {
            faults.push(field(number, "name"), format!("`{}` is already the name of steps[{first}]", step.name));
        } else {
            numbers.insert(step.name.as_str().into(), number);
        }
    }
    if let Some(step) = &raw.on_failure {
        if let Some(description) = name_fault(&step.name) {
            faults.push("workflow.on_failure.name", description);
        } else if let Some(first) = numbers.get(step.name.as_str()) {
            faults.push("workflow.on_failure.name", format!("`{}` is already the name of steps[{first}]", step.name));
        }
        if !step.depends_on.is_empty() {
            faults.push("workflow.on_failure.depends_on", "must be empty: it runs after every other step");
        }
    }
    numbers
}

fn name_fault(name: &str) -> Option<String> {
    let starts_well = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
    let fits =
        name.len() <= STEP_NAME_BYTES_MAX && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if starts_well && fits {
        return None;
    }
    let shown: String = name.chars().take(STEP_NAME_BYTES_MAX + 1).collect();
    Some(format!("`{shown}` must be a letter or `_`, then at most 62 of `a-zA-Z0-9_`"))
}

fn check_dependencies(raw: &RawDefinition, numbers: &BTreeMap<Arc<str>, u32>, faults: &mut Faults) -> Graph {
    let mut graph = Graph::default();
    let total: usize = raw.steps.iter().map(|step| step.depends_on.len()).sum();
    if total > DEPENDENCIES_MAX {
        faults
            .push("workflow.steps", format!("there are {total} dependencies; at most {DEPENDENCIES_MAX} are allowed"));
        return Graph { dependencies: vec![Vec::new(); raw.steps.len()] };
    }
    for (number, step) in (0..).zip(&raw.steps) {
        let mut dependencies = BTreeSet::new();
        for (at, name) in step.depends_on.iter().enumerate() {
            let field = || format!("workflow.steps[{number}].depends_on[{at}]");
            match numbers.get(name.as_str()) {
                Some(dependency) if dependencies.insert(*dependency) => {}
                Some(_) => faults.push(field(), format!("`{name}` is there twice")),
                None if faults.is_full() => {}
                None => faults.push(field(), format!("there is no step `{name}`{}", hint(name, numbers))),
            }
        }
        graph.dependencies.push(dependencies.into_iter().collect());
    }
    graph
}

fn hint(name: &str, numbers: &BTreeMap<Arc<str>, u32>) -> String {
    nearest(name, numbers.keys().map(AsRef::as_ref))
        .map_or_else(String::new, |name| format!("; did you mean `{name}`?"))
}

fn circle_text(raw: &RawDefinition, circle: &[u32]) -> String {
    let names: Vec<_> = circle.iter().chain(&circle[..1]).map(|step| raw.steps[*step as usize].name.as_str()).collect();
    if names.len() <= CIRCLE_NAMES_MAX {
        return format!("steps wait for each other: {}", names.join(" -> "));
    }
    let (head, tail) = (&names[..CIRCLE_NAMES_MAX / 2], &names[names.len() - CIRCLE_NAMES_MAX / 2..]);
    format!("{} steps wait for each other: {} -> ... -> {}", circle.len(), head.join(" -> "), tail.join(" -> "))
}

fn compile_steps(
    raw: &RawDefinition,
    graph: &Graph,
    expressions: &mut Expressions<'_>,
    faults: &mut Faults,
) -> Vec<Step> {
    let mut steps = Vec::with_capacity(raw.steps.len() + 1);
    for ((number, step), dependencies) in (0_u32..).zip(&raw.steps).zip(&graph.dependencies) {
        if faults.is_full() {
            break;
        }
        steps.push(expressions.step(step, &format!("workflow.steps[{number}]"), dependencies.clone(), faults));
    }
    if let Some(step) = &raw.on_failure {
        steps.push(expressions.step(step, "workflow.on_failure", Vec::new(), faults));
    }
    steps
}

/// The expressions of a definition; those with the same text are compiled once.
struct Expressions<'a> {
    numbers: &'a BTreeMap<Arc<str>, u32>,
    known: HashMap<(String, bool), Result<Arc<Program>, String>>,
    count: usize,
    patterns: usize,
}

struct StepNames<'a> {
    numbers: &'a BTreeMap<Arc<str>, u32>,
    has_item: bool,
}

impl Names for StepNames<'_> {
    fn step(&self, name: &str) -> Option<u32> {
        self.numbers.get(name).copied()
    }

    fn has_item(&self) -> bool {
        self.has_item
    }
}

impl Expressions<'_> {
    fn step(&mut self, raw: &RawStep, at: &str, dependencies: Vec<u32>, faults: &mut Faults) -> Step {
        check_task(&raw.task, at, faults);
        let condition = self.optional(&raw.condition, false, &format!("{at}.condition"), faults);
        let for_each = self.optional(&raw.for_each, false, &format!("{at}.for_each"), faults);
        let has_item = !raw.for_each.is_empty();
        let template =
            Template::compile(&raw.task, &mut |text| self.compile(text, has_item), &mut |field, description| {
                faults.push(format!("{at}.task.{field}"), description);
            });
        Step {
            name: raw.name.as_str().into(),
            task: raw.task.clone(),
            dependencies,
            dependents: Vec::new(),
            condition,
            for_each,
            template,
            parallel_max: if raw.parallel_max == 0 { u32::MAX } else { raw.parallel_max },
            failure_mode: raw.failure_mode,
        }
    }

    fn optional(&mut self, text: &str, has_item: bool, field: &str, faults: &mut Faults) -> Option<Arc<Program>> {
        if text.is_empty() {
            return None;
        }
        self.compile(text, has_item).map_err(|description| faults.push(field, description)).ok()
    }

    fn compile(&mut self, text: &str, has_item: bool) -> Result<Arc<Program>, String> {
        self.count += 1;
        if self.count > EXPRESSIONS_MAX {
            return Err(format!("there are more than {EXPRESSIONS_MAX} expressions"));
        }
        if let Some(known) = self.known.get(&(text.to_owned(), has_item)) {
            return known.clone();
        }
        let program = Program::compile(text, &StepNames { numbers: self.numbers, has_item }).map(Arc::new);
        self.patterns += program.as_ref().map_or(0, |program| program.patterns());
        let program = if self.patterns > PATTERNS_MAX {
            Err(format!("there are more than {PATTERNS_MAX} patterns"))
        } else {
            program
        };
        self.known.insert((text.to_owned(), has_item), program.clone());
        program
    }
}

fn check_task(task: &Json, at: &str, faults: &mut Faults) {
    let Value::Object(fields) = &**task else {
        faults.push(format!("{at}.task"), "must be set: it says what to run");
        return;
    };
    for name in TASK_FIELDS_UNWANTED {
        if fields.get(name).is_some_and(|value| *value != Value::Null && *value != Value::String(String::new())) {
            faults.push(format!("{at}.task.{name}"), "must be empty in a step");
        }
    }
}

/// Expressions see only what has ended for sure when they are looked at.
fn check_references(steps: &[Step], graph: &Graph, order: &[u32], faults: &mut Faults) {
    let mut ancestors: Option<Ancestors> = None;
    for (number, step) in (0_u32..).zip(steps) {
        let templates = step.template.programs();
        let named = step.condition.iter().chain(&step.for_each).map(|program| (program, false));
        for (program, is_task) in named.chain(templates.map(|program| (program, true))) {
            for seen in program.steps() {
                if step.dependencies.binary_search(&seen).is_ok() {
                    continue;
                }
                let ancestors = ancestors.get_or_insert_with(|| graph.ancestors(order));
                if ancestors.contains(number, seen) {
                    continue;
                }
                let name = &steps[seen as usize].name;
                let part = match (&step.condition, is_task) {
                    (_, true) => "task",
                    (Some(condition), false) if Arc::ptr_eq(condition, program) => "condition",
                    _ => "for_each",
                };
                let description = format!("refers to step `{name}`, which `{}` does not depend on", step.name);
                faults.push(field(number, part), description);
            }
        }
    }
}
