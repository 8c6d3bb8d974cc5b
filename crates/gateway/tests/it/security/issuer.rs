//! An issuer of tokens: keys, tokens good and bad, and a server for its key set.

use std::{
    convert::Infallible,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use gateway::config::IssuerSettings;
use http::Response;
use http_body_util::Full;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, jwk::Jwk};
use rcgen::{KeyPair, PKCS_RSA_SHA256};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::AbortHandle};

pub(super) const ISSUER: &str = "https://id.test";

/// A key of the issuer.
pub(super) struct Key {
    pub(super) id: String,
    pub(super) pair: KeyPair,
    encoding: EncodingKey,
}

impl Key {
    pub(super) fn new(id: &str) -> Self {
        let pair = KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap();
        let encoding = EncodingKey::from_rsa_pem(pair.serialize_pem().as_bytes()).unwrap();
        Self { id: id.to_owned(), pair, encoding }
    }

    /// Its public half, as in a key set.
    pub(super) fn jwk(&self) -> Value {
        let mut jwk = Jwk::from_encoding_key(&self.encoding, Algorithm::RS256).unwrap();
        jwk.common.key_id = Some(self.id.clone());
        serde_json::to_value(jwk).unwrap()
    }

    pub(super) fn sign(&self, claims: &Value) -> String {
        self.sign_as(&self.id, claims)
    }

    pub(super) fn sign_as(&self, id: &str, claims: &Value) -> String {
        let header = Header { kid: Some(id.to_owned()), ..Header::new(Algorithm::RS256) };
        encode(&header, claims, &self.encoding).unwrap()
    }
}

pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// Claims that hold, for an operator.
pub(super) fn claims() -> Value {
    json!({"iss": ISSUER, "aud": "mcp", "sub": "ana", "exp": now() + 600, "roles": ["operator"]})
}

pub(super) fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[name] = value;
    claims
}

pub(super) fn settings() -> IssuerSettings {
    IssuerSettings { issuer: ISSUER.into(), audiences: vec!["mcp".into()], ..IssuerSettings::default() }
}

/// Serves a key set that can change, and counts how often it is read.
pub(super) struct KeyServer {
    pub(super) url: String,
    pub(super) set: Arc<Mutex<Value>>,
    pub(super) reads: Arc<AtomicUsize>,
    task: AbortHandle,
}

impl KeyServer {
    pub(super) async fn start(keys: &[&Key]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/jwks", listener.local_addr().unwrap());
        let (set, reads) = (Arc::new(Mutex::new(set_of(keys))), Arc::new(AtomicUsize::new(0)));
        let (served, counted) = (Arc::clone(&set), Arc::clone(&reads));
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (served, counted) = (Arc::clone(&served), Arc::clone(&counted));
                let service = service_fn(move |_| {
                    counted.fetch_add(1, Ordering::SeqCst);
                    let body = served.lock().unwrap().to_string();
                    async move { Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(body)))) }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Self { url, set, reads, task: task.abort_handle() }
    }

    pub(super) fn publish(&self, keys: &[&Key]) {
        *self.set.lock().unwrap() = set_of(keys);
    }
}

impl Drop for KeyServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(super) fn set_of(keys: &[&Key]) -> Value {
    json!({ "keys": keys.iter().map(|key| key.jwk()).collect::<Vec<_>>() })
}
