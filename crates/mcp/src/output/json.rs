//! Messages as proto3 JSON, the same as in the HTTP API, and back.
//!
//! The generated types know no field names, so a message goes through its descriptor: encode, decode as a
//! `DynamicMessage`, print.

use std::sync::LazyLock;

use mcp_proto::json::with_whole_numbers;
use mcp_proto::{
    FILE_DESCRIPTOR_SET,
    gateway::v1::{CreateKeyResponse, ListKeysResponse, ListPoliciesResponse, ListRoutesResponse, Policy, Route},
    registry::v1::{DiscoverResponse, Instance},
    scheduler::v1::{
        BackfillScheduleResponse, BatchSubmitTasksResponse, CheckWorkflowResponse, DeleteScheduleResponse,
        ExplainTaskResponse, GetQueueScalingResponse, ListDeadLettersResponse, ListFiresResponse, ListQueuesResponse,
        ListSchedulesResponse, ListTasksResponse, ListWorkflowsResponse, LogLine, PurgeDeadLettersResponse, Queue,
        ReplayDeadLettersResponse, RerunWorkflowResponse, RetryTaskResponse, Schedule, SubmitTaskResponse,
        SubmitWorkflowResponse, Task, TaskSpec, TriggerScheduleResponse, Workflow, WorkflowSpec,
    },
};
use prost::Message;
use prost_reflect::{DescriptorPool, DeserializeOptions, DynamicMessage, MessageDescriptor, SerializeOptions};
use serde_json::Value;

static POOL: LazyLock<DescriptorPool> =
    LazyLock::new(|| DescriptorPool::decode(FILE_DESCRIPTOR_SET).expect("the build made the descriptor set"));

/// A message that the command prints or reads, by its full name.
pub trait Named: Message + Default {
    /// Full name of the message, for instance `mcp.scheduler.v1.Task`.
    const NAME: &'static str;
}

macro_rules! named {
    ($($message:ty = $name:literal,)+) => {
        $(impl Named for $message {
            const NAME: &'static str = $name;
        })+
    };
}

named! {
    Task = "mcp.scheduler.v1.Task",
    TaskSpec = "mcp.scheduler.v1.TaskSpec",
    LogLine = "mcp.scheduler.v1.LogLine",
    SubmitTaskResponse = "mcp.scheduler.v1.SubmitTaskResponse",
    BatchSubmitTasksResponse = "mcp.scheduler.v1.BatchSubmitTasksResponse",
    ListTasksResponse = "mcp.scheduler.v1.ListTasksResponse",
    ExplainTaskResponse = "mcp.scheduler.v1.ExplainTaskResponse",
    RetryTaskResponse = "mcp.scheduler.v1.RetryTaskResponse",
    Queue = "mcp.scheduler.v1.Queue",
    ListQueuesResponse = "mcp.scheduler.v1.ListQueuesResponse",
    GetQueueScalingResponse = "mcp.scheduler.v1.GetQueueScalingResponse",
    ListDeadLettersResponse = "mcp.scheduler.v1.ListDeadLettersResponse",
    ReplayDeadLettersResponse = "mcp.scheduler.v1.ReplayDeadLettersResponse",
    PurgeDeadLettersResponse = "mcp.scheduler.v1.PurgeDeadLettersResponse",
    Schedule = "mcp.scheduler.v1.Schedule",
    ListSchedulesResponse = "mcp.scheduler.v1.ListSchedulesResponse",
    DeleteScheduleResponse = "mcp.scheduler.v1.DeleteScheduleResponse",
    TriggerScheduleResponse = "mcp.scheduler.v1.TriggerScheduleResponse",
    BackfillScheduleResponse = "mcp.scheduler.v1.BackfillScheduleResponse",
    ListFiresResponse = "mcp.scheduler.v1.ListFiresResponse",
    Workflow = "mcp.scheduler.v1.Workflow",
    WorkflowSpec = "mcp.scheduler.v1.WorkflowSpec",
    SubmitWorkflowResponse = "mcp.scheduler.v1.SubmitWorkflowResponse",
    CheckWorkflowResponse = "mcp.scheduler.v1.CheckWorkflowResponse",
    ListWorkflowsResponse = "mcp.scheduler.v1.ListWorkflowsResponse",
    RerunWorkflowResponse = "mcp.scheduler.v1.RerunWorkflowResponse",
    Route = "mcp.gateway.v1.Route",
    Policy = "mcp.gateway.v1.Policy",
    ListRoutesResponse = "mcp.gateway.v1.ListRoutesResponse",
    ListPoliciesResponse = "mcp.gateway.v1.ListPoliciesResponse",
    CreateKeyResponse = "mcp.gateway.v1.CreateKeyResponse",
    ListKeysResponse = "mcp.gateway.v1.ListKeysResponse",
    Instance = "mcp.registry.v1.Instance",
    DiscoverResponse = "mcp.registry.v1.DiscoverResponse",
}

