//! API keys and roles.

use http::{Method, uri::PathAndQuery};
use mcp_proto::{
    gateway::v1::{ListKeysRequest, ListKeysResponse},
    scheduler::v1::{ListTasksRequest, SubmitTaskRequest, TaskSpec, task_service_client::TaskServiceClient},
};
use serde_json::json;
use testkit::eventually;

use super::{BOOTSTRAP, bearing, closed, reason, refusal};
use crate::{
    backend::Backend,
    support::{Cluster, LIMIT},
};

/// Makes a key with these roles, each `role@namespace`, and waits until it counts.
async fn make(cluster: &Cluster, name: &str, roles: &[&str]) -> (String, String) {
    let grants: Vec<_> = roles
        .iter()
        .map(|role| {
            let (role, namespace) = role.split_once('@').unwrap_or((role, ""));
            json!({"role": format!("ROLE_{}", role.to_uppercase()), "namespace": namespace})
        })
        .collect();
    let request = json!({"name": name, "grants": grants}).to_string();
    let answer = cluster.with_token(Method::POST, "/v1/keys", BOOTSTRAP, &request).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let made = answer.json();
    let (id, secret) = (made["key"]["id"].as_str().unwrap().to_owned(), made["secret"].as_str().unwrap().to_owned());
    assert!(secret.starts_with(&format!("mcp_{id}_")));
    assert_eq!((&made["key"]["name"], &made["key"]["createdBy"]), (&json!(name), &json!("bootstrap")));
    eventually(LIMIT, || async {
        let answer = cluster.get_with("/", &secret).await;
        if answer.status == 200 { Ok(()) } else { Err(format!("{answer:?}")) }
    })
    .await;
    (id, secret)
}

#[tokio::test]
async fn a_key_is_shown_once_kept_as_a_hash_and_ends_when_revoked() {
    let backend = Backend::start("one").await;
    let cluster = Cluster::configured(closed(), &[&backend]).await;
    let (id, secret) = make(&cluster, "ci", &["operator"]).await;
    let task = cluster.task_with("7", &secret).await.unwrap();
    let labels = task.spec.unwrap().labels;
    assert_eq!(labels["mcp-principal"], format!("key:{id}"));
    assert!(!labels.contains_key("authorization"), "our keys stay here");

    let listed = cluster.get_with("/v1/keys", BOOTSTRAP).await;
    assert_eq!(listed.json()["keys"][0]["id"], json!(id));
    let random = secret.rsplit_once('_').map_or(&*secret, |(_, random)| random);
    assert!(!listed.text().contains(random));
    let stored = cluster.coord.range("").await.unwrap();
    let values: Vec<String> =
        stored.entries.iter().map(|entry| String::from_utf8_lossy(&entry.value).into_owned()).collect();
    assert!(stored.entries.iter().any(|entry| entry.key.ends_with(&format!("/keys/{id}"))), "{values:?}");
    assert!(!values.iter().any(|value| value.contains(random) || value.contains(&secret)), "{values:?}");

    let gone = cluster.with_token(Method::DELETE, &format!("/v1/keys/{id}"), BOOTSTRAP, "").await;
    assert_eq!(gone.status, 200);
    eventually(LIMIT, || async {
        let answer = cluster.get_with("/v1/tasks/7", &secret).await;
        if answer.status == 401 && reason(&answer) == "KEY_UNKNOWN" { Ok(()) } else { Err(format!("{answer:?}")) }
    })
    .await;
    let again = cluster.with_token(Method::DELETE, &format!("/v1/keys/{id}"), BOOTSTRAP, "").await;
    assert_eq!(again.error(), "404 NOT_FOUND");
}

#[tokio::test]
async fn a_wrong_request_for_a_key_names_what_is_wrong() {
    let cluster = Cluster::configured(closed(), &[]).await;
    for (request, field) in [
        (json!({"grants": [{"role": "ROLE_VIEWER"}]}), "name"),
        (json!({"name": "x"}), "grants"),
        (json!({"name": "x", "grants": [{}]}), "grants[0].role"),
        (json!({"name": "x", "grants": [{"role": "ROLE_VIEWER", "namespace": "A B"}]}), "grants[0].namespace"),
        (json!({"name": "x", "grants": [{"role": "ROLE_VIEWER"}], "ttl": "0s"}), "ttl"),
    ] {
        let answer = cluster.with_token(Method::POST, "/v1/keys", BOOTSTRAP, &request.to_string()).await;
        assert_eq!(answer.error(), "400 INVALID_ARGUMENT", "{request}");
        assert_eq!(answer.json()["details"][0]["fieldViolations"][0]["field"], field, "{request}");
    }
}

#[tokio::test]
async fn a_key_ends_by_itself() {
    let cluster = Cluster::configured(closed(), &[]).await;
    let request = json!({"name": "short", "grants": [{"role": "ROLE_VIEWER"}], "ttl": "0.001s"}).to_string();
    let made = cluster.with_token(Method::POST, "/v1/keys", BOOTSTRAP, &request).await.json();
    let secret = made["secret"].as_str().unwrap();
    eventually(LIMIT, || async {
        let answer = cluster.get_with("/", secret).await;
        if reason(&answer) == "KEY_EXPIRED" { Ok(()) } else { Err(format!("{answer:?}")) }
    })
    .await;
}

