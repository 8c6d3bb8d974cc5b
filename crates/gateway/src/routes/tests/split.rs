//! Shares of targets, rewrites and redirects.

use std::collections::BTreeMap;

use http::Uri;
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};

use super::{CompiledRoute, route};
use crate::routes::action::{Action, Forward};

fn forward<T>(json: &Value, then: impl FnOnce(&Forward) -> T) -> T {
    let compiled = CompiledRoute::new(&route(json), &BTreeMap::new()).unwrap();
    match &compiled.facts.action {
        Action::Forward(forward) => then(forward),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_weighted_split_gives_its_shares() {
    let json = json!({"id": "a", "forward": {"targets": [
        {"service": "stable", "weight": 97}, {"service": "none", "weight": 0}, {"service": "acme.Canary", "weight": 3}]}});
    let mut random = StdRng::seed_from_u64(7);
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    forward(&json, |forward| {
        assert!(forward.is_split());
        for _ in 0..100_000 {
            *counts.entry(forward.target(random.random()).unwrap().to_string()).or_default() += 1;
        }
    });
    assert_eq!(counts.keys().collect::<Vec<_>>(), ["@stable", "acme.Canary"]);
    assert!((2_800..3_200).contains(&counts["acme.Canary"]), "{counts:?}");
}

#[test]
fn one_target_needs_no_weight_and_none_is_the_service_of_the_path() {
    let only = json!({"id": "a", "forward": {"targets": [{"service": "only"}]}});
    assert_eq!(forward(&only, |forward| forward.target(9).cloned()).as_deref(), Some("@only"));
    assert_eq!(forward(&json!({"id": "a", "forward": {}}), |forward| forward.target(9).cloned()), None);
    assert_eq!(forward(&json!({"id": "a"}), |forward| forward.target(9).cloned()), None);
}

#[test]
fn paths_are_rewritten() {
    for (path_match, rewrite, path, expected) in [
        (json!({"prefix": "/api"}), json!({"prefix": "/"}), "/api/v1/x?q=1", "/v1/x?q=1"),
        (json!({"prefix": "/api"}), json!({"prefix": "/"}), "/api", "/"),
        (json!({"prefix": "/api"}), json!({"prefix": "/"}), "/api/", "/"),
        (json!({"prefix": "/"}), json!({"prefix": "/v1"}), "/x", "/v1/x"),
        (json!({"prefix": "/a/b"}), json!({"prefix": "/c/"}), "/a/b/d%20e", "/c/d%20e"),
        (json!({"prefix": "/api"}), json!({"path": "/fixed"}), "/api/x?q=1", "/fixed?q=1"),
        (
            json!({"template": "/shops/{shop}/i/{item=**}"}),
            json!({"path": "/v1/{item}/of/{shop}:get"}),
            "/shops/a%2Fb/i/1/2",
            "/v1/1/2/of/a%2Fb:get",
        ),
        (
            json!({"prefix": "/acme.v1.Shop"}),
            json!({"grpc_service": "acme.v2.Shop"}),
            "/acme.v1.Shop/Get",
            "/acme.v2.Shop/Get",
        ),
    ] {
        let json = json!({"id": "a", "match": {"path": path_match}, "forward": {"rewrite": rewrite}});
        let found =
            forward(&json, |forward| forward.rewrite.as_ref().unwrap().apply(&path.parse::<Uri>().unwrap()).unwrap());
        assert_eq!(found.as_str(), expected, "{json}");
    }
}

#[test]
fn redirects_name_where_to_go() {
    for (redirect, path, expected) in [
        (json!({"scheme": "https"}), "/x?q=1", "307 https://asked:8080/x?q=1"),
        (json!({"host": "example.org", "status": 301}), "/x", "301 https://example.org/x"),
        (json!({"path": {"prefix": "/new"}}), "/old/x?q=1", "307 /new/x?q=1"),
        (json!({"path": {"prefix": "/"}, "drop_query": true}), "/old//evil.example?q=1", "307 /evil.example"),
        (json!({"scheme": "http", "host": "h:1", "path": {"path": "/p"}, "status": 308}), "/old", "308 http://h:1/p"),
    ] {
        let json = json!({"id": "a", "match": {"path": {"prefix": "/old"}}, "redirect": redirect});
        let compiled = CompiledRoute::new(&route(&json), &BTreeMap::new()).unwrap();
        let Action::Redirect(redirect) = &compiled.facts.action else { panic!("{json}") };
        let location = redirect.location(&path.parse().unwrap(), "asked:8080").unwrap();
        assert_eq!(format!("{} {}", redirect.status.as_u16(), location.to_str().unwrap()), expected, "{json}");
    }
}
