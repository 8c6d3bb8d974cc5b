//! Writing and reading routes and policies.

use bytes::Bytes;
use http::Method;
use mcp_proto::{
    Code, Error,
    gateway::v1::{
        ApplyRouteRequest, DeletePolicyRequest, DeleteRouteRequest, GetPolicyRequest, GetRouteRequest,
        ListPoliciesRequest, ListRoutesRequest,
    },
};
use serde_json::json;
use testkit::eventually;
use tonic::Status;

use super::{Edge, route};
use crate::support::LIMIT;

fn failed<T: std::fmt::Debug>(result: Result<T, Status>) -> Error {
    Error::from(&result.expect_err("it is refused"))
}

#[tokio::test]
async fn a_route_is_written_read_listed_and_deleted_by_its_version() {
    let mut edge = Edge::start().await;
    let first = edge.apply(json!({"id": "a", "description": "one"})).await;
    assert!(first.version > 0 && first.update_time.is_some());
    let second = edge.apply(json!({"id": "a", "description": "two", "version": first.version})).await;
    assert!(second.version > first.version);
    let stale = route(&json!({"id": "a", "version": first.version}));
    let error = failed(edge.routes.apply_route(ApplyRouteRequest { route: Some(stale), validate_only: false }).await);
    assert_eq!((error.code(), &error.metadata()["version"]), (Code::Aborted, &second.version.to_string()));
    let got = edge.routes.get_route(GetRouteRequest { id: "a".into() }).await.unwrap().into_inner().route.unwrap();
    assert_eq!(got, second);

    for id in ["c", "b"] {
        edge.apply(json!({"id": id})).await;
    }
    let page = ListRoutesRequest { page_size: 2, ..Default::default() };
    let page = edge.routes.list_routes(page).await.unwrap().into_inner();
    let ids =
        |routes: &[mcp_proto::gateway::v1::Route]| routes.iter().map(|route| route.id.clone()).collect::<Vec<_>>();
    assert_eq!((ids(&page.routes), page.next_page_token.as_str()), (vec!["a".to_owned(), "b".into()], "b"));
    let page = ListRoutesRequest { page_token: page.next_page_token, ..Default::default() };
    let page = edge.routes.list_routes(page).await.unwrap().into_inner();
    assert_eq!((ids(&page.routes), page.next_page_token.as_str()), (vec!["c".to_owned()], ""));

    let mut delete = async |id: &str, version| {
        edge.routes.delete_route(DeleteRouteRequest { id: id.into(), version }).await.map(drop)
    };
    assert_eq!(failed(delete("a", first.version).await).code(), Code::Aborted);
    delete("a", second.version).await.unwrap();
    delete("b", 0).await.unwrap();
    assert_eq!(failed(delete("b", 0).await).code(), Code::NotFound);
    assert_eq!(failed(delete("no such id", 0).await).code(), Code::InvalidArgument);
    assert_eq!(failed(edge.routes.get_route(GetRouteRequest { id: "a".into() }).await).code(), Code::NotFound);
}

#[tokio::test]
async fn a_wrong_route_is_refused_by_field_and_nothing_is_stored() {
    let mut edge = Edge::start().await;
    let wrong =
        route(&json!({"id": "a", "match": {"hosts": ["*"]}, "policies": ["gone"], "settings": {"timeout": "0s"}}));
    for validate_only in [true, false] {
        let request = ApplyRouteRequest { route: Some(wrong.clone()), validate_only };
        let error = failed(edge.routes.apply_route(request).await);
        assert_eq!(error.code(), Code::InvalidArgument);
        let fields: Vec<_> = error.violations().iter().map(|wrong| wrong.field.as_str()).collect();
        assert_eq!(fields, ["route.match.hosts[0]", "route.policies[0]", "route.settings.timeout"]);
    }
    let request = ApplyRouteRequest { route: Some(route(&json!({"id": "a"}))), validate_only: true };
    edge.routes.apply_route(request).await.unwrap();
    assert!(edge.routes.list_routes(ListRoutesRequest::default()).await.unwrap().into_inner().routes.is_empty());
    let error = failed(edge.routes.apply_route(ApplyRouteRequest::default()).await);
    assert_eq!(error.violations()[0].field, "route");
}

