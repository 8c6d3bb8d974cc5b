//! One task spec: every bound of `task.proto`, and the defaults.

use std::{collections::BTreeMap, fmt, time::Duration};

use mcp_proto::scheduler::v1::{Delivery, ProcessWork, RetryPolicy, TaskSpec, task_spec::Work};

use super::{
    fields::{Violations, duration, length_fault, namespace_fault, queue_fault},
    placement::{self, LABEL_KEY_BYTES_MAX, LABEL_VALUE_BYTES_MAX},
};

/// Namespace and queue when none is named.
pub(crate) const NAME_DEFAULT: &str = "default";
/// Longest name for people.
const TASK_NAME_BYTES_MAX: usize = 200;
/// Longest handler name.
const HANDLER_BYTES_MAX: usize = 200;
/// Longest idempotency key, unique key, and key.
pub(super) const KEY_BYTES_MAX: usize = 200;
/// Program and arguments.
const ARGV_LEN_MAX: usize = 1_024;
/// Lowest and highest priority.
const PRIORITY: std::ops::RangeInclusive<i32> = -100..=100;
/// Attempts when none are named.
const ATTEMPTS_DEFAULT: u32 = 3;
/// Most attempts.
const ATTEMPTS_MAX: u32 = 1_000;
/// First backoff when none is named.
const INITIAL_BACKOFF_DEFAULT: Duration = Duration::from_secs(1);
/// Longest backoff when none is named.
const MAX_BACKOFF_DEFAULT: Duration = Duration::from_secs(60);
/// Longest of the longest backoffs.
const MAX_BACKOFF_MAX: Duration = Duration::from_secs(24 * 3600);
/// Growth when none is named.
const MULTIPLIER_DEFAULT: f64 = 2.0;
/// Least and most growth.
const MULTIPLIER: std::ops::RangeInclusive<f64> = 1.0..=10.0;
/// Random part when none is named.
const JITTER_DEFAULT: f64 = 0.2;
/// Run timeout when none is named.
const RUN_TIMEOUT_DEFAULT: Duration = Duration::from_secs(3600);
/// Longest run timeout.
const RUN_TIMEOUT_MAX: Duration = Duration::from_secs(7 * 24 * 3600);
/// Longest delay.
const DELAY_MAX: Duration = Duration::from_secs(366 * 24 * 3600);
/// Most labels.
const LABELS_LEN_MAX: usize = 32;
/// Shortest and longest time that an idempotency key is remembered.
pub(super) const IDEMPOTENCY_WINDOW: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(7 * 24 * 3600);
/// Errors after which a task is not tried again.
const NEVER_RETRY_MAX: usize = 32;
/// Longest name of such an error.
pub(super) const ERROR_NAME_BYTES_MAX: usize = 100;

/// Where a spec lies in its request.
#[derive(Debug, Clone, Copy)]
pub(super) enum Root {
    /// `task`
    Single,
    /// `tasks[n]`
    InBatch(usize),
    /// `schedule.task`
    Scheduled,
    /// `workflow.steps[n].task`
    Step(usize),
    /// `workflow.on_failure.task`
    OnFailure,
}

impl Root {
    /// The path of a field of the spec.
    pub(super) fn field(self, name: impl fmt::Display) -> String {
        format!("{self}.{name}")
    }
}

impl fmt::Display for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Single => f.write_str("task"),
            Self::InBatch(index) => write!(f, "tasks[{index}]"),
            Self::Scheduled => f.write_str("schedule.task"),
            Self::Step(index) => write!(f, "workflow.steps[{index}].task"),
            Self::OnFailure => f.write_str("workflow.on_failure.task"),
        }
    }
}

