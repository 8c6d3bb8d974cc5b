//! Decides whether a principal may call a method, and in which namespaces. Pure.

use std::collections::{BTreeSet, HashMap};

use mcp_proto::{Code, Error};
use prost_reflect::{DescriptorPool, MessageDescriptor};

use super::{
    principal::{Principal, Proof, Reach, Role},
    roles::{self, Need, Place},
    scope::{self, FieldPath},
};

/// What an empty namespace means.
const DEFAULT_NAMESPACE: &str = "default";

/// Metadata of a refusal: the role that is needed.
pub(crate) const ROLE: &str = "role";

/// A call that may go on in some namespaces only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Narrow {
    /// `/package.Service/Method`.
    pub(crate) rpc_path: String,
    role: Role,
    place: Place,
    namespaces: BTreeSet<String>,
}

/// What a request turned out to speak of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Subject {
    /// Only of namespaces that are allowed.
    Allowed,
    /// Of a task: its namespace has to be found out.
    Task(String),
    /// Of a workflow: its namespace has to be found out.
    Workflow(String),
}

/// Decides whether `principal` may call the method at `rpc_path`: everywhere (`None`), or in some namespaces. Services
/// that are not the platform's decide for themselves: it is enough to be somebody.
///
/// # Errors
/// `UNAUTHENTICATED` when it is nobody; `PERMISSION_DENIED`, with the role that is needed.
pub(crate) fn authorize(principal: Option<&Principal>, rpc_path: &str) -> Result<Option<Narrow>, Error> {
    let Some(principal) = principal else {
        return Err(unknown());
    };
    let Some(Need { role, place }) = roles::need(rpc_path) else {
        return Ok(None);
    };
    match (principal.grants.reach(role), place) {
        (Reach::Everywhere, _) | (Reach::Within(_), Place::Anywhere) => Ok(None),
        (Reach::Within(namespaces), Place::In(_) | Place::Topic | Place::Filter(_) | Place::Task | Place::Workflow) => {
            let namespaces = namespaces.into_iter().map(str::to_owned).collect();
            Ok(Some(Narrow { rpc_path: rpc_path.to_owned(), role, place, namespaces }))
        }
        (Reach::Within(_), Place::Cluster) => {
            Err(denied(role, format!("`{rpc_path}` needs the role {} in all namespaces", role.name())))
        }
        (Reach::Nowhere, _) if principal.proof == Proof::None => Err(unknown()),
        (Reach::Nowhere, _) => Err(denied(role, format!("`{rpc_path}` needs the role {}", role.name()))),
    }
}

/// Checks that `principal` has `role` everywhere, for what lies in no namespace.
///
/// # Errors
/// `UNAUTHENTICATED` when it is nobody; `PERMISSION_DENIED`, with the role that is needed.
pub(crate) fn require(principal: Option<&Principal>, role: Role, what: &str) -> Result<(), Error> {
    let Some(principal) = principal else {
        return Err(unknown());
    };
    match principal.grants.reach(role) {
        Reach::Everywhere => Ok(()),
        Reach::Within(_) => Err(denied(role, format!("`{what}` needs the role {} in all namespaces", role.name()))),
        Reach::Nowhere => Err(denied(role, format!("`{what}` needs the role {}", role.name()))),
    }
}

/// `UNAUTHENTICATED`.
fn unknown() -> Error {
    Error::new(Code::Unauthenticated, "the call carries no credentials")
}

/// Decides whether `principal` may see what is registered: it must be a viewer somewhere, as for `Discover`.
///
/// # Errors
/// `PERMISSION_DENIED`, with the role that is needed.
pub(crate) fn may_see_services(principal: &Principal) -> Result<(), Error> {
    match principal.grants.reach(Role::Viewer) {
        Reach::Everywhere | Reach::Within(_) => Ok(()),
        Reach::Nowhere => {
            let text = "what is registered is for callers with the role viewer, in one namespace at least";
            Err(denied(Role::Viewer, text.to_owned()))
        }
    }
}

/// `PERMISSION_DENIED`.
fn denied(role: Role, message: String) -> Error {
    Error::new(Code::PermissionDenied, message).with_metadata(ROLE, role.name())
}

/// Where the requests of the platform's methods say what they are about.
#[derive(Debug)]
pub(crate) struct Places {
    by_path: HashMap<String, FieldPath>,
    /// Where the answers of `GetTask` and `GetWorkflow` have the namespace.
    task: FieldPath,
    workflow: FieldPath,
}

impl Places {
    /// The places of the methods in a pool that has the platform's. `None` when it has not.
    pub(crate) fn of(pool: &DescriptorPool) -> Option<Self> {
        let methods = pool.services().flat_map(|service| service.methods().collect::<Vec<_>>());
        let by_path = methods.filter_map(|method| {
            let rpc_path = format!("/{}/{}", method.parent_service().full_name(), method.name());
            let field = field(&method.input(), roles::need(&rpc_path)?.place)?;
            Some((rpc_path, field))
        });
        let answer = |name: &str, path: &[&str]| FieldPath::of(&pool.get_message_by_name(name)?, path);
        Some(Self {
            by_path: by_path.collect(),
            task: answer("mcp.scheduler.v1.GetTaskResponse", &["task", "spec", "namespace"])?,
            workflow: answer("mcp.scheduler.v1.GetWorkflowResponse", &["workflow", "spec", "namespace"])?,
        })
    }
}

