//! Which call a command is for.

use std::borrow::Cow;

use mcp_proto::{
    Code, Error,
    frame::{Command, Frame, Metadata, Profile},
};

/// Commands of the platform that are calls of its methods, by number.
const METHODS: [(Command, &str); 17] = [
    (Command::TASK_SUBMIT, "/mcp.scheduler.v1.TaskService/SubmitTask"),
    (Command::TASK_SUBMIT_BATCH, "/mcp.scheduler.v1.TaskService/BatchSubmitTasks"),
    (Command::TASK_GET, "/mcp.scheduler.v1.TaskService/GetTask"),
    (Command::TASK_LIST, "/mcp.scheduler.v1.TaskService/ListTasks"),
    (Command::TASK_CANCEL, "/mcp.scheduler.v1.TaskService/CancelTask"),
    (Command::TASK_WAIT, "/mcp.scheduler.v1.TaskService/WaitTask"),
    (Command::TASK_WATCH, "/mcp.scheduler.v1.TaskService/WatchTasks"),
    (Command::TASK_LOGS, "/mcp.scheduler.v1.TaskService/ReadTaskLogs"),
    (Command::WORKFLOW_SUBMIT, "/mcp.scheduler.v1.WorkflowService/SubmitWorkflow"),
    (Command::WORKFLOW_GET, "/mcp.scheduler.v1.WorkflowService/GetWorkflow"),
    (Command::WORKFLOW_CANCEL, "/mcp.scheduler.v1.WorkflowService/CancelWorkflow"),
    (Command::REGISTRY_REGISTER, "/mcp.registry.v1.RegistryService/Register"),
    (Command::REGISTRY_HEARTBEAT, "/mcp.registry.v1.RegistryService/Heartbeat"),
    (Command::REGISTRY_DEREGISTER, "/mcp.registry.v1.RegistryService/Deregister"),
    (Command::REGISTRY_DISCOVER, "/mcp.registry.v1.RegistryService/Discover"),
    (Command::REGISTRY_WATCH, "/mcp.registry.v1.RegistryService/Watch"),
    (Command::TOPIC_PUBLISH, "/mcp.gateway.v1.TopicService/Publish"),
];

/// What a command asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Aim {
    /// Whether the gateway takes calls.
    Health,
    /// A workflow, and again whenever it has changed.
    WatchWorkflow,
    /// A message, which is the body, to this topic.
    Publish(String),
    /// A call of this method.
    Method(Cow<'static, str>),
}

/// Finds what a frame asks for. `user` tells the method that routes give a command of users.
///
/// # Errors
/// `INVALID_ARGUMENT` for a command that is none or has no route, and for a call without a method; `UNIMPLEMENTED` for
/// what is planned.
pub(crate) fn aim(
    profile: Profile,
    frame: &Frame,
    metadata: &Metadata<'_>,
    user: impl Fn(u16) -> Option<String>,
) -> Result<Aim, Error> {
    match frame.command {
        Command::CALL => match metadata.get(Metadata::METHOD) {
            Some(path) if is_path(path) => Ok(Aim::Method(Cow::Owned(path.to_owned()))),
            Some(path) => Err(Error::invalid("metadata.method", format!("is `{path}`, not `/package.Service/Method`"))),
            None => Err(Error::invalid("metadata.method", "must name what a CALL calls: `/package.Service/Method`")),
        },
        Command::HEALTH => Ok(Aim::Health),
        Command::TOPIC_PUBLISH if metadata.get(Metadata::TOPIC).is_some() => {
            Ok(Aim::Publish(metadata.get(Metadata::TOPIC).unwrap_or_default().to_owned()))
        }
        Command::WORKFLOW_WATCH => Ok(Aim::WatchWorkflow),
        Command::CONFIG_GET | Command::CONFIG_PUT | Command::CONFIG_WATCH => {
            Err(Error::new(Code::Unimplemented, "this version keeps no configuration values"))
        }
        Command(number) => {
            let wide = user_command(profile, number);
            if let Some(path) = wide.and_then(user) {
                return Ok(Aim::Method(Cow::Owned(path)));
            }
            match METHODS.iter().find(|(command, _)| *command == frame.command) {
                Some((_, path)) => Ok(Aim::Method(Cow::Borrowed(path))),
                None if wide.is_some() => {
                    let number = wide.unwrap_or(number);
                    Err(Error::invalid("cmd", format!("is {number:#06x}, which no route gives a method")))
                }
                None => Err(Error::invalid("cmd", format!("is {number:#06x}, which is no command"))),
            }
        }
    }
}

