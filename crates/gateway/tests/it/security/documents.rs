//! What is registered is told to those who may know it.

use http::Method;
use serde_json::json;
use tonic::{Request, Status};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest,
};

use super::{
    bearing, closed,
    issuer::{Key, claims, set_of, settings, with},
    reason, refusal,
};
use crate::{backend::Backend, support::Cluster};

/// Asks for the list of services.
async fn list(cluster: &Cluster, token: &str) -> Result<(), Status> {
    let mut client = ServerReflectionClient::new(cluster.channel().await);
    let question = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut request = Request::new(tokio_stream::iter([question]));
    *request.metadata_mut() = bearing((), token).into_parts().0;
    let mut answers = client.server_reflection_info(request).await?.into_inner();
    answers.message().await.map(|answer| assert!(answer.is_some()))
}

#[tokio::test]
async fn whoever_may_read_nothing_learns_nothing() {
    let (backend, key) = (Backend::start("one").await, Key::new("a"));
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), set_of(&[&key]).to_string()).unwrap();
    let mut config = closed();
    let mut issuer = settings();
    issuer.jwks_file = Some(file.path().to_owned());
    config.gateway.security.jwt = vec![issuer];
    let cluster = Cluster::configured(config, &[&backend]).await;

    let answer = cluster.get("/openapi.json").await;
    assert_eq!((answer.error().as_str(), reason(&answer).as_str()), ("401 UNAUTHENTICATED", "CREDENTIALS_MISSING"));
    assert!(answer.headers.contains_key("www-authenticate") && !answer.headers.contains_key("etag"));
    assert!(!answer.text().contains("mcp.scheduler"), "{answer:?}");
    assert_eq!(refusal(&list(&cluster, "").await.unwrap_err()).0, "UNAUTHENTICATED");

    // Somebody, but nobody who may read.
    let nobody = key.sign(&with("roles", json!([])));
    let answer = cluster.get_with("/openapi.json", &nobody).await;
    assert_eq!(answer.error(), "403 PERMISSION_DENIED");
    assert!(answer.headers["www-authenticate"].to_str().unwrap().contains("scope=\"viewer\""), "{answer:?}");
    assert_eq!(refusal(&list(&cluster, &nobody).await.unwrap_err()).0, "PERMISSION_DENIED");

    for roles in [json!(["viewer"]), json!(["operator@team"])] {
        let token = key.sign(&with("roles", roles));
        assert_eq!(cluster.get_with("/openapi.json", &token).await.status, 200);
        list(&cluster, &token).await.unwrap();
    }
    let token = key.sign(&claims());
    let document = cluster.get_with("/openapi.json", &token).await.json();
    assert_eq!(document["security"], json!([{"bearer": []}, {"apiKey": []}]));
    let submit = &document["paths"]["/v1/tasks"]["post"];
    assert_eq!(submit["security"], json!([{"bearer": ["operator"]}, {"apiKey": ["operator"]}]));

    // The page is for everybody, and says nothing.
    for path in ["/docs", "/docs/docs.js", "/docs/docs.css"] {
        let answer = cluster.get(path).await;
        assert_eq!(answer.status, 200, "{path}");
        assert!(!answer.text().contains("scheduler"), "{path}");
    }
    assert_eq!(cluster.with_token(Method::POST, "/docs", "", "{}").await.error(), "405 HTTP_METHOD_NOT_ALLOWED");
}
