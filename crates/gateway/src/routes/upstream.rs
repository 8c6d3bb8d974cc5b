//! How the instances of a route's services are called: its section `upstream`.

use std::sync::Arc;

use mcp_client::value::from_value;
use prost_types::{Struct, Value, value::Kind};

use super::violations::Violations;
use crate::upstream::{Priority, policy::Policy};

/// Path of the section.
const AT: &str = "settings.upstream";
/// The one field of the section that is about calls and not about instances.
const PRIORITY: &str = "priority";

/// What a route says about its calls.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Calls {
    /// How instances are chosen, and what is done when they fail; `None`: as the gateway's settings say.
    pub(crate) policy: Option<Arc<Policy>>,
    /// Who waits when not all can be served.
    pub(crate) priority: Priority,
}

/// Compiles the section. What it does not name has the default of `upstream::Policy`.
pub(super) fn compile(section: Option<&Struct>, wrong: &mut Violations) -> Calls {
    let Some(section) = section else {
        return Calls::default();
    };
    let json = from_value(Value { kind: Some(Kind::StructValue(section.clone())) });
    let mut fields = json.as_object().cloned().unwrap_or_default();
    let priority = match fields.remove(PRIORITY) {
        None => Priority::default(),
        Some(value) => serde_json::from_value(value).unwrap_or_else(|_| {
            wrong.add(format!("{AT}.{PRIORITY}"), "must be `low`, `normal` or `high`");
            Priority::default()
        }),
    };
    if fields.is_empty() {
        return Calls { policy: None, priority };
    }
    let policy: Result<Policy, _> = serde_path_to_error::deserialize(serde_json::Value::Object(fields));
    match policy {
        Ok(policy) => {
            for fault in policy.faults() {
                wrong.add(format!("{AT}.{}", fault.field), fault.description);
            }
            Calls { policy: Some(Arc::new(policy)), priority }
        }
        Err(error) => {
            let path = error.path().to_string();
            let field = if path == "." { AT.to_owned() } else { format!("{AT}.{path}") };
            wrong.add(field, format!("cannot be read: {}", error.inner()));
            Calls::default()
        }
    }
}
