//! Reads the `google.api.http` rules of a service from its descriptor and compiles each into a [`Route`].

use http::{Method, uri::PathAndQuery};
use prost_reflect::{
    Cardinality, DynamicMessage, ExtensionDescriptor, FieldDescriptor, Kind, MessageDescriptor, MethodDescriptor,
    ServiceDescriptor, Value,
};

use super::template::{Template, TemplateError};

/// Name of the method option that holds the rule.
const OPTION: &str = "google.api.http";

/// The message that stands for content which is not JSON.
const RAW: &str = "google.api.HttpBody";

/// The field by which a request says how long the call may wait.
const WAIT_FIELD: &str = "timeout";

/// One way to call a gRPC method by HTTP.
#[derive(Debug)]
pub(crate) struct Route {
    /// The method.
    pub(crate) rpc: MethodDescriptor,
    /// `/package.Service/Method`.
    pub(crate) rpc_path: PathAndQuery,
    /// HTTP method.
    pub(crate) http_method: Method,
    /// Path.
    pub(crate) template: Template,
    /// The field that each variable of the path sets, in the order of `template.variables`: every step from the
    /// request message down.
    pub(crate) variables: Vec<Vec<FieldDescriptor>>,
    /// What the request's body is.
    pub(crate) body: BodyRule,
    /// The field that the response's body is; `None`: the whole response.
    pub(crate) response_field: Option<FieldDescriptor>,
    /// The request's own limit on waiting, when it has one.
    pub(crate) wait_field: Option<FieldDescriptor>,
    /// True when the request's body is not JSON but raw content (`google.api.HttpBody`).
    pub(crate) raw_request: bool,
    /// The same of the response's body.
    pub(crate) raw_response: bool,
}

/// What the body of an HTTP request is.
#[derive(Debug)]
pub(crate) enum BodyRule {
    /// Nothing: a body is ignored.
    None,
    /// The whole request message, except for what the path sets.
    Whole,
    /// One field of it.
    Field(FieldDescriptor),
}

/// Why a rule cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RuleError {
    /// Its path is wrong.
    #[error("HTTP rule of `{method}`")]
    Template {
        /// Full name of the gRPC method.
        method: String,
        /// What is wrong.
        #[source]
        source: TemplateError,
    },
    /// It does not fit the method's messages.
    #[error("HTTP rule of `{method}`: {reason}")]
    Misfit {
        /// Full name of the gRPC method.
        method: String,
        /// What is wrong.
        reason: String,
    },
    /// Another route has the same method and path.
    #[error("HTTP rules of `{method}` and `{other}` accept the same requests")]
    Conflict {
        /// Full name of the gRPC method.
        method: String,
        /// Full name of the method that was there first.
        other: String,
    },
}

/// Every route of a service, in the order of its methods, and what is wrong with those that cannot be used. None for
/// methods without a rule.
pub(crate) fn routes(service: &ServiceDescriptor) -> (Vec<Route>, Vec<RuleError>) {
    let (mut routes, mut faults) = (Vec::new(), Vec::new());
    let Some(option) = service.parent_pool().get_extension_by_name(OPTION) else {
        return (routes, faults);
    };
    for rpc in service.methods() {
        for rule in rules(&rpc, &option) {
            match compile(&rpc, &rule) {
                Ok(route) => routes.push(route),
                Err(fault) => faults.push(fault.of(&rpc)),
            }
        }
    }
    (routes, faults)
}

/// The route that every method has: `POST /package.Service/Method`, the whole request as its body.
///
/// # Errors
/// The method's name cannot be a path.
pub(crate) fn by_name(rpc: &MethodDescriptor) -> Result<Route, RuleError> {
    let path = rpc_path(rpc).map_err(|fault| fault.of(rpc))?;
    let template = Template::parse(path.path()).map_err(|source| Fault::Template(source).of(rpc))?;
    Ok(route(rpc, (Method::POST, path, template), Vec::new(), BodyRule::Whole, None))
}

/// The method's rule and its additional bindings, which do not nest.
fn rules(rpc: &MethodDescriptor, option: &ExtensionDescriptor) -> Vec<DynamicMessage> {
    let options = rpc.options();
    if !options.has_extension(option) {
        return Vec::new();
    }
    let Value::Message(rule) = options.get_extension(option).into_owned() else {
        return Vec::new();
    };
    let more = match rule.get_field_by_name("additional_bindings").map(std::borrow::Cow::into_owned) {
        Some(Value::List(rules)) => rules,
        _ => Vec::new(),
    };
    std::iter::once(Value::Message(rule))
        .chain(more)
        .filter_map(|rule| match rule {
            Value::Message(rule) => Some(rule),
            _ => None,
        })
        .collect()
}

/// A [`RuleError`] that does not know its method yet.
enum Fault {
    Template(TemplateError),
    Misfit(String),
}

