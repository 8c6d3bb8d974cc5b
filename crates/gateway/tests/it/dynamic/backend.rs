//! A backend that serves whatever its descriptors say, with or without reflection.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use mcp_coord::InstanceRecord;
use mcp_proto::{Code, Error};
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, MethodDescriptor, ReflectMessage, Value};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{Request, Response, Status, Streaming, body::Body, server::Grpc, service::Routes};
use tower::Service;

use super::codec::Dynamic;

/// How a backend tells its descriptors.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reflection {
    V1,
    V1Alpha,
    None,
}

/// A running backend. It stops when dropped.
pub(crate) struct DynamicBackend {
    pub(crate) record: InstanceRecord,
    pub(crate) pool: DescriptorPool,
    /// Streams of descriptors that were opened.
    pub(crate) asked: Arc<AtomicUsize>,
    _stop: DropGuard,
}

impl DynamicBackend {
    /// Serves every service in `set` on a free port.
    pub(crate) async fn start(name: &str, set: &[u8], reflection: Reflection) -> Self {
        Self::telling(name, set, set, reflection).await
    }

    /// The same, but it tells other descriptors than it serves.
    pub(crate) async fn telling(name: &str, set: &[u8], told: &[u8], reflection: Reflection) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let pool = DescriptorPool::decode(set).unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let served = Arc::new(Served { pool: pool.clone(), own: own(told, reflection), asked: Arc::clone(&asked) });
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        tokio::spawn(async move {
            while let Some(Ok((stream, _))) = stopped.run_until_cancelled(listener.accept()).await {
                let (served, stopped) = (Arc::clone(&served), stopped.clone());
                tokio::spawn(async move {
                    let service = service_fn(move |request| {
                        let served = Arc::clone(&served);
                        async move { Ok::<_, Infallible>(served.answer(request).await) }
                    });
                    let connection =
                        http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service);
                    drop(stopped.run_until_cancelled(connection).await);
                });
            }
        });
        let grpc_services = pool.services().map(|service| service.full_name().to_owned()).collect();
        let record = InstanceRecord {
            service: name.into(),
            instance_id: format!("{name}-{}", address.port()),
            address: address.to_string(),
            version: "1.0.0".into(),
            zone: String::new(),
            weight: 100,
            grpc_services,
            labels: Default::default(),
            registered_unix_ms: 1,
        };
        Self { record, pool, asked, _stop: stop.drop_guard() }
    }

    /// How often it was asked for descriptors.
    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

fn own(set: &[u8], reflection: Reflection) -> Option<Routes> {
    let builder = tonic_reflection::server::Builder::configure().register_encoded_file_descriptor_set(set);
    match reflection {
        Reflection::V1 => Some(Routes::new(builder.build_v1().unwrap())),
        Reflection::V1Alpha => Some(Routes::new(builder.build_v1alpha().unwrap())),
        Reflection::None => None,
    }
}

struct Served {
    pool: DescriptorPool,
    own: Option<Routes>,
    asked: Arc<AtomicUsize>,
}

type Messages = Pin<Box<dyn Stream<Item = Result<DynamicMessage, Status>> + Send>>;

impl Served {
    async fn answer(&self, request: http::Request<Incoming>) -> http::Response<Body> {
        let path = request.uri().path().to_owned();
        if path.starts_with("/grpc.reflection.") {
            self.asked.fetch_add(1, Ordering::SeqCst);
            return match self.own.clone() {
                Some(mut own) => own.call(request).await.unwrap(),
                None => Status::unimplemented("no reflection").into_http(),
            };
        }
        let method = path.strip_prefix('/').and_then(|path| path.split_once('/')).and_then(|(service, method)| {
            self.pool.get_service_by_name(service)?.methods().find(|candidate| candidate.name() == method)
        });
        let Some(method) = method else {
            return Status::unimplemented("no such method").into_http();
        };
        // To gRPC every kind of call is a stream in both directions.
        let mut grpc = Grpc::new(Dynamic(method.input())).max_decoding_message_size(usize::MAX);
        let handler = tower::service_fn(move |request: Request<Streaming<DynamicMessage>>| {
            let method = method.clone();
            async move { serve(&method, request.into_inner()).await.map(marked) }
        });
        grpc.streaming(handler, request).await
    }
}

