//! A route made ready for requests, or every reason why it cannot be.

use std::{cmp::Ordering, collections::BTreeMap, sync::Arc};

use mcp_proto::{
    Error,
    frame::Command,
    gateway::v1::{Policy, Route, RouteMatch, Settings, UnknownFields, route},
};

use super::{
    access, action::Action, facts::RouteFacts, hosts::HostPattern, path::PathPattern, predicate::Predicate, rates,
    settings::merge, upstream, violations::Violations,
};
use crate::onion::{
    layers,
    plan::{Plan, Subject},
};

/// Longest id, in bytes.
const ID_BYTES_MAX: usize = 100;
/// Longest description, in bytes.
const DESCRIPTION_BYTES_MAX: usize = 1_000;
/// Most hosts of a route.
const HOSTS_MAX: usize = 32;
/// Most policies of a route.
const POLICIES_MAX: usize = 16;
/// Highest and lowest priority.
const PRIORITY_MAX: i32 = 1_000_000;

/// A route that requests can take.
#[derive(Debug)]
pub(crate) struct CompiledRoute {
    /// What answers a request has to know.
    pub(crate) facts: Arc<RouteFacts>,
    /// Its layers, the outermost first.
    pub(crate) layers: Box<[Arc<dyn Plan>]>,
    /// The version of its record; 0 for the default route, which has none.
    pub(super) version: u64,
    pub(super) priority: i32,
    pub(super) hosts: Box<[HostPattern]>,
    pub(super) path: PathPattern,
    pub(super) is_grpc: bool,
    pub(super) predicate: Predicate,
    /// A command of the wire frame, and the path of the method that it stands for.
    pub(super) command: Option<Box<(u16, String)>>,
}

impl CompiledRoute {
    /// The route that requests take when no other has them.
    pub(crate) fn default_route() -> Self {
        Self {
            facts: Arc::default(),
            layers: Box::default(),
            version: 0,
            priority: i32::MIN,
            hosts: Box::default(),
            path: PathPattern::any(),
            is_grpc: false,
            predicate: Predicate::default(),
            command: None,
        }
    }

    /// Compiles a route with the settings of the policies that it names.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` with every wrong field; a policy that is not there is one.
    pub(crate) fn new(route: &Route, policies: &BTreeMap<String, Arc<Policy>>) -> Result<Self, Error> {
        let mut wrong = Violations::default();
        check_names(&route.id, &route.description, &mut wrong);
        let priority_fits = (-PRIORITY_MAX..=PRIORITY_MAX).contains(&route.priority);
        wrong.check(priority_fits, "priority", "must be within -1000000 and 1000000");
        let everything = RouteMatch::default();
        let wanted = route.r#match.as_ref().unwrap_or(&everything);
        wrong.at_most(wanted.hosts.len(), HOSTS_MAX, "match.hosts");
        let mut hosts: Vec<HostPattern> = Vec::new();
        for (index, host) in wanted.hosts.iter().take(HOSTS_MAX).enumerate() {
            hosts.extend(wrong.take(&format!("match.hosts[{index}]"), HostPattern::parse(host)));
        }
        if wanted.hosts.is_empty() {
            hosts.push(HostPattern::Any);
        }
        hosts.sort();
        hosts.dedup();
        let path = match (&wanted.path, &wanted.grpc) {
            (Some(_), Some(_)) => {
                wrong.add("match.grpc", "excludes `match.path`: a gRPC method has its path already");
                None
            }
            (None, Some(grpc)) => PathPattern::of_grpc(grpc, "match.grpc", &mut wrong),
            (Some(path), None) => PathPattern::compile(path, "match.path", &mut wrong),
            (None, None) => Some(PathPattern::any()),
        };
        let command = command_of(wanted, &mut wrong);
        let parts = (&*wanted.methods, &*wanted.headers, &*wanted.query);
        let predicate = Predicate::compile(parts, "match.", &mut wrong);
        // What is wrong with the path was told; it need not look as if the rewrite were wrong too.
        let pattern = path.unwrap_or_else(PathPattern::any);
        let action = Action::compile(route, Some(&pattern), &mut wrong);
        let settings = settings_of(route, policies, &mut wrong);
        let layers = layers::plan(&subject(route, &settings), &mut wrong);
        let facts = facts(&route.id, &settings, action.unwrap_or_default(), &mut wrong);
        wrong.into_result()?;
        let is_grpc = wanted.grpc.is_some();
        Ok(Self {
            facts,
            layers: layers.into(),
            version: route.version,
            priority: route.priority,
            hosts: hosts.into(),
            path: pattern,
            is_grpc,
            predicate,
            command,
        })
    }

