//! Which workers can run a task.

use super::{Ask, Filter, left};
use crate::types::{LabelRule, Mismatch, Operator, Toleration, WorkKind, WorkerSpec};

/// The worker serves the namespace, the queue, and the kind of work.
pub(super) struct Serves;

impl Filter for Serves {
    fn check(&self, ask: &Ask<'_>, worker: &WorkerSpec) -> Result<(), Mismatch> {
        if !worker.namespaces.is_empty() && !worker.namespaces.contains(&ask.queue.namespace) {
            return Err(Mismatch::Namespace);
        }
        if !worker.queues.is_empty() && !worker.queues.contains(&ask.queue.queue) {
            return Err(Mismatch::Queue);
        }
        let able = match ask.kind {
            WorkKind::Process => worker.processes,
            WorkKind::Handler(name) => worker.handlers.contains(name),
        };
        if able { Ok(()) } else { Err(Mismatch::Kind(ask.kind.clone())) }
    }
}

/// The worker's labels are as every rule wants.
pub(super) struct Labels;

impl Filter for Labels {
    fn check(&self, ask: &Ask<'_>, worker: &WorkerSpec) -> Result<(), Mismatch> {
        let mut rules = ask.placement.iter().flat_map(|placement| &placement.rules);
        match rules.find(|rule| !holds(rule, worker)) {
            Some(broken) => Err(Mismatch::Label(broken.clone())),
            None => Ok(()),
        }
    }
}

fn holds(rule: &LabelRule, worker: &WorkerSpec) -> bool {
    let label = worker.labels.get(&rule.key);
    let among = || label.is_some_and(|label| rule.values.contains(label));
    // What is no whole number is neither above nor below.
    let compared = || -> Option<_> {
        let bound: i64 = rule.values.first()?.parse().ok()?;
        Some(label?.parse::<i64>().ok()?.cmp(&bound))
    };
    match rule.operator {
        Operator::In => among(),
        Operator::NotIn => !among(),
        Operator::Exists => label.is_some(),
        Operator::DoesNotExist => label.is_none(),
        Operator::Gt => compared().is_some_and(|order| order.is_gt()),
        Operator::Lt => compared().is_some_and(|order| order.is_lt()),
    }
}

/// The task tolerates every taint of the worker.
pub(super) struct Taints;

impl Filter for Taints {
    fn check(&self, ask: &Ask<'_>, worker: &WorkerSpec) -> Result<(), Mismatch> {
        let tolerations: &[Toleration] = ask.placement.map_or(&[], |placement| &placement.tolerations);
        let mut taints = worker.taints.iter();
        let unbearable = taints.find(|taint| {
            let tolerated = |toleration: &Toleration| {
                toleration.key == taint.key && toleration.value.as_ref().is_none_or(|value| *value == taint.value)
            };
            !tolerations.iter().any(tolerated)
        });
        match unbearable {
            Some(taint) => Err(Mismatch::Taint(taint.clone())),
            None => Ok(()),
        }
    }
}

/// The worker as a whole has as much as the task asks for.
pub(super) struct Capacity;