fn field(input: &MessageDescriptor, place: Place) -> Option<FieldPath> {
    match place {
        Place::Cluster | Place::Anywhere => None,
        Place::In(names) => FieldPath::of(input, names),
        Place::Topic => FieldPath::of(input, &["topic"]),
        Place::Filter(name) => FieldPath::of(input, &[name]),
        Place::Task => FieldPath::of(input, &["task_id"]),
        Place::Workflow => FieldPath::of(input, &["workflow_id"]),
    }
}

impl Narrow {
    /// What the encoded request speaks of.
    ///
    /// # Errors
    /// `PERMISSION_DENIED`: of another namespace. `MALFORMED_BODY`: it cannot be read.
    pub(crate) fn subject(&self, places: &Places, message: &[u8]) -> Result<Subject, Error> {
        let Some(path) = places.by_path.get(&self.rpc_path) else {
            return Err(self.denied("all namespaces"));
        };
        let texts = scope::texts(message, path).map_err(malformed)?;
        match self.place {
            Place::In(_) => texts.into_iter().try_for_each(|text| self.check(text)).map(|()| Subject::Allowed),
            Place::Topic => {
                let mut levels = texts.into_iter().map(|text| text.split('/').next().unwrap_or_default());
                levels.try_for_each(|level| self.check(level)).map(|()| Subject::Allowed)
            }
            Place::Filter(_) if texts.contains("") => Err(self.denied("all namespaces; name one")),
            Place::Filter(_) => texts.into_iter().try_for_each(|text| self.check(text)).map(|()| Subject::Allowed),
            Place::Task => only(&texts).map(|id| Subject::Task(id.to_owned())),
            Place::Workflow => only(&texts).map(|id| Subject::Workflow(id.to_owned())),
            Place::Cluster | Place::Anywhere => Err(self.denied("all namespaces")),
        }
    }

    /// Judges the answer of `GetTask` or `GetWorkflow` about the subject of the request.
    ///
    /// # Errors
    /// `TASK_NOT_FOUND` or `WORKFLOW_NOT_FOUND` when it lies elsewhere: whether it exists is not the caller's to know.
    pub(crate) fn judge(&self, places: &Places, subject: &Subject, answer: &[u8]) -> Result<(), Error> {
        let (path, code, id) = match subject {
            Subject::Allowed => return Ok(()),
            Subject::Task(id) => (&places.task, Code::TaskNotFound, id),
            Subject::Workflow(id) => (&places.workflow, Code::WorkflowNotFound, id),
        };
        let found = scope::texts(answer, path).map_err(malformed)?;
        let is_allowed = found.into_iter().all(|text| self.check(text).is_ok());
        if is_allowed { Ok(()) } else { Err(Error::new(code, format!("`{id}` is not there"))) }
    }

    fn check(&self, namespace: &str) -> Result<(), Error> {
        let namespace = if namespace.is_empty() { DEFAULT_NAMESPACE } else { namespace };
        if self.namespaces.contains(namespace) {
            Ok(())
        } else {
            Err(self.denied(&format!("the namespace `{namespace}`")))
        }
    }

    fn denied(&self, place: &str) -> Error {
        denied(self.role, format!("`{}` needs the role {} in {place}", self.rpc_path, self.role.name()))
    }
}

fn only<'a>(texts: &BTreeSet<&'a str>) -> Result<&'a str, Error> {
    match texts.iter().collect::<Vec<_>>()[..] {
        [text] => Ok(text),
        _ => Err(Error::new(Code::MalformedBody, "the request names more than one id")),
    }
}

fn malformed(error: scope::Malformed) -> Error {
    Error::new(Code::MalformedBody, error.to_string())
}

#[cfg(test)]
mod tests {
    use mcp_proto::scheduler::v1::{
        GetTaskRequest, GetTaskResponse, ListTasksRequest, SubmitTaskRequest, Task, TaskSpec,
    };
    use prost::Message;

    use super::*;
    use crate::security::principal::Grants;

    const SUBMIT: &str = "/mcp.scheduler.v1.TaskService/SubmitTask";
    const GET: &str = "/mcp.scheduler.v1.TaskService/GetTask";
    const LIST: &str = "/mcp.scheduler.v1.TaskService/ListTasks";
    const DISCOVER: &str = "/mcp.registry.v1.RegistryService/Discover";
    const REGISTER: &str = "/mcp.registry.v1.RegistryService/Register";
    const CREATE_KEY: &str = "/mcp.gateway.v1.KeyService/CreateKey";

