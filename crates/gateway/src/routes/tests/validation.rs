//! What a route or a policy may not say, and how that is told.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{CompiledRoute, policy, route};
use crate::{
    routes::compiled::check_policy,
    upstream::{
        Priority,
        policy::{Balancer, Policy},
    },
};

fn refused(json: &Value) -> Vec<(String, String)> {
    let policies =
        BTreeMap::from([("known".to_owned(), policy(&json!({"id": "known", "settings": {"timeout": "1s"}})))]);
    let error = CompiledRoute::new(&route(json), &policies).expect_err(&json.to_string());
    assert_eq!(error.code(), mcp_proto::Code::InvalidArgument);
    error.violations().iter().map(|wrong| (wrong.field.clone(), wrong.description.clone())).collect()
}

/// Each is refused for this field first, with a text that has this in it.
fn assert_refused(cases: &[(Value, &str, &str)]) {
    for (json, field, reason) in cases {
        let wrong = refused(json);
        assert_eq!(wrong[0].0, *field, "{json}: {wrong:?}");
        assert!(wrong[0].1.contains(reason), "{json}: {wrong:?}");
    }
}

#[test]
fn a_wrong_field_is_refused_by_its_name_with_the_reason() {
    let with = |field: &str, value: Value| json!({"id": "a", field: value});
    assert_refused(&[
        (json!({"id": "A b"}), "id", "a-z0-9"),
        (with("priority", json!(2_000_000)), "priority", "1000000"),
        (with("match", json!({"hosts": ["http://x"]})), "match.hosts[0]", "without port"),
        (with("match", json!({"path": {"prefix": "x"}})), "match.path.prefix", "begin with `/`"),
        (with("match", json!({"path": {"exact": "/%zz"}})), "match.path.exact", "percent-encoding"),
        (with("match", json!({"path": {"template": "/{a"}})), "match.path.template", "expected"),
        (with("match", json!({"path": {"exact": "/"}, "grpc": {"service": "a.B"}})), "match.grpc", "excludes"),
        (with("match", json!({"grpc": {"service": "/a"}})), "match.grpc.service", "full name"),
        (with("match", json!({"methods": ["get"]})), "match.methods[0]", "capitals"),
        (with("match", json!({"headers": [{"name": "a b"}]})), "match.headers[0].name", "header"),
        (with("match", json!({"headers": [{"name": "a", "regex": "("}]})), "match.headers[0].regex", "unclosed group"),
        (with("match", json!({"query": [{"exact": "x"}]})), "match.query[0].name", "1 to 1000 bytes"),
        (with("forward", json!({"targets": [{"service": "a b"}]})), "forward.targets[0].service", "name of a service"),
        (with("forward", json!({"targets": [{"service": "a"}, {"service": "b"}]})), "forward.targets", "above 0"),
        (with("forward", json!({"rewrite": {"prefix": "x"}})), "forward.rewrite.prefix", "must be a path"),
        (with("forward", json!({"rewrite": {"path": "/{x}"}})), "forward.rewrite.path", "does not have"),
        (with("forward", json!({"mirror": {"service": ""}})), "forward.mirror.service", "name of a service"),
        (with("forward", json!({"mirror": {"service": "a", "percent": 0}})), "forward.mirror.percent", "above 0"),
        (with("redirect", json!({"status": 200, "host": "x"})), "redirect.status", "308"),
        (with("redirect", json!({})), "redirect", "back to itself"),
        (with("redirect", json!({"scheme": "ftp"})), "redirect.scheme", "https"),
        (with("respond", json!({"status": 99})), "respond.status", "200 and 599"),
        (with("policies", json!(["known", "gone"])), "policies[1]", "`gone`, which is not there"),
    ]);
}

#[test]
fn a_wrong_setting_is_refused_by_its_name_with_the_reason() {
    let with = |field: &str, value: Value| json!({"id": "a", field: value});
    assert_refused(&[
        (with("settings", json!({"timeout": "0s"})), "settings.timeout", "longer than 0"),
        (with("settings", json!({"cors": {}})), "settings.cors.allow_origins", "must name a site"),
        (
            with("settings", json!({"cors": {"allow_origins": ["*"], "allow_credentials": true}})),
            "settings.cors.allow_origins",
            "credentials",
        ),
        (
            with("settings", json!({"cors": {"allow_origins": ["example.com"]}})),
            "settings.cors.allow_origins[0]",
            "a site such as",
        ),
        (
            with("settings", json!({"headers": [{"request": {"set": {"connection": "x"}}}]})),
            "settings.headers[0].request.set",
            "connection",
        ),
        (
            with("settings", json!({"headers": [{"when": {"methods": ["x"]}, "error": {}}]})),
            "settings.headers[0].when.methods[0]",
            "capitals",
        ),
        (
            with("settings", json!({"headers": [{"response": {"add": {"x": "a\nb"}}}]})),
            "settings.headers[0].response.add.x",
            "control",
        ),
        (
            with("settings", json!({"upstream": {"retry": {"attempts": 99}}})),
            "settings.upstream.retry.attempts",
            "from 1 to 10",
        ),
        (
            with("settings", json!({"upstream": {"retry": {"attempts": "x"}}})),
            "settings.upstream.retry.attempts",
            "invalid type",
        ),
        (with("settings", json!({"upstream": {"nonsense": 1}})), "settings.upstream.nonsense", "unknown field"),
        (with("settings", json!({"upstream": {"priority": "urgent"}})), "settings.upstream.priority", "`high`"),
        (with("settings", json!({"layers": [{"name": "nonsense"}]})), "settings.layers[0].name", "must be one of: log"),
        (
            with("settings", json!({"layers": [{"name": "log", "settings": {"a": 1}}]})),
            "settings.layers[0].settings",
            "no settings",
        ),
    ]);
}

#[test]
fn every_wrong_field_is_told_and_not_only_the_first() {
    let wrong =
        refused(&json!({"id": "", "match": {"hosts": ["*"], "methods": ["x"]}, "settings": {"timeout": "-1s"}}));
    let fields: Vec<_> = wrong.iter().map(|(field, _)| field.as_str()).collect();
    assert_eq!(fields, ["id", "match.hosts[0]", "match.methods[0]", "settings.timeout"]);
}

#[test]
fn a_policy_is_checked_like_the_settings_of_a_route() {
    let wrong = check_policy(&policy(&json!({"id": "p", "settings": {"timeout": "0s"}}))).unwrap_err();
    assert_eq!(wrong.violations()[0].field, "settings.timeout");
    check_policy(&policy(
        &json!({"id": "p", "settings": {"timeout": "5s", "json": {"unknown_fields": "UNKNOWN_FIELDS_IGNORE"}}}),
    ))
    .unwrap();
}

#[test]
fn a_route_says_how_its_instances_are_called() {
    let json = json!({"id": "a", "settings": {"upstream": {
        "balancer": {"kind": "ring_hash", "header": "x-user"}, "retry": {"attempts": 3, "safe": true}, "priority": "low"}}});
    let compiled = CompiledRoute::new(&route(&json), &BTreeMap::new()).unwrap();
    let calls = &compiled.facts.calls;
    let policy = calls.policy.as_ref().unwrap();
    assert_eq!((policy.retry.attempts, policy.retry.safe, calls.priority), (3, true, Priority::Low));
    assert_eq!(policy.balancer, Balancer::RingHash { header: "x-user".into() });
    assert_eq!(policy.breaker, Policy::default().breaker, "what is not named has its default");
}