/// The descriptor of a message.
pub(crate) fn descriptor<M: Named>() -> MessageDescriptor {
    descriptor_named(M::NAME)
}

/// The descriptor of the message with this full name, which is one of ours.
pub(crate) fn descriptor_named(name: &str) -> MessageDescriptor {
    POOL.get_message_by_name(name).expect("every named message is in the descriptor set")
}

/// The proto3 JSON form of a message: camelCase names, RFC 3339 times. As in the HTTP API, fields with a default value
/// are there too, and only what can be unset and is unset is left out.
pub fn to_json<M: Named>(message: &M) -> Value {
    json_of(message, false)
}

/// The same without fields that have their default value: what people write.
pub fn to_short_json<M: Named>(message: &M) -> Value {
    json_of(message, true)
}

fn json_of<M: Named>(message: &M, is_short: bool) -> Value {
    let bytes = message.encode_to_vec();
    let dynamic = DynamicMessage::decode(descriptor::<M>(), &*bytes).expect("the bytes were encoded just now");
    let options = SerializeOptions::new().skip_default_fields(is_short);
    let json = dynamic.serialize_with_options(serde_json::value::Serializer, &options);
    with_whole_numbers(json.expect("a message has a JSON form"))
}

/// A message from its proto3 JSON form. An unknown field is an error.
///
/// # Errors
/// What is wrong, and where in the text.
pub fn from_json<M: Named>(text: &str) -> Result<M, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let options = DeserializeOptions::new().deny_unknown_fields(true);
    let dynamic = DynamicMessage::deserialize_with_options(descriptor::<M>(), &mut deserializer, &options)?;
    deserializer.end()?;
    Ok(M::decode(&*dynamic.encode_to_vec()).expect("both types are the same message"))
}

/// The text of a document for standard output: indented.
pub fn pretty(document: &Value) -> String {
    format!("{document:#}")
}

#[cfg(test)]
mod tests {
    use mcp_proto::scheduler::v1::{LogLine, Task, TaskSpec, TaskState, task_spec::Work};
    use serde_json::json;

    use super::{from_json, to_json};

    #[test]
    fn a_task_has_the_shape_of_the_http_api() {
        let task = Task {
            id: "x".to_owned(),
            state: TaskState::Running.into(),
            create_time: Some(prost_types::Timestamp { seconds: 1_700_000_000, nanos: 500_000_000 }),
            spec: Some(TaskSpec {
                run_timeout: Some(prost_types::Duration { seconds: 3, nanos: 0 }),
                ..TaskSpec::default()
            }),
            ..Task::default()
        };
        let json = to_json(&task);
        assert_eq!(json["state"], "TASK_STATE_RUNNING");
        assert_eq!(json["createTime"], "2023-11-14T22:13:20.500Z");
        assert_eq!(json["spec"]["runTimeout"], "3s");
        assert_eq!((&json["attempt"], &json["cancelRequested"]), (&json!(0), &json!(false)), "defaults are shown");
        assert_eq!(json.get("startTime"), None, "what is unset is not");
        assert_eq!(to_json(&LogLine { seq: 7, ..LogLine::default() })["seq"], "7");
    }

    #[test]
    fn a_spec_is_read_and_unknown_fields_are_named() {
        let spec: TaskSpec = from_json(r#"{"queue":"q","process":{"argv":["ls"]},"retry":{"maxAttempts":5}}"#).unwrap();
        assert!(matches!(&spec.work, Some(Work::Process(process)) if process.argv == ["ls"]));
        assert_eq!(spec.retry.unwrap().max_attempts, 5);
        let error = from_json::<TaskSpec>(r#"{"queu":"q"}"#).unwrap_err().to_string();
        assert!(error.contains("queu"), "{error}");
        assert!(from_json::<TaskSpec>("{} {}").is_err());
    }
}