/// Checks a spec and fills in its defaults. What is wrong is noted, and left as it is.
pub(super) fn normalise(spec: &mut TaskSpec, root: Root, violations: &mut Violations) {
    let mut note = |name: &str, fault: Option<String>| {
        if let Some(fault) = fault {
            violations.add(root.field(name), fault);
        }
    };
    fill(&mut spec.namespace, NAME_DEFAULT);
    fill(&mut spec.queue, NAME_DEFAULT);
    note("namespace", namespace_fault(&spec.namespace));
    note("queue", queue_fault(&spec.queue));
    note("name", length_fault(&spec.name, TASK_NAME_BYTES_MAX));
    note("idempotency_key", length_fault(&spec.idempotency_key, KEY_BYTES_MAX));
    note("key", length_fault(&spec.key, KEY_BYTES_MAX));
    note("unique_key", length_fault(&spec.unique_key, KEY_BYTES_MAX));
    note("idempotency_window", idempotency_window_fault(spec));
    if Delivery::try_from(spec.delivery).is_err() {
        note("delivery", Some(format!("{} is not a delivery", spec.delivery)));
    }
    if !PRIORITY.contains(&spec.priority) {
        note("priority", Some(format!("is {}; it must be -100 to 100", spec.priority)));
    }
    note("run_timeout", run_timeout_fault(spec));
    note("queue_timeout", queue_timeout_fault(spec));
    note("delay", delay_fault(spec));
    note("labels", labels_fault(spec));
    if let Some(wanted) = &spec.placement {
        placement::check(wanted, root, violations);
    }
    normalise_work(spec, root, violations);
    normalise_retry(spec.retry.get_or_insert_default(), root, violations);
}

fn normalise_work(spec: &mut TaskSpec, root: Root, violations: &mut Violations) {
    match &spec.work {
        None => violations.add(root.field("work"), "is missing: set `process` or `handler`"),
        Some(Work::Handler(work)) => {
            if !(1..=HANDLER_BYTES_MAX).contains(&work.handler.len()) {
                let fault = format!("must be 1 to {HANDLER_BYTES_MAX} bytes long");
                violations.add(root.field("handler.handler"), fault);
            }
            fill(&mut spec.name, &work.handler);
        }
        Some(Work::Process(work)) => {
            check_process(work, root, violations);
            let program = work.argv.first().map_or("", |program| program.rsplit('/').next().unwrap_or(program));
            let end = program.floor_char_boundary(TASK_NAME_BYTES_MAX);
            fill(&mut spec.name, &program[..end]);
        }
    }
}

fn check_process(work: &ProcessWork, root: Root, violations: &mut Violations) {
    if work.argv.is_empty() {
        violations.add(root.field("process.argv"), "must have at least one element, the program");
    } else if work.argv.len() > ARGV_LEN_MAX {
        let fault = format!("has {} elements; at most {ARGV_LEN_MAX} are allowed", work.argv.len());
        violations.add(root.field("process.argv"), fault);
    } else if work.argv[0].is_empty() {
        violations.add(root.field("process.argv[0]"), "must name a program");
    }
    if let Some(index) = work.argv.iter().position(|argument| argument.contains('\0')) {
        violations.add(root.field(format_args!("process.argv[{index}]")), "must not contain a NUL byte");
    }
    let wrong = |key: &str, value: &str| key.is_empty() || key.contains(['=', '\0']) || value.contains('\0');
    if let Some((key, _)) = work.env.iter().find(|(key, value)| wrong(key, value)) {
        let fault = format!("entry `{key}`: a name must not be empty or contain `=`, and neither may contain NUL");
        violations.add(root.field("process.env"), fault);
    }
    if work.cwd.contains('\0') {
        violations.add(root.field("process.cwd"), "must not contain a NUL byte");
    }
}