/// The number under which routes know a command. In `basic`, whose commands have 7 bits, N stands for 0x8000 + N.
fn user_command(profile: Profile, number: u16) -> Option<u16> {
    match profile {
        Profile::Basic => Some(Command::USER_MIN.0 + number),
        Profile::Standard | Profile::Compact => Command(number).is_user().then_some(number),
    }
}

/// True for `/package.Service/Method`.
fn is_path(path: &str) -> bool {
    let mut parts = path.split('/');
    let is_name = |part: Option<&str>| {
        part.is_some_and(|part| {
            !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        })
    };
    parts.next() == Some("") && is_name(parts.next()) && is_name(parts.next()) && parts.next().is_none()
}

#[cfg(test)]
mod tests {
    use prost_reflect::DescriptorPool;

    use super::*;

    fn asked(profile: Profile, command: u16, method: Option<&str>) -> Result<Aim, Code> {
        let metadata = method.into_iter().fold(Metadata::new(), |metadata, path| metadata.with("method", path));
        let frame = Frame::request(Command(command), 1, "");
        let user = |command: u16| (command == 0x8001).then(|| "/acme.Shop/Get".to_owned());
        aim(profile, &frame, &metadata, user).map_err(|error| error.code())
    }

    #[test]
    fn every_command_of_the_platform_is_known() {
        let pool = DescriptorPool::decode(mcp_proto::FILE_DESCRIPTOR_SET).unwrap();
        for (command, name) in Command::ALL {
            match asked(Profile::Standard, command.0, Some("/a.B/C")) {
                Ok(Aim::Method(path)) if *command != Command::CALL => {
                    let (service, method) = path[1..].split_once('/').unwrap();
                    let service = pool.get_service_by_name(service).unwrap_or_else(|| panic!("{name}: {path}"));
                    assert!(service.methods().any(|known| known.name() == method), "{name}: {path}");
                }
                Ok(_) => {}
                Err(code) => assert!(code == Code::Unimplemented && name.starts_with("config-"), "{name}: {code:?}"),
            }
        }
    }

    #[test]
    fn users_have_their_own_commands() {
        let shop = Ok(Aim::Method("/acme.Shop/Get".into()));
        assert_eq!(asked(Profile::Standard, 0x8001, None), shop);
        assert_eq!(asked(Profile::Compact, 0x8001, None), shop);
        assert_eq!(asked(Profile::Basic, 0x01, None), Ok(Aim::Health), "the health check comes first");
        for (profile, command) in [
            (Profile::Standard, 0x8002),
            (Profile::Standard, 0x0199),
            (Profile::Compact, 0x0002),
            (Profile::Basic, 0x02),
        ] {
            assert_eq!(asked(profile, command, None), Err(Code::InvalidArgument), "{command:#x}");
        }
    }

    #[test]
    fn a_call_names_a_method() {
        for path in ["", "/", "/a.B", "/a.B/", "a.B/C", "/a.B/C/D", "/a.B/C?x", "/a b/C"] {
            assert_eq!(asked(Profile::Standard, 0, Some(path)), Err(Code::InvalidArgument), "{path}");
        }
        assert_eq!(asked(Profile::Standard, 0, None), Err(Code::InvalidArgument));
        assert_eq!(asked(Profile::Standard, 0, Some("/a.B/C")), Ok(Aim::Method("/a.B/C".into())));
    }
}
