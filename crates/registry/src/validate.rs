//! What a request may say. Every wrong field is named, not only the first.

use std::{collections::BTreeMap, time::Duration};

use mcp_coord::{InstanceRecord, LeaseId};
use mcp_proto::registry::v1::{HeartbeatRequest, Instance, RegisterRequest};

use crate::error::Error;

/// Longest name of a service, an instance, a version or a zone, in bytes.
const NAME_BYTES_MAX: usize = 63;
/// Longest address and longest name of a gRPC service, in bytes.
const TEXT_BYTES_MAX: usize = 255;
/// Largest weight.
const WEIGHT_MAX: u32 = 1_000;
/// Most gRPC services of an instance.
const GRPC_SERVICES_MAX: usize = 100;
/// Most labels of an instance, and how long their keys and values may be, in bytes.
const LABELS_MAX: usize = 32;
const LABEL_KEY_BYTES_MAX: usize = 63;
const LABEL_VALUE_BYTES_MAX: usize = 255;
/// How long an instance stays without a heartbeat, in seconds; unset means [`TTL_DEFAULT`].
const TTL_SECONDS: std::ops::RangeInclusive<u64> = 2..=300;
const TTL_DEFAULT: Duration = Duration::from_secs(10);

/// Wrong fields, in the order in which they were found.
#[derive(Debug, Default)]
struct Violations(Option<mcp_proto::Error>);

impl Violations {
    fn add(&mut self, field: impl Into<String>, description: impl Into<String>) {
        self.0 = Some(match self.0.take() {
            None => mcp_proto::Error::invalid(field, description),
            Some(error) => error.with_violation(field, description),
        });
    }

    fn check(&mut self, right: bool, field: &str, expected: &str) {
        if !right {
            self.add(field, expected);
        }
    }

    fn into_result(self) -> Result<(), Error> {
        self.0.map_or(Ok(()), |error| Err(Error::Invalid(error)))
    }
}

/// What to register: the record without its time, and for how long.
///
/// # Errors
/// [`Error::Invalid`] with every wrong field.
pub(crate) fn register(request: RegisterRequest) -> Result<(InstanceRecord, Duration), Error> {
    let mut wrong = Violations::default();
    let ttl = ttl(request.ttl, &mut wrong);
    let instance = request.instance.unwrap_or_default();
    check_service(&mut wrong, "instance.service", &instance.service);
    check_instance_id(&mut wrong, "instance.instance_id", &instance.instance_id);
    wrong.check(is_address(&instance.address), "instance.address", "must be `host:port` of at most 255 bytes");
    for (field, text) in [("instance.version", &instance.version), ("instance.zone", &instance.zone)] {
        wrong.check(text.len() <= NAME_BYTES_MAX, field, "must have at most 63 bytes");
    }
    wrong.check(instance.weight <= WEIGHT_MAX, "instance.weight", "must be at most 1000");
    check_grpc_services(&mut wrong, &instance.grpc_services);
    check_labels(&mut wrong, &instance.labels);
    wrong.into_result()?;
    Ok((record(instance), ttl))
}

/// The lease that a heartbeat names.
///
/// # Errors
/// [`Error::Invalid`] with every wrong field.
pub(crate) fn heartbeat(request: &HeartbeatRequest) -> Result<LeaseId, Error> {
    let mut wrong = Violations::default();
    check_service(&mut wrong, "service", &request.service);
    check_instance_id(&mut wrong, "instance_id", &request.instance_id);
    let lease = request.lease_id.parse();
    wrong.check(lease.is_ok(), "lease_id", "must be the lease that Register returned");
    wrong.into_result()?;
    Ok(lease?)
}

/// The name of one instance.
///
/// # Errors
/// [`Error::Invalid`] with every wrong field.
pub(crate) fn name(service: &str, instance_id: &str) -> Result<(), Error> {
    let mut wrong = Violations::default();
    check_service(&mut wrong, "service", service);
    check_instance_id(&mut wrong, "instance_id", instance_id);
    wrong.into_result()
}

/// Filters of a query; empty ones let everything through.
///
/// # Errors
/// [`Error::Invalid`] with every wrong field.
pub(crate) fn filters(service: &str, grpc_service: &str) -> Result<(), Error> {
    let mut wrong = Violations::default();
    if !service.is_empty() {
        check_service(&mut wrong, "service", service);
    }
    if !grpc_service.is_empty() {
        wrong.check(is_grpc_service(grpc_service), "grpc_service", GRPC_SERVICE_EXPECTED);
    }
    wrong.into_result()
}

const GRPC_SERVICE_EXPECTED: &str = "must be the full name of a gRPC service, such as `mcp.scheduler.v1.TaskService`";