    /// Where it stands for requests to `host` beside another for requests to its host: the lesser comes first.
    pub(super) fn order(&self, host: &HostPattern, (other, other_host): (&Self, &HostPattern)) -> Ordering {
        let greater_first = other.priority.cmp(&self.priority).then_with(|| other_host.cmp(host));
        greater_first
            .then_with(|| other.path.cmp_specific(&self.path))
            .then_with(|| other.predicate.specificity().cmp(&self.predicate.specificity()))
            .then_with(|| self.facts.id.cmp(&other.facts.id))
    }
}

/// Checks a policy as it stands, without the routes that name it.
///
/// # Errors
/// `INVALID_ARGUMENT` with every wrong field.
pub(crate) fn check_policy(policy: &Policy) -> Result<(), Error> {
    let mut wrong = Violations::default();
    check_names(&policy.id, &policy.description, &mut wrong);
    let settings = policy.settings.clone().unwrap_or_default();
    layers::plan(&Subject { settings: &settings, mirror: None }, &mut wrong);
    facts(&policy.id, &settings, Action::default(), &mut wrong);
    wrong.into_result()
}

/// Checks the id of a route or a policy.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn check_id(id: &str) -> Result<(), String> {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'_' | b'-');
    if (1..=ID_BYTES_MAX).contains(&id.len()) && id.bytes().all(allowed) {
        Ok(())
    } else {
        Err("must be 1 to 100 characters of `a-z0-9._-`".to_owned())
    }
}

fn check_names(id: &str, description: &str, wrong: &mut Violations) {
    wrong.take("id", check_id(id));
    wrong.check(description.len() <= DESCRIPTION_BYTES_MAX, "description", "must have at most 1000 bytes");
}

/// The command that stands for the method of a match.
fn command_of(wanted: &RouteMatch, wrong: &mut Violations) -> Option<Box<(u16, String)>> {
    let frame = wanted.frame.as_ref()?;
    let command = u16::try_from(frame.cmd).ok().filter(|command| Command(*command).is_user());
    wrong.check(command.is_some(), "match.frame.cmd", "must be within 0x8000 and 0xffff, the commands of users");
    let method = wanted.grpc.as_ref().filter(|grpc| !grpc.method.is_empty());
    wrong.check(method.is_some(), "match.frame", "needs `match.grpc` with a method: what the command stands for");
    let method = method?;
    Some(Box::new((command?, format!("/{}/{}", method.service, method.method))))
}

fn subject<'a>(route: &'a Route, settings: &'a Settings) -> Subject<'a> {
    let mirror = match &route.action {
        Some(route::Action::Forward(forward)) => forward.mirror.as_ref(),
        Some(route::Action::Redirect(_) | route::Action::Respond(_)) | None => None,
    };
    Subject { settings, mirror }
}

fn settings_of(route: &Route, policies: &BTreeMap<String, Arc<Policy>>, wrong: &mut Violations) -> Settings {
    wrong.at_most(route.policies.len(), POLICIES_MAX, "policies");
    let mut settings = Settings::default();
    for (index, id) in route.policies.iter().take(POLICIES_MAX).enumerate() {
        match policies.get(id) {
            Some(policy) => settings = merge(settings, policy.settings.clone().unwrap_or_default()),
            None => wrong.add(format!("policies[{index}]"), format!("names the policy `{id}`, which is not there")),
        }
    }
    merge(settings, route.settings.clone().unwrap_or_default())
}

fn facts(id: &str, settings: &Settings, action: Action, wrong: &mut Violations) -> Arc<RouteFacts> {
    let unknown_fields = settings.json.as_ref().map_or(0, |json| json.unknown_fields);
    let known = UnknownFields::try_from(unknown_fields);
    wrong.check(known.is_ok(), "settings.json.unknown_fields", "is not one of the choices");
    let calls = upstream::compile(settings.upstream.as_ref(), wrong);
    let rate_limits = rates::compile(&settings.rate_limits, wrong);
    let access = access::compile(settings.auth.as_ref(), wrong);
    Arc::new(RouteFacts {
        id: id.into(),
        action,
        calls,
        access,
        rate_limits,
        ignore_unknown_fields: known == Ok(UnknownFields::Ignore),
    })
}