    fn principal(grants: &[&str]) -> Principal {
        let grants = Grants::new(grants.iter().map(|text| text.parse().unwrap())).unwrap();
        Principal { name: "p".into(), proof: Proof::ApiKey, grants }
    }

    fn outcome(grants: &[&str], rpc_path: &str) -> String {
        match authorize(Some(&principal(grants)), rpc_path) {
            Ok(None) => "granted".into(),
            Ok(Some(narrow)) => Vec::from_iter(narrow.namespaces).join(" "),
            Err(error) => format!("needs {}", error.metadata()[ROLE]),
        }
    }

    #[test]
    fn roles_open_the_methods_that_need_them() {
        for (grants, rpc_path, expected) in [
            (&["viewer"][..], GET, "granted"),
            (&["viewer"], SUBMIT, "needs operator"),
            (&["operator"], SUBMIT, "granted"),
            (&["operator"], CREATE_KEY, "needs admin"),
            (&["admin"], CREATE_KEY, "granted"),
            (&["admin@a"], CREATE_KEY, "needs admin"),
            (&["viewer@a"], GET, "a"),
            (&["viewer@a", "operator@b"], SUBMIT, "b"),
            (&["viewer@a", "operator@b"], LIST, "a b"),
            (&["viewer@a"], DISCOVER, "granted"),
            (&["operator@a"], REGISTER, "needs operator"),
            (&[], GET, "needs viewer"),
            (&[], "/acme.Books/Get", "granted"),
            (&["operator"], "/mcp.scheduler.v1.TaskService/New", "needs admin"),
        ] {
            assert_eq!(outcome(grants, rpc_path), expected, "{grants:?} {rpc_path}");
        }
    }

    #[test]
    fn nobody_may_nothing() {
        for rpc_path in [GET, "/acme.Books/Get"] {
            assert_eq!(authorize(None, rpc_path).unwrap_err().code(), Code::Unauthenticated);
        }
    }

    #[test]
    fn whoever_reads_somewhere_sees_what_is_registered() {
        let refused =
            |grants: &[&str]| may_see_services(&principal(grants)).map_err(|error| error.metadata()[ROLE].clone());
        for grants in [&["viewer"][..], &["viewer@a"], &["operator@b"], &["admin"]] {
            assert_eq!(refused(grants), Ok(()), "{grants:?}");
        }
        assert_eq!(refused(&[]), Err("viewer".to_owned()));
    }

    fn narrow(grants: &[&str], rpc_path: &str) -> Narrow {
        authorize(Some(&principal(grants)), rpc_path).unwrap().unwrap()
    }

    fn places() -> Places {
        Places::of(&DescriptorPool::decode(mcp_proto::FILE_DESCRIPTOR_SET).unwrap()).unwrap()
    }

    #[test]
    fn a_request_is_read_for_the_namespaces_that_it_speaks_of() {
        let places = places();
        let submit = |namespace: &str| {
            let task = TaskSpec { namespace: namespace.into(), ..TaskSpec::default() };
            SubmitTaskRequest { task: Some(task) }.encode_to_vec()
        };
        let list = |namespace: &str| {
            ListTasksRequest { namespace: namespace.into(), ..ListTasksRequest::default() }.encode_to_vec()
        };
        let code = |narrow: &Narrow, message: &[u8]| narrow.subject(&places, message).map_err(|error| error.code());
        let operator = narrow(&["operator@a"], SUBMIT);
        assert_eq!(code(&operator, &submit("a")), Ok(Subject::Allowed));
        assert_eq!(code(&operator, &submit("b")), Err(Code::PermissionDenied));
        assert_eq!(code(&operator, &submit("")), Err(Code::PermissionDenied));
        assert_eq!(code(&operator, &[0xff]), Err(Code::MalformedBody));
        assert_eq!(code(&narrow(&["operator@default"], SUBMIT), &submit("")), Ok(Subject::Allowed));
        let viewer = narrow(&["viewer@a"], LIST);
        assert_eq!(code(&viewer, &list("a")), Ok(Subject::Allowed));
        assert_eq!(code(&viewer, &list("")), Err(Code::PermissionDenied));
    }

    #[test]
    fn a_task_elsewhere_is_not_there() {
        let (places, narrow) = (places(), narrow(&["viewer@a"], GET));
        let subject = narrow.subject(&places, &GetTaskRequest { task_id: "7".into() }.encode_to_vec()).unwrap();
        assert_eq!(subject, Subject::Task("7".into()));
        let answer = |namespace: &str| {
            let spec = TaskSpec { namespace: namespace.into(), ..TaskSpec::default() };
            let task = Task { id: "7".into(), spec: Some(spec), ..Task::default() };
            GetTaskResponse { task: Some(task) }.encode_to_vec()
        };
        assert_eq!(narrow.judge(&places, &subject, &answer("a")), Ok(()));
        assert_eq!(narrow.judge(&places, &subject, &answer("b")).unwrap_err().code(), Code::TaskNotFound);
        assert_eq!(narrow.judge(&places, &subject, &[]).unwrap_err().code(), Code::TaskNotFound);
    }
}
