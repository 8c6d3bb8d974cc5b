//! One of everything through the gateway: by gRPC and as JSON, with the same results.

use bytes::Bytes;
use gateway::Config;
use http::Method;
use http_body_util::BodyExt;
use prost_reflect::{DynamicMessage, ReflectMessage, prost::Message};
use rand::{SeedableRng, rngs::StdRng};
use serde_json::{Value, json};

use crate::{
    dynamic::{
        self,
        backend::{DynamicBackend, Reflection},
        codec, random,
    },
    support::{Answer, Cluster},
};

pub(crate) const EVERYTHING: &str = "sink.v1.Everything";

/// A backend known by reflection only, and a gateway in front of it.
pub(crate) async fn sink() -> (DynamicBackend, Cluster) {
    let backend = DynamicBackend::start("sink", &dynamic::compile("sink/v1/sink.proto"), Reflection::V1).await;
    let cluster = Cluster::of_records(Config::default(), &[&backend.record]).await;
    (backend, cluster)
}

/// Every field in the form that proto3 JSON gives it.
pub(crate) fn everything() -> Value {
    let text = r#"{
        "fDouble": "NaN", "fFloat": "-Infinity", "fInt32": -2147483648, "fInt64": "-9223372036854775808",
        "fUint32": 4294967295, "fUint64": "18446744073709551615", "fSint32": -1, "fSint64": "-1",
        "fFixed32": 7, "fFixed64": "7", "fSfixed32": -7, "fSfixed64": "-7", "fBool": true, "fString": "é\"\n",
        "fBytes": "+/8=", "fColor": "COLOR_GREEN",
        "rDouble": [1.5, "Infinity", 0], "rInt64": ["1", "-2"], "rBool": [true, false], "rString": ["", "a"],
        "rBytes": ["", "AQ=="], "rColor": ["COLOR_RED", 77], "rInner": [{"name": "a"}, {}],
        "rTimestamp": ["1970-01-01T00:00:00Z"], "rValue": [null, 1, "x", [], {}],
        "mText": {"": "empty", "k": "v"}, "mInner": {"-5": {"number": "5"}}, "mFlags": {"true": 1, "false": 0.5},
        "mColors": {"3": "COLOR_RED"}, "mBytes": {"b": "AA=="},
        "oInner": {"deeper": {"tags": ["x"]}},
        "pInt32": 0, "pString": "", "pBool": false, "pColor": "COLOR_UNSPECIFIED",
        "inner": {"name": "n", "number": "1"}, "again": {"fInt32": 1},
        "wTimestamp": "2026-11-21T18:00:00.120Z", "wDuration": "-1.500s", "wMask": "fInt64,inner.deeper.name",
        "wAny": {"@type": "type.googleapis.com/sink.v1.Inner", "name": "in any", "number": "9"},
        "wStruct": {"a": [1, {"b": null}]}, "wValue": null, "wList": [true, "x"], "wEmpty": {},
        "wDouble": 0, "wFloat": "NaN", "wInt64": "0", "wUint64": "1", "wInt32": 0, "wUint32": 2, "wBool": false,
        "wString": "", "wBytes": "AQI="
    }"#;
    serde_json::from_str(text).unwrap()
}

/// True when `part` is in `whole`: what a field is not set to may be there besides.
fn contains(whole: &Value, part: &Value) -> bool {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => {
            part.iter().all(|(name, part)| whole.get(name).is_some_and(|whole| contains(whole, part)))
        }
        (Value::Array(whole), Value::Array(part)) => {
            whole.len() == part.len() && whole.iter().zip(part).all(|(whole, part)| contains(whole, part))
        }
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        (whole, part) => whole == part,
    }
}

/// Compares messages as JSON: a field that is set to its default is the same as one that is not set, the order of a map
/// in an `Any` does not matter, and a message type that refers to itself has an endless `Debug`.
pub(crate) fn assert_same(a: &DynamicMessage, b: &DynamicMessage) {
    let plain = |message: &DynamicMessage| {
        let bytes = message.encode_to_vec();
        serde_json::to_value(DynamicMessage::decode(message.descriptor(), bytes.as_slice()).unwrap()).unwrap()
    };
    assert_eq!(plain(a), plain(b));
}