fn normalise_retry(retry: &mut RetryPolicy, root: Root, violations: &mut Violations) {
    if retry.max_attempts == 0 {
        retry.max_attempts = ATTEMPTS_DEFAULT;
    } else if retry.max_attempts > ATTEMPTS_MAX {
        let fault = format!("is {}; it must be 1 to {ATTEMPTS_MAX}, or 0 for the default", retry.max_attempts);
        violations.add(root.field("retry.max_attempts"), fault);
    }
    let mut backoff =
        |name: &str, wire: Option<prost_types::Duration>, default: Duration, max: Duration, bound: &str| match wire
            .map(duration)
        {
            None => default.min(max),
            Some(Ok(value)) if value <= max => value,
            Some(Ok(_)) => {
                violations.add(root.field(name), format!("must be at most {bound}"));
                max
            }
            Some(Err(fault)) => {
                violations.add(root.field(name), fault);
                max
            }
        };
    let longest = backoff("retry.max_backoff", retry.max_backoff, MAX_BACKOFF_DEFAULT, MAX_BACKOFF_MAX, "24 h");
    let initial =
        backoff("retry.initial_backoff", retry.initial_backoff, INITIAL_BACKOFF_DEFAULT, longest, "`max_backoff`");
    retry.max_backoff = wire(longest);
    retry.initial_backoff = wire(initial);
    if retry.multiplier == 0.0 {
        retry.multiplier = MULTIPLIER_DEFAULT;
    } else if !MULTIPLIER.contains(&retry.multiplier) {
        let fault = format!("is {}; it must be 1 to 10, or 0 for the default", retry.multiplier);
        violations.add(root.field("retry.multiplier"), fault);
    }
    if retry.never_retry.len() > NEVER_RETRY_MAX {
        let fault = format!("has {} elements; at most {NEVER_RETRY_MAX} are allowed", retry.never_retry.len());
        violations.add(root.field("retry.never_retry"), fault);
    } else if let Some(index) =
        retry.never_retry.iter().position(|name| !(1..=ERROR_NAME_BYTES_MAX).contains(&name.len()))
    {
        let fault = format!("must be 1 to {ERROR_NAME_BYTES_MAX} bytes long");
        violations.add(root.field(format_args!("retry.never_retry[{index}]")), fault);
    }
    let jitter = *retry.jitter.get_or_insert(JITTER_DEFAULT);
    if !(0.0..=1.0).contains(&jitter) {
        violations.add(root.field("retry.jitter"), format!("is {jitter}; it must be 0 to 1"));
    }
}

fn run_timeout_fault(spec: &mut TaskSpec) -> Option<String> {
    let timeout = *spec.run_timeout.get_or_insert(wire(RUN_TIMEOUT_DEFAULT)?);
    match duration(timeout) {
        Ok(timeout) if timeout.as_millis() == 0 => Some("must be at least 1 ms".to_owned()),
        Ok(timeout) => (timeout > RUN_TIMEOUT_MAX).then(|| "must be at most 7 days".to_owned()),
        Err(fault) => Some(fault),
    }
}

fn queue_timeout_fault(spec: &TaskSpec) -> Option<String> {
    match duration(spec.queue_timeout?) {
        Ok(timeout) => (timeout.as_millis() == 0).then(|| "must be at least 1 ms".to_owned()),
        Err(fault) => Some(fault),
    }
}

fn idempotency_window_fault(spec: &TaskSpec) -> Option<String> {
    match duration(spec.idempotency_window?) {
        Ok(window) => (!IDEMPOTENCY_WINDOW.contains(&window)).then(|| "must be 1 s to 7 days".to_owned()),
        Err(fault) => Some(fault),
    }
}

fn delay_fault(spec: &TaskSpec) -> Option<String> {
    match duration(spec.delay?) {
        Ok(delay) => (delay > DELAY_MAX).then(|| "must be at most 366 days".to_owned()),
        Err(fault) => Some(fault),
    }
}

fn labels_fault(spec: &TaskSpec) -> Option<String> {
    fault_of_labels(&spec.labels)
}

/// Why labels are wrong, if so.
pub(super) fn fault_of_labels(labels: &BTreeMap<String, String>) -> Option<String> {
    if labels.len() > LABELS_LEN_MAX {
        return Some(format!("has {} entries; at most {LABELS_LEN_MAX} are allowed", labels.len()));
    }
    labels.iter().find_map(|(key, value)| {
        if !(1..=LABEL_KEY_BYTES_MAX).contains(&key.len()) {
            return Some(format!("key `{key}` must be 1 to {LABEL_KEY_BYTES_MAX} bytes long"));
        }
        let fault = length_fault(value, LABEL_VALUE_BYTES_MAX)?;
        Some(format!("value of `{key}` {fault}"))
    })
}

fn fill(text: &mut String, default: &str) {
    if text.is_empty() {
        default.clone_into(text);
    }
}

/// The wire form of a duration that is in range.
fn wire(duration: Duration) -> Option<prost_types::Duration> {
    duration.try_into().ok()
}
