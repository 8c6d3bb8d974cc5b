//! Tests of how layers are put together; what each of them does is tested over sockets.

use std::{cell::Cell, rc::Rc, sync::Arc};

use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::Empty;
use mcp_proto::gateway::v1::{Condition, Layer, Settings, ValueMatch};

use super::{
    layers,
    plan::{Plan, Site, Subject, compose},
    service::{Answer, LocalService},
};
use crate::{
    body::{Body, inbound::Inbound},
    caller::Caller,
    exchange::{Context, Exchange},
    routes::{facts::Taken, violations::Violations},
    trace::Identity,
};

fn request(headers: &[(&'static str, &'static str)]) -> Exchange {
    let mut request = Request::new(Inbound::made(Empty::new()));
    for (name, value) in headers {
        request.headers_mut().insert(*name, HeaderValue::from_static(value));
    }
    let caller = Caller::at("127.0.0.1:1".parse().unwrap(), std::time::Instant::now());
    let identity = Identity::quiet(&HeaderMap::new());
    let context = Context::new(Rc::new(caller), identity, Taken::new(Arc::default()));
    Exchange { request, context }
}

/// A site whose inside answers everything well, and how often it was asked.
fn site() -> (Site, Rc<Cell<u32>>) {
    let count = Rc::new(Cell::new(0));
    let asked = Rc::clone(&count);
    let inside = LocalService::of(move |_| {
        asked.set(asked.get() + 1);
        async { Answer::Ok(Response::new(Body::Empty)) }
    });
    (Site { inside }, count)
}

fn planned(layers: Vec<Layer>) -> Vec<Arc<dyn Plan>> {
    let mut wrong = Violations::default();
    let plans =
        layers::plan(&Subject { settings: &Settings { layers, ..Settings::default() }, mirror: None }, &mut wrong);
    wrong.into_result().unwrap();
    plans
}

#[tokio::test]
async fn a_new_layer_is_one_file_and_one_line() {
    let (site, _) = site();
    let example = Layer { name: "example".into(), ..Layer::default() };
    let service = compose(&planned(vec![example]), &site);
    assert_eq!(service.answer(request(&[])).await.unwrap().headers()["x-hello"], "world");
}

#[tokio::test]
async fn a_layer_with_a_condition_is_passed_by_when_it_does_not_hold() {
    let (site, asked) = site();
    let when = Condition { headers: vec![ValueMatch { name: "x-on".into(), kind: None }], ..Condition::default() };
    let example = |when| Layer { name: "example".into(), when: Some(when), ..Layer::default() };
    let with = compose(&planned(vec![example(when.clone())]), &site);
    let not = compose(&planned(vec![example(Condition { not: true, ..when })]), &site);
    for (service, headers, expected) in
        [(&with, &[("x-on", "1")][..], true), (&with, &[], false), (&not, &[("x-on", "1")], false), (&not, &[], true)]
    {
        let answer = service.answer(request(headers)).await.unwrap();
        assert_eq!(answer.headers().contains_key("x-hello"), expected);
    }
    assert_eq!(asked.get(), 4);
}
