//! What a worker says of itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use mcp_engine::{Resources, Taint, WorkerSpec};
use mcp_proto::{Error, worker::v1::WorkerHello};

use super::inbound::running_attempt;
use crate::shell::Hello;

/// Names that a hello may list in each of its fields.
const NAMES_MAX: usize = 10_000;
/// Longest name in a hello.
const NAME_BYTES_MAX: usize = 200;
/// Most labels.
const LABELS_MAX: usize = 64;
/// Most taints.
const TAINTS_MAX: usize = 16;
/// Longest name of a label or a taint.
const KEY_BYTES_MAX: usize = 63;
/// Longest value of a label or a taint.
const VALUE_BYTES_MAX: usize = 255;

/// Checks a hello.
///
/// # Errors
/// `INVALID_ARGUMENT` naming the field.
pub(super) fn hello(hello: WorkerHello, slots_max: u32) -> Result<Hello, Error> {
    if uuid::Uuid::try_parse(&hello.worker_id).is_err() {
        return Err(Error::invalid("hello.worker_id", "must be a UUID"));
    }
    if hello.credits > slots_max {
        let fault = format!("is {}; at most {slots_max} are allowed", hello.credits);
        return Err(Error::invalid("hello.credits", fault));
    }
    let slots_max = usize::try_from(slots_max).unwrap_or(usize::MAX);
    check_len("hello.running", hello.running.len(), slots_max)?;
    let running = hello.running.iter().enumerate();
    let running =
        running.map(|(index, attempt)| running_attempt(Some(attempt), format_args!("hello.running[{index}]")));
    Ok(Hello {
        worker_id: hello.worker_id.as_str().into(),
        spec: WorkerSpec {
            namespaces: names(&hello.namespaces, "hello.namespaces")?,
            queues: names(&hello.queues, "hello.queues")?,
            processes: hello.runs_processes,
            handlers: names(&hello.handlers, "hello.handlers")?,
            labels: labels(&hello.labels)?,
            taints: taints(&hello.taints)?,
            capacity: Resources { cpu_millis: hello.cpu_millis.into(), memory_bytes: hello.memory_bytes },
        },
        slots: hello.credits,
        running: running.collect::<Result<_, _>>()?,
    })
}

fn names(names: &[String], field: &str) -> Result<BTreeSet<Arc<str>>, Error> {
    check_len(field, names.len(), NAMES_MAX)?;
    if let Some(index) = names.iter().position(|name| name.is_empty() || name.len() > NAME_BYTES_MAX) {
        return Err(Error::invalid(format!("{field}[{index}]"), format!("must be 1 to {NAME_BYTES_MAX} bytes long")));
    }
    Ok(names.iter().map(|name| name.as_str().into()).collect())
}

fn labels(wire: &BTreeMap<String, String>) -> Result<BTreeMap<Arc<str>, Arc<str>>, Error> {
    check_len("hello.labels", wire.len(), LABELS_MAX)?;
    for (key, value) in wire {
        check_pair(key, value).map_err(|fault| Error::invalid("hello.labels", format!("entry `{key}`: {fault}")))?;
    }
    Ok(wire.iter().map(|(key, value)| (key.as_str().into(), value.as_str().into())).collect())
}

fn taints(wire: &[mcp_proto::worker::v1::Taint]) -> Result<BTreeSet<Taint>, Error> {
    check_len("hello.taints", wire.len(), TAINTS_MAX)?;
    for (index, taint) in wire.iter().enumerate() {
        check_pair(&taint.key, &taint.value)
            .map_err(|fault| Error::invalid(format!("hello.taints[{index}]"), fault))?;
    }
    Ok(wire.iter().map(|taint| Taint { key: taint.key.as_str().into(), value: taint.value.as_str().into() }).collect())
}

fn check_pair(key: &str, value: &str) -> Result<(), String> {
    if !(1..=KEY_BYTES_MAX).contains(&key.len()) {
        return Err(format!("the key must be 1 to {KEY_BYTES_MAX} bytes long"));
    }
    if value.len() > VALUE_BYTES_MAX {
        return Err(format!("the value is {} bytes long; at most {VALUE_BYTES_MAX} are allowed", value.len()));
    }
    Ok(())
}

fn check_len(field: &str, len: usize, len_max: usize) -> Result<(), Error> {
    let fault = || format!("has {len} elements; at most {len_max} are allowed");
    if len <= len_max { Ok(()) } else { Err(Error::invalid(field, fault())) }
}
