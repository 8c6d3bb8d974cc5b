//! Which role each method of the platform needs, and where its request says which namespace it is about. Pure.
//!
//! Reads need a viewer, changes an operator, and whatever decides who may do what and where calls go an admin. A method
//! of the platform that is not listed needs an admin everywhere; a test refuses such a method.

use super::principal::Role;

/// How the full names of the platform's own services begin. The gateway passes on what it does not know, but nobody
/// else's services are called like that.
const PLATFORM: &str = "mcp.";

/// Where a request says which namespace it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// About no namespace: the role must be held everywhere.
    Cluster,
    /// About no namespace, and harmless: the role must be held anywhere.
    Anywhere,
    /// At this path of fields; an empty one means `default`. Through repeated fields, each of them counts.
    In(&'static [&'static str]),
    /// The first level of the path in `topic`.
    Topic,
    /// In this field, a filter; an empty one means all.
    Filter(&'static str),
    /// That of the task with the id in `task_id`.
    Task,
    /// That of the workflow with the id in `workflow_id`.
    Workflow,
}

/// What a method needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Need {
    /// The least role.
    pub(crate) role: Role,
    /// Where it must be held.
    pub(crate) place: Place,
}

const fn viewer(place: Place) -> Need {
    Need { role: Role::Viewer, place }
}

const fn operator(place: Place) -> Need {
    Need { role: Role::Operator, place }
}

const fn admin(place: Place) -> Need {
    Need { role: Role::Admin, place }
}

const NAMESPACE: Place = Place::In(&["namespace"]);
const FILTER: Place = Place::Filter("namespace");
const OF_TASK: Place = Place::In(&["task", "namespace"]);
const OF_TASKS: Place = Place::In(&["tasks", "namespace"]);
const OF_SCHEDULE: Place = Place::In(&["schedule", "namespace"]);
const OF_WORKFLOW: Place = Place::In(&["workflow", "namespace"]);