impl Filter for Capacity {
    fn check(&self, ask: &Ask<'_>, worker: &WorkerSpec) -> Result<(), Mismatch> {
        let request = ask.placement.map(|placement| placement.request).unwrap_or_default();
        left(worker.capacity, request).map(drop).ok_or(Mismatch::Resources)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::{Ask, check};
    use crate::types::{
        LabelRule, Mismatch, Operator, Placement, QueueKey, Resources, Taint, Toleration, WorkKind, WorkerSpec,
    };

    fn queue(namespace: &str, queue: &str) -> QueueKey {
        QueueKey { namespace: namespace.into(), queue: queue.into() }
    }

    #[test]
    fn a_worker_serves_what_its_spec_says() {
        let set = |names: &[&str]| -> BTreeSet<_> { names.iter().map(|name| (*name).into()).collect() };
        let any = WorkerSpec { processes: true, handlers: set(&["h"]), ..WorkerSpec::default() };
        let handler = || WorkKind::Handler("h".into());
        let other = || WorkKind::Handler("other".into());
        let in_a = WorkerSpec { namespaces: set(&["a"]), ..any.clone() };
        let in_q = WorkerSpec { queues: set(&["q"]), ..any.clone() };
        let cases = [
            (any.clone(), queue("a", "q"), WorkKind::Process, Ok(())),
            (any.clone(), queue("a", "q"), handler(), Ok(())),
            (any.clone(), queue("a", "q"), other(), Err(Mismatch::Kind(other()))),
            (
                WorkerSpec { processes: false, ..any },
                queue("a", "q"),
                WorkKind::Process,
                Err(Mismatch::Kind(WorkKind::Process)),
            ),
            (in_a.clone(), queue("a", "q"), handler(), Ok(())),
            (in_a.clone(), queue("b", "q"), handler(), Err(Mismatch::Namespace)),
            (in_q.clone(), queue("b", "q"), handler(), Ok(())),
            (in_q, queue("b", "r"), handler(), Err(Mismatch::Queue)),
            (WorkerSpec { queues: set(&["q"]), ..in_a }, queue("a", "r"), handler(), Err(Mismatch::Queue)),
        ];
        for (spec, queue, kind, expected) in cases {
            let ask = Ask { queue: &queue, kind: &kind, placement: None };
            assert_eq!(check(&ask, &spec), expected, "{spec:?} {queue:?} {kind:?}");
        }
    }

    /// What a worker with the labels `zone=eu` and `cores=8` fails on.
    fn with(placement: &Placement, spec: WorkerSpec) -> Result<(), Mismatch> {
        let labels = [("zone".into(), "eu".into()), ("cores".into(), "8".into())].into();
        let spec = WorkerSpec { processes: true, labels, ..spec };
        let (queue, kind) = (queue("a", "q"), WorkKind::Process);
        check(&Ask { queue: &queue, kind: &kind, placement: Some(placement) }, &spec)
    }

    #[test]
    fn every_label_rule_must_hold() {
        let cases: [(_, _, &[&str], _); 15] = [
            ("zone", Operator::In, &["us", "eu"], true),
            ("zone", Operator::In, &["us"], false),
            ("disk", Operator::In, &["ssd"], false),
            ("zone", Operator::NotIn, &["eu"], false),
            ("zone", Operator::NotIn, &["us"], true),
            ("disk", Operator::NotIn, &["ssd"], true),
            ("zone", Operator::Exists, &[], true),
            ("disk", Operator::Exists, &[], false),
            ("zone", Operator::DoesNotExist, &[], false),
            ("disk", Operator::DoesNotExist, &[], true),
            ("cores", Operator::Gt, &["7"], true),
            ("cores", Operator::Gt, &["8"], false),
            ("cores", Operator::Lt, &["10"], true),
            ("zone", Operator::Lt, &["10"], false),
            ("cores", Operator::Gt, &[], false),
        ];
        for (key, operator, values, expected) in cases {
            let values = values.iter().map(|value| (*value).into()).collect();
            let rule = LabelRule { key: key.into(), operator, values };
            let expected = if expected { Ok(()) } else { Err(Mismatch::Label(rule.clone())) };
            let always = LabelRule { key: "zone".into(), operator: Operator::Exists, values: Vec::new() };
            let placement = Placement { rules: vec![always, rule], ..Placement::default() };
            assert_eq!(with(&placement, WorkerSpec::default()), expected);
        }
    }

    #[test]
    fn a_tainted_worker_takes_only_what_tolerates_it() {
        let taint = |key: &str, value: &str| Taint { key: key.into(), value: value.into() };
        let tolerates = |key: &str, value: Option<&str>| Toleration { key: key.into(), value: value.map(Into::into) };
        let tainted = || WorkerSpec { taints: [taint("gpu", "a"), taint("gpu", "b")].into(), ..WorkerSpec::default() };
        let cases = [
            (vec![], Err(Mismatch::Taint(taint("gpu", "a")))),
            (vec![tolerates("gpu", Some("a"))], Err(Mismatch::Taint(taint("gpu", "b")))),
            (vec![tolerates("gpu", Some("b")), tolerates("gpu", Some("a"))], Ok(())),
            (vec![tolerates("gpu", None)], Ok(())),
            (vec![tolerates("other", None)], Err(Mismatch::Taint(taint("gpu", "a")))),
        ];
        for (tolerations, expected) in cases {
            let placement = Placement { tolerations, ..Placement::default() };
            assert_eq!(with(&placement, tainted()), expected, "{placement:?}");
            assert_eq!(with(&placement, WorkerSpec::default()), Ok(()));
        }
    }

    #[test]
    fn a_worker_that_is_too_small_as_a_whole_does_not_match() {
        let of = |cpu_millis, memory_bytes| Resources { cpu_millis, memory_bytes };
        for (request, fits) in [(of(0, 0), true), (of(1_000, 50), true), (of(1_001, 0), false), (of(0, 51), false)] {
            let placement = Placement { request, ..Placement::default() };
            let worker = WorkerSpec { capacity: of(1_000, 50), ..WorkerSpec::default() };
            assert_eq!(with(&placement, worker), if fits { Ok(()) } else { Err(Mismatch::Resources) });
        }
    }
}