impl Fault {
    fn of(self, rpc: &MethodDescriptor) -> RuleError {
        let method = rpc.full_name().to_owned();
        match self {
            Self::Template(source) => RuleError::Template { method, source },
            Self::Misfit(reason) => RuleError::Misfit { method, reason },
        }
    }
}

fn compile(rpc: &MethodDescriptor, rule: &DynamicMessage) -> Result<Route, Fault> {
    let (http_method, path) = pattern(rule)?;
    let template = Template::parse(&path).map_err(Fault::Template)?;
    let (input, output) = (rpc.input(), rpc.output());
    let variables = template
        .variables
        .iter()
        .map(|variable| path_field(&input, &variable.field_path))
        .collect::<Result<Vec<_>, _>>()
        .map_err(Fault::Misfit)?;
    let body = match text(rule, "body").as_str() {
        "" => BodyRule::None,
        "*" => BodyRule::Whole,
        name => BodyRule::Field(named(&input, name).map_err(Fault::Misfit)?),
    };
    let response_field = match text(rule, "response_body").as_str() {
        "" => None,
        name => Some(named(&output, name).map_err(Fault::Misfit)?),
    };
    Ok(route(rpc, (http_method, rpc_path(rpc)?, template), variables, body, response_field))
}

fn rpc_path(rpc: &MethodDescriptor) -> Result<PathAndQuery, Fault> {
    let path = format!("/{}/{}", rpc.parent_service().full_name(), rpc.name());
    path.parse().map_err(|error| Fault::Misfit(format!("its name cannot be a path: {error}")))
}

fn route(
    rpc: &MethodDescriptor,
    (http_method, rpc_path, template): (Method, PathAndQuery, Template),
    variables: Vec<Vec<FieldDescriptor>>,
    body: BodyRule,
    response_field: Option<FieldDescriptor>,
) -> Route {
    let wait_field =
        rpc.input().get_field_by_name(WAIT_FIELD).filter(|field| is_single(field, "google.protobuf.Duration"));
    let raw_request = match &body {
        BodyRule::None => false,
        BodyRule::Whole => rpc.input().full_name() == RAW,
        BodyRule::Field(field) => is_single(field, RAW),
    };
    let raw_response =
        response_field.as_ref().map_or_else(|| rpc.output().full_name() == RAW, |field| is_single(field, RAW));
    let rpc = rpc.clone();
    Route {
        rpc,
        rpc_path,
        http_method,
        template,
        variables,
        body,
        response_field,
        wait_field,
        raw_request,
        raw_response,
    }
}

/// True for a field that holds one message of this name.
fn is_single(field: &FieldDescriptor, name: &str) -> bool {
    !field.is_list() && matches!(field.kind(), Kind::Message(kind) if kind.full_name() == name)
}

/// HTTP method and path template of a rule.
fn pattern(rule: &DynamicMessage) -> Result<(Method, String), Fault> {
    for (name, method) in [
        ("get", Method::GET),
        ("put", Method::PUT),
        ("post", Method::POST),
        ("delete", Method::DELETE),
        ("patch", Method::PATCH),
    ] {
        if rule.has_field_by_name(name) {
            return Ok((method, text(rule, name)));
        }
    }
    match rule.get_field_by_name("custom").as_deref() {
        Some(Value::Message(custom)) if rule.has_field_by_name("custom") => {
            let kind = text(custom, "kind");
            let method = Method::from_bytes(kind.as_bytes())
                .map_err(|_| Fault::Misfit(format!("`{kind}` is not an HTTP method")))?;
            Ok((method, text(custom, "path")))
        }
        _ => Err(Fault::Misfit("it has no path".into())),
    }
}

fn text(message: &DynamicMessage, field: &str) -> String {
    match message.get_field_by_name(field).as_deref() {
        Some(Value::String(text)) => text.clone(),
        _ => String::new(),
    }
}

fn named(message: &MessageDescriptor, name: &str) -> Result<FieldDescriptor, String> {
    message.get_field_by_name(name).ok_or_else(|| format!("`{}` has no field `{name}`", message.full_name()))
}

/// The steps down to a field that a path may set: single values all the way, and no message at the end.
fn path_field(message: &MessageDescriptor, path: &[String]) -> Result<Vec<FieldDescriptor>, String> {
    let mut message = message.clone();
    let mut steps = Vec::with_capacity(path.len());
    for (at, name) in path.iter().enumerate() {
        let field = named(&message, name)?;
        if field.cardinality() == Cardinality::Repeated {
            return Err(format!("`{}` is repeated, so the path cannot set it", path.join(".")));
        }
        match (field.kind(), at + 1 == path.len()) {
            (Kind::Message(next), false) => message = next,
            (Kind::Message(_), true) => {
                return Err(format!("`{}` is a message, so the path cannot set it", path.join(".")));
            }
            (_, false) => return Err(format!("`{name}` is not a message, so it has no fields")),
            (_, true) => {}
        }
        steps.push(field);
    }
    Ok(steps)
}