#[tokio::test]
async fn roles_decide_what_a_key_may_do() {
    let backend = Backend::start("one").await;
    let cluster = Cluster::configured(closed(), &[&backend]).await;
    let (_, viewer) = make(&cluster, "viewer", &["viewer"]).await;
    let (_, operator) = make(&cluster, "operator", &["operator"]).await;
    let (_, admin) = make(&cluster, "admin", &["admin"]).await;
    for (method, path, needed) in [
        (Method::GET, "/v1/tasks/7", 0),
        (Method::GET, "/v1/services", 0),
        (Method::POST, "/v1/tasks", 1),
        (Method::POST, "/v1/services", 1),
        (Method::GET, "/v1/keys", 2),
        (Method::DELETE, "/v1/keys/0000000000000000", 2),
    ] {
        for (held, key) in [&viewer, &operator, &admin].into_iter().enumerate() {
            let answer = cluster.with_token(method.clone(), path, key, "").await;
            let is_refused = answer.status == 403;
            assert_eq!(is_refused, held < needed, "{method} {path} with role {held}: {answer:?}");
        }
        let answer = cluster.with_token(method.clone(), path, "", "").await;
        assert_eq!((answer.status.as_u16(), reason(&answer).as_str()), (401, "CREDENTIALS_MISSING"), "{path}");
    }
    assert_eq!(refusal(&cluster.task_with("7", "").await.unwrap_err()).0, "UNAUTHENTICATED");
    for (path, status) in [("/livez", 200), ("/readyz", 200), ("/", 401), ("/metrics", 401), ("/nowhere", 401)] {
        assert_eq!(cluster.get(path).await.status, status, "{path}");
    }
    assert_eq!(cluster.get_with("/metrics", &viewer).await.status, 200);
}

#[tokio::test]
async fn a_key_of_one_namespace_reaches_nothing_else() {
    let backend = Backend::start("one").await;
    let cluster = Cluster::configured(closed(), &[&backend]).await;
    let (_, of_a) = make(&cluster, "a", &["operator@a"]).await;
    // The tasks of this backend lie in the namespace `default`.
    let (_, of_default) = make(&cluster, "default", &["operator@default"]).await;
    let mut client = TaskServiceClient::new(cluster.channel().await);
    let submit = |namespace: &str| SubmitTaskRequest {
        task: Some(TaskSpec { namespace: namespace.into(), name: "x".repeat(100_000), ..TaskSpec::default() }),
    };
    for (key, namespace, expected) in [
        (&of_a, "a", "OK"),
        (&of_a, "b", "PERMISSION_DENIED"),
        (&of_a, "", "PERMISSION_DENIED"),
        (&of_default, "", "OK"),
    ] {
        let status = client.submit_task(bearing(submit(namespace), key)).await;
        let name = status.as_ref().map_or_else(|status| refusal(status).0, |_| "OK");
        assert_eq!(name, expected, "gRPC {namespace}");
        let json = json!({"namespace": namespace}).to_string();
        let answer = cluster.with_token(Method::POST, "/v1/tasks", key, &json).await;
        assert_eq!(answer.status == 200, expected == "OK", "HTTP {namespace}: {answer:?}");
    }
    // A task has to be looked up.
    assert_eq!(cluster.task_with("7", &of_default).await.unwrap().id, "7");
    assert_eq!(refusal(&cluster.task_with("7", &of_a).await.unwrap_err()).0, "TASK_NOT_FOUND");
    assert_eq!(cluster.get_with("/v1/tasks/7", &of_default).await.status, 200);
    assert_eq!(cluster.get_with("/v1/tasks/7", &of_a).await.error(), "404 TASK_NOT_FOUND");
    let cancelled = cluster.with_token(Method::POST, "/v1/tasks/7:cancel", &of_a, "{}").await;
    assert_eq!(cancelled.error(), "404 TASK_NOT_FOUND");
    // A list of everything is not theirs.
    let all = client.list_tasks(bearing(ListTasksRequest::default(), &of_a)).await.unwrap_err();
    assert_eq!(refusal(&all).0, "PERMISSION_DENIED");
    let own = ListTasksRequest { namespace: "a".into(), ..ListTasksRequest::default() };
    assert!(client.list_tasks(bearing(own, &of_a)).await.is_ok());
}

#[tokio::test]
async fn no_route_leads_around_the_roles() {
    let cluster = Cluster::configured(closed(), &[]).await;
    let (_, viewer) = make(&cluster, "viewer", &["viewer"]).await;
    for (id, from, to) in
        [("http", "/harmless", "/v1/keys"), ("grpc", "/acme.Books/List", "/mcp.gateway.v1.KeyService/ListKeys")]
    {
        let route = json!({"match": {"path": {"exact": from}}, "forward": {"rewrite": {"path": to}}}).to_string();
        let answer = cluster.with_token(Method::PUT, &format!("/v1/routes/{id}"), BOOTSTRAP, &route).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    eventually(LIMIT, || async {
        let answer = cluster.get_with("/harmless", BOOTSTRAP).await;
        if answer.status == 200 { Ok(()) } else { Err(format!("{answer:?}")) }
    })
    .await;
    assert_eq!(cluster.get_with("/harmless", &viewer).await.error(), "403 PERMISSION_DENIED");
    assert_eq!(cluster.get_with("/harmless", "").await.error(), "401 UNAUTHENTICATED");
    let list = async |token: &str| {
        let mut client = tonic::client::Grpc::new(cluster.channel().await);
        client.ready().await.unwrap();
        let codec = tonic_prost::ProstCodec::<ListKeysRequest, ListKeysResponse>::default();
        let path = PathAndQuery::from_static("/acme.Books/List");
        client.unary(bearing(ListKeysRequest::default(), token), path, codec).await
    };
    assert_eq!(list(BOOTSTRAP).await.unwrap().into_inner().keys.len(), 1);
    assert_eq!(refusal(&list(&viewer).await.unwrap_err()).0, "PERMISSION_DENIED");
    assert_eq!(refusal(&list("").await.unwrap_err()).0, "UNAUTHENTICATED");
}
