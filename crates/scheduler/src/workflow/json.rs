//! Messages as JSON, and back, for the rules of workflows.

use std::sync::LazyLock;

use mcp_client::value::{from_value, is_too_deep, to_value};
use mcp_flow::Json;
use mcp_proto::{
    FILE_DESCRIPTOR_SET,
    common::v1::Error as WireError,
    scheduler::v1::{TaskSpec, task_spec::Work},
};
use prost::Message;
use prost_reflect::{DescriptorPool, DeserializeOptions, DynamicMessage, MessageDescriptor, SerializeOptions};
use serde_json::Value;

/// The contracts, read once.
static POOL: LazyLock<DescriptorPool> =
    LazyLock::new(|| DescriptorPool::decode(FILE_DESCRIPTOR_SET).expect("the build made the descriptor set"));
static TASK: LazyLock<MessageDescriptor> = LazyLock::new(|| descriptor("mcp.scheduler.v1.TaskSpec"));
static ERROR: LazyLock<MessageDescriptor> = LazyLock::new(|| descriptor("mcp.common.v1.Error"));

fn descriptor(name: &str) -> MessageDescriptor {
    POOL.get_message_by_name(name).expect("it is part of the contracts")
}

/// A task as proto3 JSON.
///
/// # Errors
/// A value in it is nested too deep, or is none.
pub(crate) fn from_task(mut spec: TaskSpec) -> Result<Json, String> {
    // The input is the one part that is JSON anyway.
    let input = match &mut spec.work {
        Some(Work::Handler(work)) => work.input.take(),
        _ => None,
    };
    let mut task = written(&TASK, &spec)?;
    if let Some(input) = input {
        let input = checked_value(input)?;
        if let Some(Value::Object(handler)) = task.get_mut("handler") {
            handler.insert("input".to_owned(), input);
        }
    }
    Ok(task.into())
}

/// The task of some proto3 JSON.
///
/// # Errors
/// Why it is none.
pub(crate) fn to_task(json: &Value) -> Result<TaskSpec, String> {
    let input = json.get("handler").and_then(|handler| handler.get("input")).cloned();
    if input.as_ref().is_some_and(is_too_deep) {
        return Err("`handler.input` is nested too deep".to_owned());
    }
    let mut spec: TaskSpec = match input {
        None => read(&TASK, json)?,
        Some(_) => {
            let mut rest = json.clone();
            if let Some(Value::Object(handler)) = rest.get_mut("handler") {
                handler.remove("input");
            }
            read(&TASK, &rest)?
        }
    };
    if let Some(Work::Handler(work)) = &mut spec.work {
        work.input = input.map(to_value);
    }
    Ok(spec)
}

/// An error of the catalogue as JSON.
pub(crate) fn from_error(error: &WireError) -> Json {
    let fallback = || serde_json::json!({"code": error.code, "name": error.name, "message": error.message});
    written(&ERROR, error).unwrap_or_else(|_| fallback()).into()
}

/// The error of some JSON, as far as it is one.
pub(crate) fn to_error(json: &Json) -> WireError {
    read(&ERROR, json).unwrap_or_else(|_| WireError {
        name: "INTERNAL".to_owned(),
        message: json.to_string(),
        ..WireError::default()
    })
}

/// A value as JSON.
///
/// # Errors
/// It is nested too deep.
pub(crate) fn checked_value(value: prost_types::Value) -> Result<Value, String> {
    let json = from_value(value);
    if is_too_deep(&json) { Err("is nested too deep".to_owned()) } else { Ok(json) }
}

/// The value of some JSON.
pub(crate) fn value(json: &Json) -> prost_types::Value {
    to_value((**json).clone())
}

/// The output of a task on record, as JSON.
pub(crate) fn output(encoded: &[u8]) -> Option<Json> {
    prost_types::Value::decode(encoded).ok().map(|value| from_value(value).into())
}

fn written(descriptor: &MessageDescriptor, message: &impl Message) -> Result<Value, String> {
    let message = DynamicMessage::decode(descriptor.clone(), message.encode_to_vec().as_slice())
        .map_err(|error| error.to_string())?;
    message
        .serialize_with_options(serde_json::value::Serializer, &SerializeOptions::new())
        .map_err(|error| error.to_string())
}

fn read<M: Message + Default>(descriptor: &MessageDescriptor, json: &Value) -> Result<M, String> {
    let options = DeserializeOptions::new().deny_unknown_fields(false);
    let message = DynamicMessage::deserialize_with_options(descriptor.clone(), json, &options)
        .map_err(|error| error.to_string())?;
    message.transcode_to().map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use mcp_proto::{
        Code, Error,
        scheduler::v1::{HandlerWork, Placement, ProcessWork, RetryPolicy},
    };
    use serde_json::json;

    use super::*;

    #[test]
    fn a_task_is_the_same_after_both_ways() {
        let input = json!({"list": [1, 2.5, null, "${item}"], "deep": {"a": {"b": true}}});
        let handler = HandlerWork { handler: "h".to_owned(), input: Some(to_value(input.clone())) };
        let process = ProcessWork {
            argv: vec!["/bin/echo".to_owned(), "${input.x}".to_owned()],
            env: [("A".to_owned(), "b".to_owned())].into(),
            stdin: bytes::Bytes::from_static(&[0, 255]),
            ..ProcessWork::default()
        };
        for work in [Work::Handler(handler), Work::Process(process)] {
            let spec = TaskSpec {
                queue: "q".to_owned(),
                work: Some(work),
                retry: Some(RetryPolicy { max_attempts: 2, jitter: Some(0.5), ..RetryPolicy::default() }),
                run_timeout: Some(prost_types::Duration { seconds: 1, nanos: 500_000_000 }),
                placement: Some(Placement { memory_bytes: u64::MAX, ..Placement::default() }),
                ..TaskSpec::default()
            };
            let json = from_task(spec.clone()).unwrap();
            assert_eq!(to_task(&json).unwrap(), spec, "{}", *json);
        }
        let none = TaskSpec { work: Some(Work::Handler(HandlerWork::default())), ..TaskSpec::default() };
        assert_eq!(to_task(&from_task(none.clone()).unwrap()).unwrap(), none);
    }

    #[test]
    fn what_is_nested_too_deep_is_refused_where_it_is_made() {
        let deep = (0..80).fold(json!(1), |inner, _| json!([inner]));
        assert!(checked_value(to_value(deep.clone())).is_err());
        assert!(to_task(&json!({"handler": {"handler": "h", "input": deep}})).is_err());
        assert!(to_task(&json!({"handler": {"handler": 5}})).is_err());
    }

    #[test]
    fn an_error_keeps_what_it_says() {
        let error: WireError = Error::new(Code::HandlerFailed, "it broke").with_metadata("step", "a").into();
        let json = from_error(&error);
        assert_eq!((json["code"].as_u64(), json["message"].as_str()), (Some(3005), Some("it broke")));
        assert_eq!(to_error(&json), error);
        assert_eq!(to_error(&json!({"code": 3011, "name": "EXPRESSION_FAILED", "message": "m"}).into()).code, 3011);
    }
}
