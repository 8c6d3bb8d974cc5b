//! TLS: what is spoken in it, certificates that change, callers with certificates.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use gateway::config::{ClientSettings, Config};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
use testkit::eventually;
use tokio_util::sync::CancellationToken;

use super::pki::{Authority, Files, connect, get, trusting};
use crate::{
    backend::Backend,
    support::{Cluster, LIMIT},
};

#[tokio::test]
async fn both_protocols_are_spoken_and_nothing_but_probes_without_tls() {
    let (authority, backend) = (Authority::new(), Backend::start("one").await);
    let files = Files::new(&authority);
    let mut config = Config::default();
    files.configure(&mut config);
    let cluster = Cluster::configured(config, &[&backend]).await;
    for protocols in [&["h2"][..], &["http/1.1"], &["h2", "http/1.1"], &[]] {
        let connector = trusting(&authority, None, protocols);
        let (status, text) = get(&connector, cluster.address, "/v1/tasks/7").await.unwrap();
        assert_eq!(status, StatusCode::OK, "{protocols:?}: {text}");
    }
    let stream = connect(&trusting(&authority, None, &["h2", "http/1.1"]), cluster.address).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]), "HTTP/2 is preferred");
    assert!(get(&trusting(&authority, None, &["spdy/3"]), cluster.address, "/").await.is_err());
    assert!(get(&trusting(&Authority::new(), None, &[]), cluster.address, "/").await.is_err(), "a stranger's root");

    assert_eq!(cluster.get("/readyz").await.status, 200);
    for path in ["/v1/tasks/7", "/docs", "/openapi.json"] {
        assert_eq!(cluster.get(path).await.error(), "426 TLS_REQUIRED", "{path}");
    }
    assert_eq!(super::refusal(&cluster.task_with("7", "").await.unwrap_err()).0, "TLS_REQUIRED");
}

