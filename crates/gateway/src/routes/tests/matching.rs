//! Which route a request takes.

use serde_json::json;

use super::{table, taken};

#[test]
fn paths_are_told_apart_segment_by_segment() {
    let table = table(&[
        json!({"id": "exact", "match": {"path": {"exact": "/shops"}}}),
        json!({"id": "prefix", "match": {"path": {"prefix": "/shops/"}}}),
        json!({"id": "template", "match": {"path": {"template": "/shops/{shop}"}}}),
        json!({"id": "deep", "match": {"path": {"prefix": "/shops/berlin/items"}}}),
        json!({"id": "middle", "match": {"path": {"template": "/shops/*/items/{item}"}}}),
        json!({"id": "verb", "match": {"path": {"template": "/shops/{shop}:close"}}}),
        json!({"id": "rest", "match": {"path": {"template": "/files/{name=**}"}}}),
        json!({"id": "space", "match": {"path": {"exact": "/a%20b"}}}),
    ]);
    for (request, expected) in [
        ("GET /shops", "exact"),
        ("GET /shops?x=1", "exact"),
        ("GET /shops/", "prefix"),
        ("GET /shopsx", "default"),
        ("GET /shops/berlin", "template"),
        ("GET /shops/berlin/", "prefix"),
        ("GET /shops/berlin/items", "deep"),
        ("GET /shops/berlin/items/7", "deep"),
        ("GET /shops/paris/items/7", "middle"),
        ("GET /shops/paris/items/7/x", "prefix"),
        ("GET /shops/paris:close", "verb"),
        ("GET /shops/paris:open", "template"),
        ("GET /sh%6Fps/b%65rlin/items", "deep"),
        ("GET /files", "rest"),
        ("GET /files/a/b/c", "rest"),
        ("GET /a%20b", "space"),
        ("GET /", "default"),
    ] {
        assert_eq!(taken(&table, request), expected, "{request}");
    }
}

#[test]
fn hosts_methods_headers_and_queries_must_all_fit() {
    let table = table(&[
        json!({"id": "host", "match": {"hosts": ["api.example.com", "example.org"]}}),
        json!({"id": "below", "match": {"hosts": ["*.example.com"]}}),
        json!({"id": "deeper", "match": {"hosts": ["*.eu.example.com"]}}),
        json!({"id": "method", "match": {"path": {"exact": "/m"}, "methods": ["PUT", "POST"]}}),
        json!({"id": "header", "match": {"path": {"exact": "/h"}, "headers": [{"name": "X-Tenant", "exact": "a"}]}}),
        json!({"id": "prefix", "match": {"path": {"exact": "/h"}, "headers": [{"name": "x-tenant", "prefix": "b-"}]}}),
        json!({"id": "regex", "match": {"path": {"exact": "/h"}, "headers": [{"name": "x-tenant", "regex": "c[0-9]+"}]}}),
        json!({"id": "there", "match": {"path": {"exact": "/t"}, "headers": [{"name": "x-a"}]}}),
        json!({"id": "absent", "match": {"path": {"exact": "/t"}, "headers": [{"name": "x-b", "present": false}]}}),
        json!({"id": "query", "match": {"path": {"exact": "/q"}, "query": [{"name": "v", "exact": "a b"}]}}),
        json!({"id": "both", "match": {"path": {"exact": "/q"},
            "query": [{"name": "v", "exact": "a b"}, {"name": "debug"}]}}),
    ]);
    for (request, expected) in [
        ("GET /x\nhost: api.example.com", "host"),
        ("GET /x\nhost: API.EXAMPLE.COM:8080", "host"),
        ("GET http://example.org/x", "host"),
        ("GET /x\nhost: www.example.com", "below"),
        ("GET /x\nhost: a.eu.example.com", "deeper"),
        ("GET /x\nhost: eu.example.com", "below"),
        ("GET /x\nhost: example.com", "default"),
        ("PUT /m", "method"),
        ("GET /m", "default"),
        ("GET /h\nx-tenant: a", "header"),
        ("GET /h\nx-tenant: z\nx-tenant: a", "header"),
        ("GET /h\nx-tenant: b-1", "prefix"),
        ("GET /h\nx-tenant: c12", "regex"),
        ("GET /h\nx-tenant: xc12", "default"),
        ("GET /h", "default"),
        ("GET /t\nx-a: 1\nx-b: 1", "there"),
        ("GET /t", "absent"),
        ("GET /t\nx-b: 1", "default"),
        ("GET /q?v=a+b", "query"),
        ("GET /q?w=1&v=a%20b", "query"),
        ("GET /q?v=a%20b&debug", "both"),
        ("GET /q?v=ab", "default"),
    ] {
        assert_eq!(taken(&table, request), expected, "{request}");
    }
}

