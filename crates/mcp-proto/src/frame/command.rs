//! What a request asks for.

use std::fmt;

/// The command of a frame: which call it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Command(pub u16);

macro_rules! commands {
    ($($constant:ident = $number:literal, $name:literal, $text:literal;)+) => {
        impl Command {
            $(#[doc = $text] pub const $constant: Self = Self($number);)+

            /// Every command of the platform with its name, by number.
            pub const ALL: &[(Self, &'static str)] = &[$((Self::$constant, $name),)+];
        }
    };
}

commands! {
    CALL = 0x0000, "call", "Any registered gRPC method: metadata `method` names it.";
    HEALTH = 0x0001, "health", "Health check.";
    TASK_SUBMIT = 0x0101, "task-submit", "Submit a task.";
    TASK_SUBMIT_BATCH = 0x0102, "task-submit-batch", "Submit many tasks.";
    TASK_GET = 0x0103, "task-get", "Get a task.";
    TASK_LIST = 0x0104, "task-list", "List tasks.";
    TASK_CANCEL = 0x0105, "task-cancel", "Cancel a task.";
    TASK_WAIT = 0x0106, "task-wait", "Wait until a task is final.";
    TASK_WATCH = 0x0107, "task-watch", "Task changes as they happen; streams.";
    TASK_LOGS = 0x0108, "task-logs", "A task's log; streams.";
    WORKFLOW_SUBMIT = 0x0201, "workflow-submit", "Submit a workflow.";
    WORKFLOW_GET = 0x0202, "workflow-get", "Get a workflow.";
    WORKFLOW_CANCEL = 0x0203, "workflow-cancel", "Cancel a workflow.";
    WORKFLOW_WATCH = 0x0204, "workflow-watch", "Workflow changes as they happen; streams.";
    REGISTRY_REGISTER = 0x0301, "registry-register", "Register an instance.";
    REGISTRY_HEARTBEAT = 0x0302, "registry-heartbeat", "Keep an instance registered.";
    REGISTRY_DEREGISTER = 0x0303, "registry-deregister", "Remove an instance.";
    REGISTRY_DISCOVER = 0x0304, "registry-discover", "The instances of a service.";
    REGISTRY_WATCH = 0x0305, "registry-watch", "A snapshot of the instances, then changes; streams.";
    CONFIG_GET = 0x0401, "config-get", "Get a configuration value.";
    CONFIG_PUT = 0x0402, "config-put", "Set a configuration value.";
    CONFIG_WATCH = 0x0403, "config-watch", "Configuration changes as they happen; streams.";
    TOPIC_PUBLISH = 0x0501, "topic-publish", "Publish a message to the topic that metadata `topic` names.";
}

impl Command {
    /// The first command that users map to methods by routes; all above are theirs, too.
    pub const USER_MIN: Self = Self(0x8000);

    /// True when a route says what the command means.
    pub const fn is_user(self) -> bool {
        self.0 >= Self::USER_MIN.0
    }

    /// The name of a command of the platform.
    pub fn name(self) -> Option<&'static str> {
        Self::ALL.binary_search_by_key(&self, |(command, _)| *command).ok().map(|at| Self::ALL[at].1)
    }

    /// The command of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| *known == name).map(|(command, _)| *command)
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "{:#06x}", self.0),
        }
    }
}