/// Calls one after the other on one connection, until told to stop.
async fn keep_calling(
    cluster: Arc<Cluster>,
    authority: Arc<Authority>,
    stop: CancellationToken,
    done: Arc<AtomicUsize>,
) {
    let stream = connect(&trusting(&authority, None, &["h2"]), cluster.address).await.unwrap();
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    while !stop.is_cancelled() {
        let request = Request::get("https://gateway.test/v1/tasks/7").body(Full::<Bytes>::default()).unwrap();
        let answer = sender.send_request(request).await.expect("the connection stays");
        assert_eq!(answer.status(), 200);
        answer.into_body().collect().await.expect("the answer is whole");
        done.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn a_new_certificate_is_taken_over_under_load_and_no_call_fails() {
    let (authority, backend) = (Arc::new(Authority::new()), Backend::start("one").await);
    let files = Files::new(&authority);
    let mut config = Config::default();
    files.configure(&mut config);
    let cluster = Arc::new(Cluster::configured(config, &[&backend]).await);
    let (stop, done) = (CancellationToken::new(), Arc::new(AtomicUsize::new(0)));
    let callers: Vec<_> = (0..4)
        .map(|_| {
            tokio::spawn(keep_calling(Arc::clone(&cluster), Arc::clone(&authority), stop.clone(), Arc::clone(&done)))
        })
        .collect();
    for round in 0..5 {
        let (next, before) = (authority.server(), done.load(Ordering::Relaxed));
        files.put(&next);
        eventually(LIMIT, || async {
            let stream = connect(&trusting(&authority, None, &["h2"]), cluster.address).await;
            let stream = stream.expect("a new connection can be made at any time");
            let shown = stream.get_ref().1.peer_certificates().unwrap()[0].clone();
            if shown == next.certificate { Ok(()) } else { Err(format!("round {round}: the old certificate")) }
        })
        .await;
        eventually(LIMIT, || async {
            if done.load(Ordering::Relaxed) > before { Ok(()) } else { Err("no call is made".into()) }
        })
        .await;
    }
    files.break_certificate();
    tokio::time::sleep(Duration::from_millis(100)).await; // the broken file is looked at; nothing tells when
    let (status, _) = get(&trusting(&authority, None, &["h2"]), cluster.address, "/v1/tasks/7").await.unwrap();
    assert_eq!(status, 200, "what cannot be used changes nothing");
    stop.cancel();
    for caller in callers {
        caller.await.expect("no call has failed");
    }
}

fn may(name: &str, role: &str) -> ClientSettings {
    ClientSettings { name: name.into(), roles: serde_json::from_value(json!([role])).unwrap() }
}

#[tokio::test]
async fn a_certificate_says_who_calls() {
    let (authority, backend) = (Authority::new(), Backend::start("one").await);
    let files = Files::new(&authority);
    let mut config = Config::default();
    files.configure(&mut config);
    config.gateway.security.tls.client_ca = Some(files.ca());
    config.gateway.security.tls.clients = vec![may("spiffe://mesh/ops", "operator")];
    let cluster = Cluster::configured(config, &[&backend]).await;
    let ops = authority.client("spiffe://mesh/ops");
    let stranger = authority.client("spiffe://mesh/stranger");
    let path = "/v1/tasks/7";
    for (identity, expected) in [(Some(&ops), 200), (Some(&stranger), 403), (None, 401)] {
        let (status, text) = get(&trusting(&authority, identity, &["h2"]), cluster.address, path).await.unwrap();
        assert_eq!(status.as_u16(), expected, "{text}");
    }
    let expired = authority.expired_client("spiffe://mesh/ops");
    let forged = Authority::new().client("spiffe://mesh/ops");
    for identity in [&expired, &forged] {
        let outcome = get(&trusting(&authority, Some(identity), &["h2"]), cluster.address, path).await;
        assert!(outcome.is_err(), "{outcome:?}");
    }
    let (status, _) = get(&trusting(&authority, Some(&ops), &["h2"]), cluster.address, path).await.unwrap();
    assert_eq!(status, 200, "bad ones harm nobody");
}

#[tokio::test]
async fn where_certificates_are_required_nobody_comes_without() {
    let authority = Authority::new();
    let files = Files::new(&authority);
    let mut config = Config::default();
    files.configure(&mut config);
    let tls = &mut config.gateway.security.tls;
    (tls.client_ca, tls.client_required) = (Some(files.ca()), true);
    tls.clients = vec![may("spiffe://mesh/ops", "viewer")];
    let cluster = Cluster::configured(config, &[]).await;
    assert!(get(&trusting(&authority, None, &["h2"]), cluster.address, "/").await.is_err());
    let ops = authority.client("spiffe://mesh/ops");
    let (status, _) = get(&trusting(&authority, Some(&ops), &["http/1.1"]), cluster.address, "/").await.unwrap();
    assert_eq!(status, 200);
}

#[tokio::test]
async fn a_revoked_certificate_is_turned_away_as_soon_as_the_list_says_so() {
    let (authority, backend) = (Authority::new(), Backend::start("one").await);
    let files = Files::new(&authority);
    let (ops, lost) = (authority.client("spiffe://mesh/ops"), authority.client("spiffe://mesh/ops"));
    let mut config = Config::default();
    files.configure(&mut config);
    let tls = &mut config.gateway.security.tls;
    (tls.client_ca, tls.client_crl) = (Some(files.ca()), Some(files.put_crl(&authority.revoking(&[], 2100))));
    tls.clients = vec![may("spiffe://mesh/ops", "viewer")];
    let cluster = Cluster::configured(config, &[&backend]).await;
    let enters = async |identity| {
        let connector = trusting(&authority, Some(identity), &["h2"]);
        get(&connector, cluster.address, "/v1/tasks/7").await.is_ok_and(|(status, _)| status == 200)
    };
    assert!(enters(&ops).await && enters(&lost).await);
    files.put_crl(&authority.revoking(&[&lost], 2100));
    eventually(LIMIT, || async { if enters(&lost).await { Err("it is let in".into()) } else { Ok(()) } }).await;
    assert!(enters(&ops).await, "it is not on the list");
    let (status, _) = get(&trusting(&authority, None, &["h2"]), cluster.address, "/v1/tasks/7").await.unwrap();
    assert_eq!(status, 401, "who shows none may still try another credential");
    // A list that has run out says nothing about anybody.
    files.put_crl(&authority.revoking(&[], 2020));
    eventually(LIMIT, || async { if enters(&ops).await { Err("it is let in".into()) } else { Ok(()) } }).await;
}