/// Every method of the platform by `/package.Service/Method`, sorted.
#[rustfmt::skip]
const NEEDS: &[(&str, Need)] = &[
    ("/mcp.gateway.v1.KeyService/CreateKey", admin(Place::Cluster)),
    ("/mcp.gateway.v1.KeyService/ListKeys", admin(Place::Cluster)),
    ("/mcp.gateway.v1.KeyService/RevokeKey", admin(Place::Cluster)),
    ("/mcp.gateway.v1.RouteService/ApplyPolicy", admin(Place::Cluster)),
    ("/mcp.gateway.v1.RouteService/ApplyRoute", admin(Place::Cluster)),
    ("/mcp.gateway.v1.RouteService/DeletePolicy", admin(Place::Cluster)),
    ("/mcp.gateway.v1.RouteService/DeleteRoute", admin(Place::Cluster)),
    ("/mcp.gateway.v1.RouteService/GetPolicy", viewer(Place::Cluster)),
    ("/mcp.gateway.v1.RouteService/GetRoute", viewer(Place::Cluster)),
    ("/mcp.gateway.v1.RouteService/ListPolicies", viewer(Place::Cluster)),
    ("/mcp.gateway.v1.RouteService/ListRoutes", viewer(Place::Cluster)),
    ("/mcp.gateway.v1.TopicService/Publish", operator(Place::Topic)),
    ("/mcp.registry.v1.RegistryService/Deregister", operator(Place::Cluster)),
    ("/mcp.registry.v1.RegistryService/Discover", viewer(Place::Anywhere)),
    ("/mcp.registry.v1.RegistryService/Heartbeat", operator(Place::Cluster)),
    ("/mcp.registry.v1.RegistryService/Register", operator(Place::Cluster)),
    ("/mcp.registry.v1.RegistryService/Watch", viewer(Place::Anywhere)),
    // Between the scheduler's replicas, who talk to each other directly.
    ("/mcp.scheduler.v1.PeerService/ReportStep", admin(Place::Cluster)),
    ("/mcp.scheduler.v1.PeerService/SubmitStep", admin(Place::Cluster)),
    ("/mcp.scheduler.v1.QueueService/DrainQueue", operator(NAMESPACE)),
    ("/mcp.scheduler.v1.QueueService/GetQueue", viewer(NAMESPACE)),
    ("/mcp.scheduler.v1.QueueService/GetQueueScaling", viewer(NAMESPACE)),
    ("/mcp.scheduler.v1.QueueService/ListDeadLetters", viewer(NAMESPACE)),
    ("/mcp.scheduler.v1.QueueService/ListQueues", viewer(FILTER)),
    ("/mcp.scheduler.v1.QueueService/PauseQueue", operator(NAMESPACE)),
    ("/mcp.scheduler.v1.QueueService/PurgeDeadLetters", operator(NAMESPACE)),
    ("/mcp.scheduler.v1.QueueService/ReplayDeadLetters", operator(NAMESPACE)),
    ("/mcp.scheduler.v1.QueueService/ResumeQueue", operator(NAMESPACE)),
    ("/mcp.scheduler.v1.QueueService/SetQueueRules", operator(NAMESPACE)),
    ("/mcp.scheduler.v1.ScheduleService/BackfillSchedule", operator(NAMESPACE)),
    ("/mcp.scheduler.v1.ScheduleService/DeleteSchedule", operator(NAMESPACE)),
    ("/mcp.scheduler.v1.ScheduleService/GetSchedule", viewer(NAMESPACE)),
    ("/mcp.scheduler.v1.ScheduleService/ListFires", viewer(NAMESPACE)),
    ("/mcp.scheduler.v1.ScheduleService/ListSchedules", viewer(FILTER)),
    ("/mcp.scheduler.v1.ScheduleService/PauseSchedule", operator(NAMESPACE)),
    ("/mcp.scheduler.v1.ScheduleService/PutSchedule", operator(OF_SCHEDULE)),
    ("/mcp.scheduler.v1.ScheduleService/ResumeSchedule", operator(NAMESPACE)),
    ("/mcp.scheduler.v1.ScheduleService/TriggerSchedule", operator(NAMESPACE)),
    ("/mcp.scheduler.v1.TaskService/BatchSubmitTasks", operator(OF_TASKS)),
    ("/mcp.scheduler.v1.TaskService/CancelTask", operator(Place::Task)),
    ("/mcp.scheduler.v1.TaskService/ExplainTask", viewer(Place::Task)),
    ("/mcp.scheduler.v1.TaskService/GetTask", viewer(Place::Task)),
    ("/mcp.scheduler.v1.TaskService/ListTasks", viewer(FILTER)),
    ("/mcp.scheduler.v1.TaskService/ReadTaskLogs", viewer(Place::Task)),
    ("/mcp.scheduler.v1.TaskService/RetryTask", operator(Place::Task)),
    ("/mcp.scheduler.v1.TaskService/SubmitTask", operator(OF_TASK)),
    ("/mcp.scheduler.v1.TaskService/WaitTask", viewer(Place::Task)),
    ("/mcp.scheduler.v1.TaskService/WatchTasks", viewer(FILTER)),
    ("/mcp.scheduler.v1.WorkflowService/CancelWorkflow", operator(Place::Workflow)),
    ("/mcp.scheduler.v1.WorkflowService/CheckWorkflow", viewer(OF_WORKFLOW)),
    ("/mcp.scheduler.v1.WorkflowService/GetWorkflow", viewer(Place::Workflow)),
    ("/mcp.scheduler.v1.WorkflowService/ListWorkflows", viewer(FILTER)),
    ("/mcp.scheduler.v1.WorkflowService/PauseWorkflow", operator(Place::Workflow)),
    ("/mcp.scheduler.v1.WorkflowService/RerunWorkflow", operator(Place::Workflow)),
    ("/mcp.scheduler.v1.WorkflowService/ResumeWorkflow", operator(Place::Workflow)),
    ("/mcp.scheduler.v1.WorkflowService/SubmitWorkflow", operator(OF_WORKFLOW)),
    ("/mcp.scheduler.v1.WorkflowService/WaitWorkflow", viewer(Place::Workflow)),
    // A session takes tasks of every namespace that it asks for.
    ("/mcp.worker.v1.WorkerSessionService/OpenSession", operator(Place::Cluster)),
];

