//! Tokens, over HTTP and over gRPC.

use std::sync::atomic::Ordering;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::Method;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};

use super::{
    closed,
    issuer::{Key, KeyServer, claims, now, set_of, settings, with},
    reason, refusal,
};
use crate::{backend::Backend, support::Cluster};

/// A token with this header, signed as HS256 with this secret whatever the header says.
fn crafted(header: &Value, claims: &Value, secret: &[u8]) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", part(header), part(claims));
    let key = EncodingKey::from_secret(secret);
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256).unwrap();
    format!("{message}.{signature}")
}

fn bad_tokens(key: &Key) -> Vec<(String, &'static str)> {
    let (good, stranger) = (key.sign(&claims()), Key::new(&key.id));
    let (message, signature) = good.rsplit_once('.').unwrap();
    let head = message.split_once('.').unwrap().0;
    let payload = URL_SAFE_NO_PAD.encode(with("roles", json!(["admin"])).to_string());
    let pem = key.pair.public_key_pem();
    let confused = json!({"alg": "HS256", "kid": key.id});
    vec![
        (String::new(), "CREDENTIALS_MISSING"),
        ("garbage".into(), "TOKEN_MALFORMED"),
        (format!("{message}."), "TOKEN_SIGNATURE"),
        (format!("{head}.{payload}.{signature}"), "TOKEN_SIGNATURE"),
        (stranger.sign(&claims()), "TOKEN_SIGNATURE"),
        (crafted(&json!({"alg": "none"}), &claims(), b"x"), "TOKEN_UNSIGNED"),
        (crafted(&json!({"alg": "nOnE"}), &claims(), b"x"), "TOKEN_UNSIGNED"),
        (crafted(&confused, &claims(), pem.as_bytes()), "TOKEN_ALGORITHM"),
        (crafted(&confused, &claims(), key.pair.public_key_raw()), "TOKEN_ALGORITHM"),
        (crafted(&json!({"alg": "RS256", "kid": key.id, "crit": ["b64"]}), &claims(), b"x"), "TOKEN_CRITICAL"),
        (key.sign(&with("exp", json!(now() - 3_600))), "TOKEN_EXPIRED"),
        (key.sign(&with("nbf", json!(now() + 3_600))), "TOKEN_NOT_YET_VALID"),
        (key.sign(&with("aud", json!("somebody"))), "TOKEN_AUDIENCE"),
        (key.sign(&with("iss", json!("https://evil.test"))), "TOKEN_ISSUER"),
        (key.sign(&with("exp", Value::Null)), "TOKEN_CLAIM"),
        (key.sign(&with("sub", Value::Null)), "TOKEN_CLAIM"),
        (key.sign_as("unknown", &claims()), "TOKEN_KEY_UNKNOWN"),
        (key.sign(&with("pad", json!("x".repeat(8_192)))), "TOKEN_TOO_LARGE"),
        ("mcp_0000000000000000_nothing".into(), "KEY_UNKNOWN"),
    ]
}

#[tokio::test]
async fn bad_tokens_are_refused_with_their_reason_on_both_protocols() {
    let (backend, key) = (Backend::start("one").await, Key::new("a"));
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), set_of(&[&key]).to_string()).unwrap();
    let mut config = closed();
    let mut issuer = settings();
    issuer.jwks_file = Some(file.path().to_owned());
    config.gateway.security.jwt = vec![issuer];
    let cluster = Cluster::configured(config, &[&backend]).await;
    for (token, expected) in bad_tokens(&key) {
        let answer = cluster.get_with("/v1/tasks/7", &token).await;
        assert_eq!(
            (answer.error().as_str(), reason(&answer).as_str()),
            ("401 UNAUTHENTICATED", expected),
            "{token:.60}"
        );
        let challenge = answer.headers["www-authenticate"].to_str().unwrap();
        assert!(challenge.starts_with("Bearer realm=\"mcp\""), "{challenge}");
        assert_eq!(challenge.contains(expected), !token.is_empty(), "{challenge}");
        let status = cluster.task_with("7", &token).await.unwrap_err();
        assert_eq!(refusal(&status), ("UNAUTHENTICATED", expected.to_owned()), "{token:.60}");
        assert!(status.metadata().contains_key("www-authenticate"));
    }
    assert_eq!(backend.state.reached(), 0, "nothing of that went on");

    let good = key.sign(&claims());
    assert_eq!(cluster.get_with("/v1/tasks/7", &good).await.status, 200);
    let task = cluster.task_with("7", &good).await.unwrap();
    let labels = task.spec.unwrap().labels;
    assert_eq!(labels["mcp-principal"], "https://id.test#ana", "the service behind is told who calls");
    assert!(labels.contains_key("authorization"), "a token may be for the service behind too");
    let viewer = key.sign(&with("roles", json!(["viewer", "something else"])));
    assert_eq!(cluster.get_with("/v1/tasks/7", &viewer).await.status, 200);
    let answer = cluster.with_token(Method::POST, "/v1/tasks", &viewer, "{}").await;
    assert_eq!(answer.error(), "403 PERMISSION_DENIED");
    assert!(answer.headers["www-authenticate"].to_str().unwrap().contains("scope=\"operator\""));
}

#[tokio::test]
async fn a_new_key_of_an_issuer_counts_at_once_and_unknown_ones_do_not_make_us_ask_again_and_again() {
    let (backend, old, new) = (Backend::start("one").await, Key::new("old"), Key::new("new"));
    let server = KeyServer::start(&[&old]).await;
    let mut config = closed();
    let mut issuer = settings();
    issuer.jwks_url = Some(server.url.clone());
    issuer.refetch_min = std::time::Duration::from_secs(3_600);
    config.gateway.security.jwt = vec![issuer];
    let cluster = Cluster::configured(config, &[&backend]).await;
    assert_eq!(cluster.get_with("/v1/tasks/7", &old.sign(&claims())).await.status, 200);
    assert_eq!(server.reads.load(Ordering::SeqCst), 1);

    server.publish(&[&new]);
    assert_eq!(cluster.get_with("/v1/tasks/7", &new.sign(&claims())).await.status, 200);
    assert_eq!(server.reads.load(Ordering::SeqCst), 2);
    let answer = cluster.get_with("/v1/tasks/7", &old.sign(&claims())).await;
    assert_eq!(reason(&answer), "TOKEN_KEY_UNKNOWN", "what was checked under the old keys is forgotten");
    for index in 0..30 {
        let token = new.sign_as(&format!("made-up-{index}"), &claims());
        assert_eq!(reason(&cluster.get_with("/v1/tasks/7", &token).await), "TOKEN_KEY_UNKNOWN");
    }
    assert_eq!(server.reads.load(Ordering::SeqCst), 2);
}