/// An answer with a metadata entry.
fn marked(messages: Messages) -> Response<Messages> {
    let mut response = Response::new(messages);
    response.metadata_mut().insert("x-backend", "here".parse().unwrap());
    response
}

async fn serve(method: &MethodDescriptor, mut messages: Streaming<DynamicMessage>) -> Result<Messages, Status> {
    let output = method.output();
    if method.is_client_streaming() && method.is_server_streaming() {
        return Ok(Box::pin(messages.map(|message| message.and_then(echo))));
    }
    if method.name().starts_with("Store") {
        return store(output, messages).await.map(once);
    }
    if method.is_client_streaming() {
        let (mut count, mut text) = (0, String::new());
        while let Some(message) = messages.message().await? {
            count += 1;
            text.push_str(echo(message)?.get_field_by_name("f_string").unwrap().as_str().unwrap());
        }
        let mut answer = DynamicMessage::new(output);
        answer.set_field_by_name("count", Value::I32(count));
        answer.set_field_by_name("text", Value::String(text));
        return Ok(once(answer));
    }
    let Some(request) = messages.message().await? else {
        return Err(Status::invalid_argument("no message"));
    };
    match method.name() {
        "Pick" => {
            let mut answer = DynamicMessage::new(output);
            answer.set_field_by_name(
                "items",
                Value::List(vec![Value::Message(request.clone()), Value::Message(request)]),
            );
            Ok(once(answer))
        }
        "Count" | "Download" => {
            let number = |name: &str| request.get_field_by_name(name).unwrap().as_i32().unwrap();
            let (to, breaks_after) = (number("to"), number("breaks_after"));
            let messages = (1..=to).map(move |number| {
                if breaks_after > 0 && number > breaks_after {
                    return Err(Error::new(Code::StoreUnavailable, "the store is away").into());
                }
                let mut message = DynamicMessage::new(output.clone());
                if output.name() == "HttpBody" {
                    message.set_field_by_name("content_type", Value::String("text/csv".into()));
                    message.set_field_by_name("data", Value::Bytes(Bytes::from(format!("{number};"))));
                } else {
                    message.set_field_by_name("f_int32", Value::I32(number));
                }
                Ok(message)
            });
            Ok(Box::pin(stream::iter(messages.collect::<Vec<_>>())))
        }
        // What answers with another type answers with nothing in it.
        _ if method.input() != output => Ok(once(DynamicMessage::new(output))),
        _ => Ok(once(echo(request)?)),
    }
}

/// Counts the bytes of content, and tells what each message has besides.
async fn store(output: MessageDescriptor, mut messages: Streaming<DynamicMessage>) -> Result<DynamicMessage, Status> {
    let (mut count, mut said) = (0, Vec::new());
    while let Some(message) = messages.message().await? {
        let text = |message: &DynamicMessage, name: &str| {
            message.get_field_by_name(name).and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
        };
        let content = message.get_field_by_name("content").and_then(|value| value.as_message().cloned());
        let content = content.unwrap_or_else(|| message.clone());
        count += content.get_field_by_name("data").unwrap().as_bytes().unwrap().len();
        said.push(text(&message, "name") + &text(&content, "content_type"));
    }
    said.dedup();
    let mut answer = DynamicMessage::new(output);
    answer.set_field_by_name("count", Value::I32(i32::try_from(count).unwrap()));
    answer.set_field_by_name("text", Value::String(said.join(",")));
    Ok(answer)
}

fn once(message: DynamicMessage) -> Messages {
    Box::pin(stream::iter([Ok(message)]))
}

/// The message itself, or an error when its text asks for one.
fn echo(message: DynamicMessage) -> Result<DynamicMessage, Status> {
    let is_fail = message
        .descriptor()
        .get_field_by_name("f_string")
        .is_some_and(|field| message.get_field(&field).as_str() == Some("fail"));
    if is_fail { Err(Error::new(Code::NotFound, "nothing like it").into()) } else { Ok(message) }
}