fn violation(answer: &Answer) -> String {
    answer.json()["details"]
        .as_array()
        .and_then(|details| details.iter().find_map(|detail| detail["fieldViolations"][0]["field"].as_str()))
        .unwrap_or_else(|| panic!("{answer:?}"))
        .to_owned()
}

#[tokio::test]
async fn everything_survives_as_json() {
    let (_backend, cluster) = sink().await;
    let answer = cluster.post("/sink/v1/echo", &everything().to_string()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(contains(&answer.json(), &everything()), "{:#}\n{:#}", answer.json(), everything());
    assert_eq!(answer.headers["x-backend"], "here");
    // The names of the proto, unpadded and URL-safe base64, enums as numbers, numbers as texts and with a point.
    let other = json!({"f_int64": 7, "f_bytes": "-_8", "f_color": 2, "f_uint32": "8", "f_int32": 9.0, "w_mask": ""});
    let answer = cluster.post("/sink/v1/echo", &other.to_string()).await.json();
    let expected = json!({"fInt64": "7", "fBytes": "+/8=", "fColor": "COLOR_GREEN", "fUint32": 8, "fInt32": 9});
    assert!(contains(&answer, &expected), "{answer:#}");
}

#[tokio::test]
async fn grpc_and_json_give_the_same() {
    let (backend, cluster) = sink().await;
    let mut json = everything();
    // NaN is equal to nothing.
    (json["fDouble"], json["wFloat"]) = (json!(0.25), json!(3));
    let message = dynamic::message(&backend.pool, EVERYTHING, &json);
    let (kind, channel) = (message.descriptor(), cluster.channel().await);
    let by_grpc =
        codec::call(channel.clone(), "/sink.v1.Sink/Echo", vec![message.clone()], kind.clone()).await.unwrap();
    assert_same(&by_grpc[0], &message);
    for path in ["/sink/v1/echo", "/sink.v1.Sink/Echo"] {
        let answer = cluster.post(path, &json.to_string()).await;
        let by_json = DynamicMessage::deserialize(kind.clone(), answer.json()).unwrap();
        assert_same(&by_json, &by_grpc[0]);
    }
    // An error is the same too.
    let fail = dynamic::message(&backend.pool, EVERYTHING, &json!({"fString": "fail"}));
    let status = codec::call(channel, "/sink.v1.Sink/Echo", vec![fail], kind).await.map(drop).unwrap_err();
    assert_eq!((status.code(), status.message()), (tonic::Code::NotFound, "nothing like it"));
    let answer = cluster.post("/sink/v1/echo", r#"{"fString": "fail"}"#).await;
    assert_eq!((answer.error().as_str(), &answer.json()["message"]), ("404 NOT_FOUND", &json!("nothing like it")));
}

#[tokio::test]
async fn random_messages_survive_json_and_grpc() {
    let (backend, cluster) = sink().await;
    let kind = backend.pool.get_message_by_name(EVERYTHING).unwrap();
    for seed in 0..150 {
        let message = random::message(&kind, &mut StdRng::seed_from_u64(seed), 0);
        let json = serde_json::to_string(&message).unwrap();
        let answer = cluster.post("/sink/v1/echo", &json).await;
        assert_eq!(answer.status, 200, "seed {seed}: {json}\n{answer:?}");
        let back = DynamicMessage::deserialize(kind.clone(), answer.json()).unwrap();
        assert_same(&back, &message);
    }
}

#[tokio::test]
async fn a_query_sets_every_kind_of_field() {
    let (_backend, cluster) = sink().await;
    for (query, expected) in [
        ("f_double=-1.5e3&fFloat=NaN", json!({"fDouble": -1500, "fFloat": "NaN"})),
        ("f_double=Infinity&f_float=0.5", json!({"fDouble": "Infinity", "fFloat": 0.5})),
        ("f_int32=-7&f_int64=-9223372036854775808", json!({"fInt32": -7, "fInt64": "-9223372036854775808"})),
        ("f_uint32=4294967295&f_uint64=18446744073709551615", json!({"fUint32": 4_294_967_295_u32})),
        ("f_sint32=-1&f_sint64=-1&f_fixed32=1&f_fixed64=2", json!({"fSint32": -1, "fSint64": "-1", "fFixed64": "2"})),
        ("f_sfixed32=-1&f_sfixed64=-2&f_bool=true", json!({"fSfixed32": -1, "fSfixed64": "-2", "fBool": true})),
        ("f_string=a+b%20c%26&f_bytes=-_8", json!({"fString": "a b c&", "fBytes": "+/8="})),
        ("f_color=COLOR_RED", json!({"fColor": "COLOR_RED"})),
        ("f_color=2&p_color=77", json!({"fColor": "COLOR_GREEN", "pColor": 77})),
        (
            "r_int64=1&r_int64=2&r_color=COLOR_RED&r_color=2",
            json!({"rInt64": ["1", "2"], "rColor": ["COLOR_RED", "COLOR_GREEN"]}),
        ),
        ("r_string=&r_string=x&r_bool=false", json!({"rString": ["", "x"], "rBool": [false]})),
        ("r_timestamp=2026-01-01T00:00:00Z", json!({"rTimestamp": ["2026-01-01T00:00:00Z"]})),
        (
            "inner.deeper.name=x&inner.number=5&inner.tags=a&inner.tags=b",
            json!({"inner": {"deeper": {"name": "x"}, "number": "5", "tags": ["a", "b"]}}),
        ),
        ("again.again.p_int32=0", json!({"again": {"again": {"pInt32": 0}}})),
        ("o_number=7", json!({"oNumber": "7"})),
        ("p_int32=0&p_string=&p_bool=false", json!({"pInt32": 0, "pString": "", "pBool": false})),
        ("w_timestamp=2026-11-21T18:00:00%2B02:00", json!({"wTimestamp": "2026-11-21T16:00:00Z"})),
        ("w_duration=-1.5s&w_mask=fInt64,inner.name", json!({"wDuration": "-1.500s", "wMask": "fInt64,inner.name"})),
        ("w_double=1.5&w_float=-Infinity&w_int64=-1", json!({"wDouble": 1.5, "wFloat": "-Infinity", "wInt64": "-1"})),
        ("w_uint64=1&w_int32=0&w_uint32=2", json!({"wUint64": "1", "wInt32": 0, "wUint32": 2})),
        ("w_bool=false&w_string=&w_bytes=AQI", json!({"wBool": false, "wString": "", "wBytes": "AQI="})),
        ("w_value=7&r_value=x&r_value=null", json!({"wValue": 7, "rValue": ["x", null]})),
    ] {
        let answer = cluster.get(&format!("/sink/v1/echo?{query}")).await;
        assert_eq!(answer.status, 200, "{query}: {answer:?}");
        assert!(contains(&answer.json(), &expected), "{query}: {:#}", answer.json());
    }
}

#[tokio::test]
async fn a_wrong_query_is_refused_by_its_field() {
    let (_backend, cluster) = sink().await;
    for (query, expected, field) in [
        ("f_int32=1.5", "400 INVALID_ARGUMENT", "f_int32"),
        ("f_int32=2147483648", "400 INVALID_ARGUMENT", "f_int32"),
        ("f_uint64=-1", "400 INVALID_ARGUMENT", "f_uint64"),
        ("f_bool=1", "400 INVALID_ARGUMENT", "f_bool"),
        ("f_bytes=%21", "400 INVALID_ARGUMENT", "f_bytes"),
        ("f_color=BLUE", "400 INVALID_ARGUMENT", "f_color"),
        ("w_timestamp=yesterday", "400 INVALID_ARGUMENT", "w_timestamp"),
        ("w_duration=5", "400 INVALID_ARGUMENT", "w_duration"),
        ("w_int32=x", "400 INVALID_ARGUMENT", "w_int32"),
        ("inner=x", "400 INVALID_ARGUMENT", "inner"),
        ("m_text=x", "400 INVALID_ARGUMENT", "m_text"),
        ("r_inner.name=x", "400 UNKNOWN_FIELD", "r_inner.name"),
        ("inner.unknown=x", "400 UNKNOWN_FIELD", "inner.unknown"),
        ("f_int32=1&f_int32=2", "400 INVALID_ARGUMENT", "f_int32"),
    ] {
        let answer = cluster.get(&format!("/sink/v1/echo?{query}")).await;
        assert_eq!((answer.error().as_str(), violation(&answer).as_str()), (expected, field), "{query}");
    }
}

#[tokio::test]
async fn every_form_of_an_http_rule_works() {
    let (_backend, cluster) = sink().await;
    let send = async |method: Method, path: &str, body: &'static str| {
        cluster.send(method, path, &[("content-type", "application/json")], Bytes::from_static(body.as_bytes())).await
    };
    // A variable of several segments for a nested field, one field as the body, the rest in the query.
    let answer = send(Method::PUT, "/sink/v1/shelves/a%2Fb/books/2/inner?f_int32=3", r#"{"fBool": true}"#).await.json();
    let expected = json!({"inner": {"name": "shelves/a%2Fb/books/2"}, "again": {"fBool": true}, "fInt32": 3});
    assert!(contains(&answer, &expected), "{answer:#}");
    // The rest of a path; an enum in a path; a list as body and as answer; a text as answer; a verb.
    assert_eq!(cluster.get("/sink/v1/files/a/b%20c/d").await.json()["fString"], "a/b c/d");
    assert_eq!(cluster.get("/sink/v1/files").await.json()["fString"], "");
    let answer = send(Method::PATCH, "/sink/v1/list/COLOR_RED", r#"[{"name": "a"}, {"number": "2"}]"#).await.json();
    assert!(contains(&answer, &json!([{"name": "a"}, {"number": "2"}])), "{answer:#}");
    assert_eq!(cluster.get("/sink/v1/any/thing/-5:look").await.json(), json!("-5"));
    let answer = cluster.get("/sink/v1/pick/x:go?f_int32=7").await.json();
    assert!(contains(&answer, &json!([{"fString": "x", "fInt32": 7}, {"fString": "x"}])), "{answer:#}");
    // Custom methods.
    assert_eq!(send(Method::from_bytes(b"PURGE").unwrap(), "/sink/v1/purge?f_int32=1", "").await.json()["fInt32"], 1);
    for method in [Method::GET, Method::POST, Method::OPTIONS, Method::from_bytes(b"ANY").unwrap()] {
        assert_eq!(send(method, "/sink/v1/every?f_int32=2", "").await.json()["fInt32"], 2);
    }
    // Without a rule, a method is called by its name.
    let answer = send(Method::POST, "/sink.v1.Sink/Plain", r#"{"name": "by name"}"#).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["name"]), (200, &json!("by name")));
    assert_eq!(cluster.get("/sink.v1.Sink/Plain").await.error(), "405 HTTP_METHOD_NOT_ALLOWED");
    assert_eq!(send(Method::POST, "/sink.v1.Sink/None", "{}").await.error(), "404 PATH_NOT_FOUND");
    let answer = send(Method::POST, "/sink/v1/chat", "{}").await;
    assert_eq!(answer.error(), "501 UNIMPLEMENTED");
    assert!(answer.json()["message"].as_str().unwrap().contains("WebSocket"));
}

#[tokio::test]
async fn an_unknown_or_wrong_field_is_named_with_its_path() {
    let (_backend, cluster) = sink().await;
    for (body, expected, field) in [
        (r#"{"inner": {"deeper": {"nme": 1}}}"#, "400 UNKNOWN_FIELD", "inner.deeper.nme"),
        (r#"{"mInner": {"7": {"x": 1}}}"#, "400 UNKNOWN_FIELD", "mInner.7.x"),
        (r#"{"rInner": [{}, {"x": 1}]}"#, "400 UNKNOWN_FIELD", "rInner[1].x"),
        (r#"{"fInt64": "x"}"#, "400 INVALID_ARGUMENT", "fInt64"),
        (r#"{"wTimestamp": "10000-01-01T00:00:00Z"}"#, "400 INVALID_ARGUMENT", "wTimestamp"),
        (r#"{"wDuration": "1"}"#, "400 INVALID_ARGUMENT", "wDuration"),
        (r#"{"fBytes": "!"}"#, "400 INVALID_ARGUMENT", "fBytes"),
        (r#"{"fColor": "BLUE"}"#, "400 INVALID_ARGUMENT", "fColor"),
        (r#"{"fInt32": 1.5}"#, "400 INVALID_ARGUMENT", "fInt32"),
        (r#"{"wAny": {"@type": "type.googleapis.com/no.such.Type"}}"#, "400 INVALID_ARGUMENT", "wAny"),
        (r#"{"wAny": {}}"#, "400 INVALID_ARGUMENT", "wAny"),
        (r#"{"wAny": {"name": "x"}}"#, "400 INVALID_ARGUMENT", "wAny"),
        (r#"{"again": {"wAny": {"@type": ""}}}"#, "400 INVALID_ARGUMENT", "again.wAny"),
    ] {
        let answer = cluster.post("/sink/v1/echo", body).await;
        assert_eq!(answer.error(), expected, "{body}");
        assert!(violation(&answer).starts_with(field), "{body}: {}", violation(&answer));
    }
    let deep = format!("{}{}", r#"{"again":"#.repeat(2_000), "}".repeat(2_000));
    assert_eq!(cluster.post("/sink/v1/echo", &deep).await.status, 400);
}

#[tokio::test]
async fn an_any_may_hold_a_message_of_another_service() {
    let sink = DynamicBackend::start("sink", &dynamic::compile("sink/v1/sink.proto"), Reflection::V1).await;
    let other = DynamicBackend::start("other", &dynamic::compile("other/v1/other.proto"), Reflection::V1).await;
    let cluster = Cluster::of_records(Config::default(), &[&sink.record, &other.record]).await;
    let parcel = json!({
        "@type": "type.googleapis.com/other.v1.Parcel", "grams": "12", "sent": "2026-11-21T00:00:00Z",
    });
    for _ in 0..2 {
        let answer = cluster.post("/sink/v1/echo", &json!({"wAny": parcel, "fInt32": 1}).to_string()).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!((&answer.json()["wAny"], &answer.json()["fInt32"]), (&parcel, &json!(1)));
    }
    let wrong = json!({"wAny": {"@type": "type.googleapis.com/other.v1.Parcel", "kilos": 1}});
    assert_eq!(cluster.post("/sink/v1/echo", &wrong.to_string()).await.error(), "400 UNKNOWN_FIELD");
}

#[tokio::test]
async fn a_stream_comes_as_lines_or_events_and_ends_with_its_error() {
    let (_backend, cluster) = sink().await;
    let answer = cluster.get("/sink/v1/count/3").await;
    let numbers: Vec<Value> =
        answer.text().lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["fInt32"].clone()).collect();
    assert_eq!(numbers, [1, 2, 3]);
    let answer = cluster.get("/sink/v1/count/3?breaks_after=1").await;
    let last: Value = serde_json::from_str(answer.text().lines().last().unwrap()).unwrap();
    assert_eq!((answer.text().lines().count(), &last["error"]["name"]), (2, &json!("STORE_UNAVAILABLE")));
    let sse = [("accept", "text/event-stream")];
    let answer = cluster.send(Method::GET, "/sink/v1/count/2?breaks_after=1", &sse, Bytes::new()).await;
    assert_eq!(answer.headers["content-type"], "text/event-stream");
    let (data, error) = answer.text().split_once("\n\n").unwrap();
    assert!(data.starts_with("data: {") && error.starts_with("event: error\ndata: {"), "{}", answer.text());
}

#[tokio::test]
async fn raw_content_goes_through_as_it_is() {
    let (_backend, cluster) = sink().await;
    let png = [("content-type", "image/png"), ("accept", "*/*")];
    let content = Bytes::from((0..=255).cycle().take(200_000).collect::<Vec<u8>>());
    let answer = cluster.send(Method::POST, "/sink/v1/raw", &png, content.clone()).await;
    assert_eq!((answer.status.as_u16(), &answer.headers["content-type"]), (200, &"image/png".parse().unwrap()));
    assert!(answer.body == content);
    let answer = cluster.send(Method::PUT, "/sink/v1/raw/mine", &png, content.clone()).await;
    assert_eq!((answer.headers["content-type"].to_str().unwrap(), answer.body == content), ("image/png", true));
    let answer = cluster.send(Method::POST, "/sink/v1/raw", &[], Bytes::new()).await;
    assert_eq!((answer.headers["content-type"].to_str().unwrap(), answer.body.len()), ("application/octet-stream", 0));
    let answer = cluster.get("/sink/v1/download/4").await;
    assert_eq!((answer.headers["content-type"].to_str().unwrap(), answer.text()), ("text/csv", "1;2;3;4;"));
    assert_eq!(cluster.get("/sink/v1/download/0").await.text(), "");
    // A download that fails before it began is an error; one that breaks is broken off.
    let response = cluster.try_open(Method::GET, "/sink/v1/download/3?breaks_after=2", &[], Bytes::new()).await;
    if let Ok(response) = response {
        assert!(response.into_body().collect().await.is_err());
    }
}