#[tokio::test]
async fn the_same_goes_by_http() {
    let edge = Edge::start().await;
    let put = |path: &'static str, body: &'static str| {
        edge.cluster.send(
            Method::PUT,
            path,
            &[("content-type", "application/json")],
            Bytes::from_static(body.as_bytes()),
        )
    };
    let answer = put("/v1/policies/p", r#"{"settings": {"timeout": "3s"}}"#).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["settings"]["timeout"]), (200, &json!("3s")), "{answer:?}");
    let answer = put("/v1/routes/a", r#"{"match": {"path": {"prefix": "/a"}}, "policies": ["p"]}"#).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["id"]), (200, &json!("a")), "{answer:?}");
    let answer = put("/v1/routes/b", r#"{"match": {"path": {"prefix": "a"}}}"#).await;
    assert_eq!(answer.error(), "400 INVALID_ARGUMENT");
    assert_eq!(answer.json()["details"][0]["fieldViolations"][0]["field"], "route.match.path.prefix", "{answer:?}");
    assert_eq!(edge.cluster.get("/v1/routes").await.json()["routes"][0]["policies"], json!(["p"]));
    assert_eq!(edge.cluster.get("/v1/policies/p").await.json()["id"], "p");
    let answer = edge.cluster.send(Method::DELETE, "/v1/policies/p", &[], Bytes::new()).await;
    assert_eq!(answer.error(), "409 FAILED_PRECONDITION");
    for path in ["/v1/routes/a", "/v1/policies/p"] {
        assert_eq!(edge.cluster.send(Method::DELETE, path, &[], Bytes::new()).await.status, 200, "{path}");
        assert_eq!(edge.cluster.get(path).await.error(), "404 NOT_FOUND", "{path}");
    }
}

#[tokio::test]
async fn a_policy_in_use_stays_and_must_go_with_its_routes() {
    let mut edge = Edge::start().await;
    edge.apply_policy(json!({"id": "p", "settings": {"timeout": "1s"}})).await;
    edge.apply(json!({"id": "a", "policies": ["p"]})).await;
    let delete = || DeletePolicyRequest { id: "p".into(), version: 0 };
    let error = failed(edge.routes.delete_policy(delete()).await);
    assert_eq!(error.code(), Code::FailedPrecondition);
    assert!(error.message().contains("`a`"), "{error}");
    let got = edge.routes.get_policy(GetPolicyRequest { id: "p".into() }).await.unwrap().into_inner().policy.unwrap();
    let listed = edge.routes.list_policies(ListPoliciesRequest::default()).await.unwrap().into_inner().policies;
    assert_eq!(listed, [got]);
    edge.apply(json!({"id": "a"})).await;
    edge.routes.delete_policy(delete()).await.unwrap();
}

#[tokio::test]
async fn a_broken_record_in_the_store_keeps_the_last_good_one_and_is_shown() {
    let mut edge = Edge::start().await;
    let good = edge.apply(json!({"id": "a", "match": {"path": {"exact": "/a"}}, "respond": {"body": "good"}})).await;
    edge.settled().await;
    let key = mcp_coord::keys::route("test", "a");
    edge.cluster.coord.put(&key, Bytes::from_static(b"{\"match\": {\"hosts\": [\"*\"]}}"), None).await.unwrap();
    let problem = eventually(LIMIT, || {
        let mut routes = edge.routes.clone();
        async move {
            let listed = routes.list_routes(ListRoutesRequest::default()).await.unwrap().into_inner();
            listed.problems.first().cloned().ok_or_else(|| "no problem is told".to_owned())
        }
    })
    .await;
    assert_eq!((problem.kind.as_str(), problem.id.as_str(), problem.version_in_force), ("route", "a", good.version));
    assert!(problem.reason.contains("match.hosts[0]"), "{problem:?}");
    assert_eq!(edge.cluster.get("/a").await.text(), "good");
    edge.apply(json!({"id": "a", "match": {"path": {"exact": "/a"}}, "respond": {"body": "better"}})).await;
    edge.settled().await;
    assert_eq!(edge.cluster.get("/a").await.text(), "better");
    let listed = edge.routes.list_routes(ListRoutesRequest::default()).await.unwrap().into_inner();
    assert!(listed.problems.is_empty(), "{listed:?}");
}