fn ttl(ttl: Option<prost_types::Duration>, wrong: &mut Violations) -> Duration {
    let Some(ttl) = ttl else { return TTL_DEFAULT };
    let shortest = Duration::from_secs(*TTL_SECONDS.start());
    let longest = Duration::from_secs(*TTL_SECONDS.end());
    match Duration::try_from(ttl) {
        // Leases last whole seconds.
        Ok(ttl) if (shortest..=longest).contains(&ttl) => {
            Duration::from_secs(ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0))
        }
        _ => {
            wrong.add("ttl", "must be between 2 s and 5 min");
            TTL_DEFAULT
        }
    }
}

fn check_service(wrong: &mut Violations, field: &str, text: &str) {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'-');
    wrong.check(is_name(text, allowed), field, "must be 1 to 63 characters of `a-z0-9.-`");
}

fn check_instance_id(wrong: &mut Violations, field: &str, text: &str) {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    wrong.check(is_name(text, allowed), field, "must be 1 to 63 characters of `a-zA-Z0-9._-`");
}

fn is_name(text: &str, allowed: impl Fn(u8) -> bool) -> bool {
    (1..=NAME_BYTES_MAX).contains(&text.len()) && text.bytes().all(allowed)
}

fn is_address(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let bracketed = host.starts_with('[') && host.ends_with(']');
    let host_fits = !host.is_empty()
        && (bracketed || !host.contains(':'))
        && host.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'/' | b'@' | b'?' | b'#'));
    let port_fits = port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0);
    text.len() <= TEXT_BYTES_MAX && host_fits && port_fits
}

fn is_grpc_service(text: &str) -> bool {
    let is_part = |part: &str| {
        part.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    text.len() <= TEXT_BYTES_MAX && text.split('.').all(is_part)
}

fn check_grpc_services(wrong: &mut Violations, names: &[String]) {
    wrong.check(names.len() <= GRPC_SERVICES_MAX, "instance.grpc_services", "must name at most 100 services");
    let first_wrong = names.iter().take(GRPC_SERVICES_MAX).position(|name| !is_grpc_service(name));
    if let Some(index) = first_wrong {
        wrong.add(format!("instance.grpc_services[{index}]"), GRPC_SERVICE_EXPECTED);
    }
}

fn check_labels(wrong: &mut Violations, labels: &BTreeMap<String, String>) {
    wrong.check(labels.len() <= LABELS_MAX, "instance.labels", "must have at most 32 entries");
    let keys_fit = labels.keys().all(|key| (1..=LABEL_KEY_BYTES_MAX).contains(&key.len()));
    wrong.check(keys_fit, "instance.labels", "must have keys of 1 to 63 bytes");
    let values_fit = labels.values().all(|value| value.len() <= LABEL_VALUE_BYTES_MAX);
    wrong.check(values_fit, "instance.labels", "must have values of at most 255 bytes");
}

fn record(instance: Instance) -> InstanceRecord {
    InstanceRecord {
        service: instance.service,
        instance_id: instance.instance_id,
        address: instance.address,
        version: instance.version,
        zone: instance.zone,
        weight: if instance.weight == 0 { InstanceRecord::default_weight() } else { instance.weight },
        grpc_services: instance.grpc_services,
        labels: instance.labels,
        registered_unix_ms: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_a_port() {
        let long = format!("{}:1", "h".repeat(TEXT_BYTES_MAX));
        for (text, right) in [
            ("127.0.0.1:80", true),
            ("worker-1.example:65535", true),
            ("[::1]:7101", true),
            ("::1:7101", false),
            ("host", false),
            ("host:", false),
            (":80", false),
            ("host:0", false),
            ("host:+80", false),
            ("host:65536", false),
            ("http://host:80", false),
            ("ho st:80", false),
            (&long, false),
            (&long[1..], false),
            (&long[2..], true),
        ] {
            assert_eq!(is_address(text), right, "{text}");
        }
    }

    #[test]
    fn a_grpc_service_is_a_dotted_name() {
        for (text, right) in
            [("mcp.scheduler.v1.TaskService", true), ("Greeter", true), ("", false), ("a..b", false), ("/a.B/C", false)]
        {
            assert_eq!(is_grpc_service(text), right, "{text}");
        }
    }

    #[test]
    fn a_ttl_is_rounded_up_to_whole_seconds() {
        for (seconds, nanos, expected) in [
            (2, 0, Some(2)),
            (2, 1, Some(3)),
            (300, 0, Some(300)),
            (1, 999_999_999, None),
            (300, 1, None),
            (-5, 0, None),
        ] {
            let mut wrong = Violations::default();
            let found = ttl(Some(prost_types::Duration { seconds, nanos }), &mut wrong);
            let found = wrong.into_result().is_ok().then_some(found.as_secs());
            assert_eq!(found, expected, "{seconds} s {nanos} ns");
        }
    }
}