#[test]
fn the_order_of_routes_is_the_documented_one() {
    // Each route accepts the same request, and each comes before all that follow it.
    let path = |text: &str| json!({"prefix": text});
    let header = json!([{"name": "a", "exact": "1"}]);
    let two_headers = json!([{"name": "a", "exact": "1"}, {"name": "b"}]);
    let query = json!([{"name": "q"}]);
    let mut routes = vec![
        json!({"id": "9-priority", "priority": 1}),
        json!({"id": "8-host", "match": {"hosts": ["a.b.c"]}}),
        json!({"id": "7-below-longer", "match": {"hosts": ["*.b.c"]}}),
        json!({"id": "6-below", "match": {"hosts": ["*.c"], "path": {"exact": "/x/y"}}}),
        json!({"id": "5-exact", "match": {"path": {"exact": "/x/y"}}}),
        json!({"id": "4-prefix-all", "match": {"path": path("/x/y"), "methods": ["GET"], "headers": two_headers}}),
        json!({"id": "3-longer", "match": {"path": path("/x/y")}}),
        json!({"id": "2-template", "match": {"path": {"template": "/x/{v}"}}}),
        json!({"id": "2-x-method-headers", "match": {"path": path("/x"), "methods": ["GET"], "headers": two_headers}}),
        json!({"id": "2-x-method-query", "match": {"path": path("/x"), "methods": ["GET"], "headers": header, "query": query}}),
        json!({"id": "2-x-method", "match": {"path": path("/x"), "methods": ["GET"]}}),
        json!({"id": "1-header-query", "match": {"path": path("/x"), "headers": header, "query": query}}),
        json!({"id": "1-header", "match": {"path": path("/x"), "headers": header}}),
        json!({"id": "1-query", "match": {"path": path("/x"), "query": query}}),
        json!({"id": "1-prefix-a", "match": {"path": path("/x")}}),
        json!({"id": "1-prefix-b", "match": {"path": path("/x")}}),
        json!({"id": "0-all"}),
        json!({"id": "x-last", "priority": -1, "match": {"hosts": ["a.b.c"], "path": {"exact": "/x/y"}}}),
    ];
    let request = "GET /x/y?q=1\nhost: a.b.c\na: 1\nb: 2";
    while let Some(first) = routes.first() {
        let mut shuffled = routes.clone();
        shuffled.reverse();
        assert_eq!(taken(&table(&shuffled), request), first["id"].as_str().unwrap());
        routes.remove(0);
    }
}

#[test]
fn a_route_for_a_grpc_method_has_its_json_form_too() {
    let table = table(&[
        json!({"id": "service", "match": {"grpc": {"service": "acme.Shop"}}}),
        json!({"id": "method", "match": {"grpc": {"service": "acme.Shop", "method": "Get"}}}),
        json!({"id": "path", "match": {"path": {"prefix": "/v1"}}}),
        json!({"id": "plain", "match": {"path": {"exact": "/acme.Shop/Get"}}, "priority": -1}),
    ]);
    for (request, expected) in [
        ("POST /acme.Shop/Get /acme.Shop/Get", "method"),
        ("POST /acme.Shop/Put /acme.Shop/Put", "service"),
        ("POST /acme.Shop/Get", "plain"),
        ("GET /shops/7 /acme.Shop/Get", "method"),
        ("GET /v1/shops/7 /acme.Shop/Get", "method"),
        ("GET /v1/shops/7 /acme.Other/Get", "path"),
    ] {
        assert_eq!(taken(&table, request), expected, "{request}");
    }
}
