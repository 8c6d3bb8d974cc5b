//! A cluster whose gateway lets nobody in without credentials: the first key, others made with it, TLS.

use std::process::Output;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use crate::support::{Cluster, mcp};

const BOOTSTRAP: &str = "the-bootstrap-key-of-this-test-0123456789";

/// Runs `mcp` with a credential; empty: without.
async fn run(url: &str, token: &str, args: &[&str]) -> Output {
    let mut command = mcp();
    command.args(["--gateway", url]).args(args);
    if !token.is_empty() {
        command.env("MCP_TOKEN", token);
    }
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}

#[tokio::test]
async fn the_first_key_makes_the_others_and_each_does_what_it_may() {
    let mut cluster = Cluster::start(&["worker-1"]).await;
    cluster.serve_with("gateway", "closed", |command| {
        command
            .env("MCP_GATEWAY__GATEWAY__SECURITY__ANONYMOUS", "false")
            .env("MCP_GATEWAY__GATEWAY__SECURITY__BOOTSTRAP_KEY", BOOTSTRAP);
    });
    let url = format!("http://{}", cluster.registered("gateway", "closed").await);

    let refused = run(&url, "", &["list"]).await;
    assert_eq!(refused.status.code(), Some(5));
    assert!(text(&refused.stderr).contains("MCP_TOKEN"), "{}", text(&refused.stderr));

    let made = run(&url, BOOTSTRAP, &["key", "create", "ci", "--role", "operator@builds", "--ttl", "1h"]).await;
    assert!(made.status.success(), "{}", text(&made.stderr));
    let key = text(&made.stdout);
    assert!(key.starts_with("mcp_") && key.lines().count() == 1, "{key}");
    let listed = text(&run(&url, BOOTSTRAP, &["key", "list"]).await.stdout);
    assert!(listed.contains("operator@builds") && listed.contains("bootstrap") && !listed.contains(&key), "{listed}");

    let submit = ["submit", "--wait", "-n", "builds", "--", "true"];
    testkit::eventually(crate::support::SOON, || async {
        let done = run(&url, &key, &submit).await;
        if done.status.success() { Ok(()) } else { Err(text(&done.stderr)) }
    })
    .await;
    let elsewhere = run(&url, &key, &["submit", "-n", "other", "--", "true"]).await;
    assert_eq!(elsewhere.status.code(), Some(5));
    assert!(text(&elsewhere.stderr).contains("operator in the namespace `other`"), "{}", text(&elsewhere.stderr));
    let own = text(&run(&url, &key, &["list", "-n", "builds", "-o", "json"]).await.stdout);
    let id = serde_json::from_str::<serde_json::Value>(&own).unwrap()["tasks"][0]["id"].as_str().unwrap().to_owned();
    assert!(run(&url, &key, &["get", &id]).await.status.success());

    let made = run(&url, BOOTSTRAP, &["key", "create", "other", "--role", "viewer@other", "-o", "json"]).await;
    let made: serde_json::Value = serde_json::from_str(&text(&made.stdout)).unwrap();
    let (other, other_id) = (made["secret"].as_str().unwrap(), made["key"]["id"].as_str().unwrap());
    testkit::eventually(crate::support::SOON, || async {
        // Whether the task exists is not for them to know.
        let got = run(&url, other, &["get", &id]).await;
        if got.status.code() == Some(4) { Ok(()) } else { Err(text(&got.stderr)) }
    })
    .await;
    assert!(run(&url, BOOTSTRAP, &["key", "revoke", other_id]).await.status.success());
    testkit::eventually(crate::support::SOON, || async {
        let got = run(&url, other, &["get", &id]).await;
        let said = text(&got.stderr);
        if got.status.code() == Some(5) && said.contains("unknown, or was revoked") { Ok(()) } else { Err(said) }
    })
    .await;
}

#[tokio::test]
async fn the_command_line_speaks_tls() {
    let mut cluster = Cluster::start(&[]).await;
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_key = KeyPair::generate().unwrap();
    std::fs::write(path("ca.pem"), params.self_signed(&ca_key).unwrap().pem()).unwrap();
    let (issuer, key) = (Issuer::new(params, ca_key), KeyPair::generate().unwrap());
    let server = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    std::fs::write(path("cert.pem"), server.pem()).unwrap();
    std::fs::write(path("key.pem"), key.serialize_pem()).unwrap();
    cluster.serve_with("gateway", "tls", |command| {
        command
            .env("MCP_GATEWAY__GATEWAY__SECURITY__ANONYMOUS", "false")
            .env("MCP_GATEWAY__GATEWAY__SECURITY__BOOTSTRAP_KEY", BOOTSTRAP)
            .env("MCP_GATEWAY__GATEWAY__SECURITY__TLS__CERTIFICATE", path("cert.pem"))
            .env("MCP_GATEWAY__GATEWAY__SECURITY__TLS__KEY", path("key.pem"));
    });
    let address = cluster.registered("gateway", "tls").await;
    let frame_address = cluster.frames("tls");
    let (_, frame_port) = frame_address.rsplit_once(':').unwrap();
    let (_, port) = address.rsplit_once(':').unwrap();
    let (url, ca) = (format!("https://localhost:{port}"), path("ca.pem").display().to_string());
    let listed = run(&url, BOOTSTRAP, &["--ca", &ca, "services"]).await;
    assert!(listed.status.success(), "{}", text(&listed.stderr));
    assert!(text(&listed.stdout).contains("registry"));
    let document = run(&url, BOOTSTRAP, &["--ca", &ca, "openapi"]).await;
    assert!(text(&document.stdout).contains("\"/v1/tasks\""), "{}", text(&document.stderr));
    let nobody = run(&url, "mcp_nobody", &["--ca", &ca, "openapi"]).await;
    assert!(text(&nobody.stderr).contains("UNAUTHENTICATED"), "{}", text(&nobody.stderr));
    let distrusted = run(&url, BOOTSTRAP, &["services"]).await;
    assert_ne!(distrusted.status.code(), Some(0));
    let plain = run(&format!("http://{address}"), BOOTSTRAP, &["services"]).await;
    assert!(text(&plain.stderr).contains("TLS"), "{}", text(&plain.stderr));

    // The wire frame, too.
    let frames = format!("mcps://localhost:{frame_port}");
    let listed = ["frame", "call", "registry-discover", r#"{"service": "registry"}"#, "--address", &frames];
    let found = run(&url, BOOTSTRAP, &[&["--ca", &ca], &listed[..]].concat()).await;
    assert!(found.status.success(), "{}", text(&found.stderr));
    assert!(text(&found.stdout).contains("registry"));
    let distrusted = run(&url, BOOTSTRAP, &listed).await;
    assert_ne!(distrusted.status.code(), Some(0), "{}", text(&distrusted.stdout));
    let plain = run(&url, BOOTSTRAP, &["frame", "ping", "--address", &frames.replace("mcps", "mcp")]).await;
    assert!(text(&plain.stderr).contains("TLS"), "{}", text(&plain.stderr));
}