/// What the method at `/package.Service/Method` needs; `None` when it is not one of the platform's.
pub(crate) fn need(rpc_path: &str) -> Option<Need> {
    if !rpc_path.strip_prefix('/')?.starts_with(PLATFORM) {
        return None;
    }
    let listed = NEEDS.binary_search_by_key(&rpc_path, |(path, _)| path);
    Some(listed.map_or(admin(Place::Cluster), |index| NEEDS[index].1))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use http::Method;
    use prost_reflect::{DescriptorPool, Kind, MessageDescriptor, MethodDescriptor};

    use super::*;
    use crate::transcode::rules;

    fn pool() -> DescriptorPool {
        DescriptorPool::decode(mcp_proto::FILE_DESCRIPTOR_SET).unwrap()
    }

    fn methods(pool: &DescriptorPool) -> Vec<(String, MethodDescriptor)> {
        let path = |method: &MethodDescriptor| format!("/{}/{}", method.parent_service().full_name(), method.name());
        pool.services()
            .filter(|service| service.full_name().starts_with(PLATFORM))
            .flat_map(|service| service.methods().collect::<Vec<_>>())
            .map(|method| (path(&method), method))
            .collect()
    }

    #[test]
    fn every_method_of_the_platform_is_listed_once_and_in_order() {
        let pool = pool();
        let expected: BTreeSet<String> = methods(&pool).into_iter().map(|(path, _)| path).collect();
        let listed: Vec<&str> = NEEDS.iter().map(|(path, _)| *path).collect();
        assert!(listed.is_sorted(), "the list is searched by halves");
        assert_eq!(listed, expected.iter().map(String::as_str).collect::<Vec<_>>());
    }

    /// The kind of the field at the end of a path.
    fn field(message: &MessageDescriptor, path: &[&str]) -> Option<Kind> {
        let kind = message.get_field_by_name(path[0])?.kind();
        match path {
            [_] => Some(kind),
            [_, rest @ ..] => field(kind.as_message()?, rest),
            [] => None,
        }
    }

    #[test]
    fn a_place_is_a_text_field_of_the_request() {
        let pool = pool();
        for (path, method) in methods(&pool) {
            let place = need(&path).unwrap().place;
            let names: &[&str] = match &place {
                Place::Cluster | Place::Anywhere => continue,
                Place::In(names) => names,
                Place::Filter(name) => &[*name],
                Place::Topic => &["topic"],
                Place::Task => &["task_id"],
                Place::Workflow => &["workflow_id"],
            };
            assert_eq!(field(&method.input(), names), Some(Kind::String), "{path}: {names:?}");
            assert!(!method.is_client_streaming(), "{path}: only a first message is looked at");
        }
    }

    #[test]
    fn what_has_a_namespace_is_judged_by_it() {
        let pool = pool();
        for (path, method) in methods(&pool) {
            let has = |name: &str| method.input().get_field_by_name(name).is_some();
            let place = need(&path).unwrap().place;
            if has("namespace") {
                assert!(matches!(place, Place::In(["namespace"]) | Place::Filter("namespace")), "{path}: {place:?}");
            }
        }
    }

    #[test]
    fn reading_over_http_needs_a_viewer_and_changing_more() {
        let pool = pool();
        for service in pool.services().filter(|service| service.full_name().starts_with(PLATFORM)) {
            for route in rules::routes(&service).0 {
                let (path, role) = (route.rpc_path.path(), need(route.rpc_path.path()).unwrap().role);
                let changes = route.http_method != Method::GET && !path.ends_with("/CheckWorkflow");
                assert!(!changes || role > Role::Viewer, "{path} changes something");
                assert!(changes || role == Role::Viewer || path.contains(".gateway."), "{path} only reads");
            }
        }
    }

    #[test]
    fn what_is_not_listed_needs_an_admin_and_what_is_not_ours_nothing() {
        assert_eq!(need("/mcp.future.v1.X/Y"), Some(admin(Place::Cluster)));
        assert_eq!(need("/acme.Books/Get"), None);
        assert_eq!(need("*"), None);
    }
}
