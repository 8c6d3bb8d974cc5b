//! Which methods may be called more than once for one request of a caller.

use prost_reflect::{MethodDescriptor, Value};

/// The option by which a method says it itself. Source: google/protobuf/descriptor.proto.
const IDEMPOTENCY_LEVEL: &str = "idempotency_level";

/// Its value for a method of which nothing is known.
const IDEMPOTENCY_UNKNOWN: i32 = 0;

/// Name of the option that holds a method's HTTP rule.
const HTTP: &str = "google.api.http";

/// The field of the rule that makes it a `GET`.
const GET: &str = "get";

/// True when a method is declared to have no effects, or the same when repeated, or is read by HTTP `GET`.
pub(crate) fn is_safe(method: &MethodDescriptor) -> bool {
    let options = method.options();
    let level = options.get_field_by_name(IDEMPOTENCY_LEVEL);
    let level = level.and_then(|level| level.as_enum_number()).unwrap_or(IDEMPOTENCY_UNKNOWN);
    level != IDEMPOTENCY_UNKNOWN || is_get(method)
}

fn is_get(method: &MethodDescriptor) -> bool {
    let Some(http) = method.parent_pool().get_extension_by_name(HTTP) else {
        return false;
    };
    let options = method.options();
    if !options.has_extension(&http) {
        return false;
    }
    match options.get_extension(&http).as_ref() {
        Value::Message(rule) => rule.has_field_by_name(GET),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use prost_reflect::DescriptorPool;

    use super::*;

    #[test]
    fn what_is_read_by_get_is_safe_and_what_writes_is_not() {
        let pool = DescriptorPool::decode(mcp_proto::FILE_DESCRIPTOR_SET).unwrap();
        let service = pool.get_service_by_name("mcp.scheduler.v1.TaskService").unwrap();
        let safe = |name: &str| is_safe(&service.methods().find(|method| method.name() == name).unwrap());
        for (name, expected) in
            [("GetTask", true), ("ListTasks", true), ("WatchTasks", true), ("SubmitTask", false), ("RetryTask", false)]
        {
            assert_eq!(safe(name), expected, "{name}");
        }
    }
}
