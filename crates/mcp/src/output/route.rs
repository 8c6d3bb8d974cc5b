//! Routes and policies as tables, and what differs between two of them.

use std::collections::BTreeMap;

use mcp_proto::gateway::v1::{
    Forward, ListRoutesResponse, Policy, RecordProblem, Route, RouteMatch, path_match, route::Action,
};
use serde_json::Value;

use super::table::{plain, second, shortened_to, text};

/// Longest match or action that a row shows, in characters.
const CELL_CHARS_MAX: usize = 60;

/// Routes, policies, and what cannot be used.
pub fn list(routes: &ListRoutesResponse, policies: &[Policy]) -> String {
    let mut table = plain(&["ROUTE", "PRIORITY", "MATCH", "ACTION", "POLICIES", "VERSION", "WRITTEN"]);
    for route in &routes.routes {
        table.add_row([
            route.id.clone(),
            route.priority.to_string(),
            shortened_to(&matched(route.r#match.as_ref()), CELL_CHARS_MAX),
            shortened_to(&action(route), CELL_CHARS_MAX),
            route.policies.join(" "),
            route.version.to_string(),
            second(route.update_time),
        ]);
    }
    let mut parts = vec![text(table)];
    if !policies.is_empty() {
        let mut table = plain(&["POLICY", "VERSION", "WRITTEN", "DESCRIPTION"]);
        for policy in policies {
            let description = shortened_to(&policy.description, CELL_CHARS_MAX);
            table.add_row([policy.id.clone(), policy.version.to_string(), second(policy.update_time), description]);
        }
        parts.push(text(table));
    }
    if !routes.problems.is_empty() {
        parts.push(problems(&routes.problems));
    }
    parts.join("\n\n")
}

fn problems(problems: &[RecordProblem]) -> String {
    let mut table = plain(&["NOT IN FORCE", "VERSION", "IN FORCE", "REASON"]);
    for problem in problems {
        let in_force = match problem.version_in_force {
            0 => "nothing".to_owned(),
            version => version.to_string(),
        };
        table.add_row([
            format!("{}/{}", problem.kind, problem.id),
            problem.version.to_string(),
            in_force,
            problem.reason.clone(),
        ]);
    }
    text(table)
}

fn matched(wanted: Option<&RouteMatch>) -> String {
    let Some(wanted) = wanted else {
        return "everything".to_owned();
    };
    let mut parts = wanted.methods.clone();
    parts.extend(wanted.hosts.iter().cloned());
    if let Some(kind) = wanted.path.as_ref().and_then(|path| path.kind.as_ref()) {
        parts.push(match kind {
            path_match::Kind::Exact(path) | path_match::Kind::Template(path) => path.clone(),
            path_match::Kind::Prefix(path) => format!("{}/**", path.trim_end_matches('/')),
        });
    }
    if let Some(grpc) = &wanted.grpc {
        let method = if grpc.method.is_empty() { "*" } else { &grpc.method };
        parts.push(format!("{}/{method}", grpc.service));
    }
    parts.extend(wanted.headers.iter().map(|header| format!("header:{}", header.name)));
    parts.extend(wanted.query.iter().map(|parameter| format!("query:{}", parameter.name)));
    if parts.is_empty() { "everything".to_owned() } else { parts.join(" ") }
}

fn action(route: &Route) -> String {
    match &route.action {
        None => "forward".to_owned(),
        Some(Action::Forward(forward)) => forwarded(forward),
        Some(Action::Redirect(redirect)) => {
            let status = if redirect.status == 0 { 307 } else { redirect.status };
            format!("redirect {status} {}", redirect.host)
        }
        Some(Action::Respond(answer)) => {
            let status = if answer.status == 0 { 200 } else { answer.status };
            format!("respond {status}")
        }
    }
}

fn forwarded(forward: &Forward) -> String {
    let targets = forward.targets.iter().map(|target| match (forward.targets.len(), target.weight) {
        (1, _) => target.service.clone(),
        (_, weight) => format!("{}={weight}", target.service),
    });
    let mut parts = vec!["forward".to_owned()];
    parts.extend(targets);
    if let Some(mirror) = &forward.mirror {
        parts.push(format!("(copy to {})", mirror.service));
    }
    parts.join(" ")
}

/// The fields in which two records differ, one a line: `+` is new, `-` goes, `~` changes. Empty when they are the same.
pub fn difference(before: &Value, after: &Value) -> String {
    let (before, after) = (fields(before), fields(after));
    let paths: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let line = |path: &String| match (before.get(path), after.get(path)) {
        (None, Some(new)) => Some(format!("  + {path}: {new}")),
        (Some(old), None) => Some(format!("  - {path}: {old}")),
        (Some(old), Some(new)) if old != new => Some(format!("  ~ {path}: {old} -> {new}")),
        _ => None,
    };
    paths.into_iter().filter_map(line).collect::<Vec<_>>().join("\n")
}

/// Every value by its path, but for what the gateway sets and for empty ones.
fn fields(record: &Value) -> BTreeMap<String, String> {
    fn walk(path: &str, value: &Value, found: &mut BTreeMap<String, String>) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    walk(&if path.is_empty() { name.clone() } else { format!("{path}.{name}") }, value, found);
                }
            }
            Value::Array(items) => {
                for (index, value) in items.iter().enumerate() {
                    walk(&format!("{path}[{index}]"), value, found);
                }
            }
            Value::Null => {}
            value => drop(found.insert(path.to_owned(), value.to_string())),
        }
    }
    let mut found = BTreeMap::new();
    walk("", record, &mut found);
    found.remove("version");
    found.remove("updateTime");
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::difference;

    #[test]
    fn what_differs_is_told_by_its_path() {
        let before = json!({"version": "1", "a": {"b": [1, 2]}, "gone": "x", "same": true});
        let after = json!({"version": "2", "a": {"b": [1, 3]}, "new": "y", "same": true});
        assert_eq!(difference(&before, &after), "  ~ a.b[1]: 2 -> 3\n  - gone: \"x\"\n  + new: \"y\"");
        assert_eq!(difference(&before, &before), "");
    }
}
