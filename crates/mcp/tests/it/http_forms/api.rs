//! Calls by HTTP, and which methods they were.

use std::{collections::BTreeSet, net::SocketAddr};

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use testkit::{eventually, http as client};
use tokio::{net::TcpStream, time::timeout};

use super::rules;
use crate::support::SOON;

/// A gateway.
#[derive(Debug)]
pub(super) struct Api {
    url: String,
    /// Full names of the methods that were called.
    pub(super) made: BTreeSet<String>,
}

impl Api {
    pub(super) fn new(url: &str) -> Self {
        Self { url: url.to_owned(), made: BTreeSet::new() }
    }

    pub(super) async fn get(&mut self, path: &str) -> Value {
        self.call(Method::GET, path, Value::Null).await
    }

    pub(super) async fn post(&mut self, path: &str, body: Value) -> Value {
        self.call(Method::POST, path, body).await
    }

    pub(super) async fn put(&mut self, path: &str, body: Value) -> Value {
        self.call(Method::PUT, path, body).await
    }

    pub(super) async fn delete(&mut self, path: &str) -> Value {
        self.call(Method::DELETE, path, Value::Null).await
    }

    /// GET until the answer is as it should be.
    pub(super) async fn eventually(&mut self, path: &str, is_right: impl Fn(&Value) -> bool) {
        self.note(&Method::GET, path);
        eventually(SOON, || async {
            let answer = client::get(&self.url, path).await;
            let json = answer.json();
            if answer.status == StatusCode::OK && is_right(&json) { Ok(()) } else { Err(format!("{path}: {json}")) }
        })
        .await;
    }

    /// The first message of an answer that may have no end.
    pub(super) async fn first(&mut self, path: &str) -> String {
        self.note(&Method::GET, path);
        let address: SocketAddr = self.url.trim_start_matches("http://").parse().unwrap();
        let stream = TcpStream::connect(address).await.unwrap();
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        let driver = tokio::spawn(connection);
        let request = Request::get(path).header("host", address.to_string()).body(Empty::<Bytes>::new()).unwrap();
        let mut answer = sender.send_request(request).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        let frame =
            timeout(SOON, answer.body_mut().frame()).await.expect("it comes soon").expect("there is one").unwrap();
        driver.abort();
        String::from_utf8(frame.into_data().expect("it is no trailer").to_vec()).unwrap()
    }

    async fn call(&mut self, method: Method, path: &str, body: Value) -> Value {
        self.note(&method, path);
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let answer = client::send(&self.url, method.clone(), path, body).await;
        let text = String::from_utf8_lossy(&answer.body);
        assert_eq!(answer.status, StatusCode::OK, "{method} {path}: {text}");
        answer.json()
    }

    /// Notes which method this is.
    fn note(&mut self, method: &Method, path: &str) {
        let name = rules::method_at(method, path).unwrap_or_else(|| panic!("no method has the form {method} {path}"));
        self.made.insert(name);
    }
}
