//! Every method of the platform, called in four ways: by gRPC, by HTTP/JSON, by a frame over TCP and by one over a WebSocket.
//! What comes back is the same. The services are real.

use std::collections::BTreeSet;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures_util::{SinkExt, StreamExt};
use http::uri::PathAndQuery;
use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use mcp_proto::{
    Error, FILE_DESCRIPTOR_SET,
    frame::{BodyCodec, Command, Decoded, Frame, FrameCodec, Kind, Metadata, Profile, Side},
};
use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, MethodDescriptor, SerializeOptions};
use serde_json::{Value, json};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{client_async, tungstenite::Message};
use tokio_util::codec::{Encoder, Framed};
use tonic::{
    Request, Status,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder as GrpcDecoder, EncodeBuf, Encoder as GrpcEncoder},
    transport::Channel,
};

use crate::support::{Dev, SOON};

/// Fields that are new with each call, or with each moment.
const VOLATILE: [&str; 21] = [
    "createTime",
    "createdTime",
    "updateTime",
    "startTime",
    "finishTime",
    "nextTime",
    "pauseTime",
    "drainTime",
    "fireTime",
    "time",
    "id",
    "taskId",
    "newTaskId",
    "workflowId",
    "traceId",
    "leaseId",
    "secret",
    "version",
    "registeredTime",
    "progressTime",
    "nextPageToken",
];

/// The requests, by method. What needs something to be there works on what `prepare` has made; `$task` and `$workflow` are
/// ids of a finished task and workflow.
#[expect(clippy::too_many_lines, reason = "a table: one entry for each method")]
fn requests() -> Vec<(&'static str, Vec<Value>)> {
    let queue = || json!({"namespace": "default", "queue": "same"});
    let schedule = || json!({"namespace": "default", "name": "same"});
    let spec = || json!({"name": "same", "steps": [{"name": "only", "task": {"process": {"argv": ["true"]}}}]});
    let task = || json!({"taskId": "$task"});
    let workflow = || json!({"workflowId": "$workflow"});
    vec![
        (
            "mcp.gateway.v1.KeyService.CreateKey",
            vec![json!({}), json!({"name": "k", "grants": [{"role": "ROLE_VIEWER"}]})],
        ),
        ("mcp.gateway.v1.KeyService.ListKeys", vec![json!({"pageSize": -1}), json!({"pageSize": 1})]),
        ("mcp.gateway.v1.KeyService.RevokeKey", vec![json!({"id": "0123456789abcdef"}), json!({"id": "x"})]),
        ("mcp.gateway.v1.RouteService.ListRoutes", vec![json!({})]),
        ("mcp.gateway.v1.RouteService.GetRoute", vec![json!({"id": "same"}), json!({"id": "nothing"})]),
        (
            "mcp.gateway.v1.RouteService.ApplyRoute",
            vec![
                json!({"route": {"id": "same", "match": {"path": {"exact": "/same"}}, "respond": {"status": 204}}}),
                json!({"route": {"id": "B"}}),
            ],
        ),
        ("mcp.gateway.v1.RouteService.DeleteRoute", vec![json!({"id": "nothing"})]),
        ("mcp.gateway.v1.RouteService.ListPolicies", vec![json!({})]),
        ("mcp.gateway.v1.RouteService.GetPolicy", vec![json!({"id": "nothing"})]),
        (
            "mcp.gateway.v1.RouteService.ApplyPolicy",
            vec![json!({"policy": {"id": "same", "settings": {"timeout": "9s"}}})],
        ),
        ("mcp.gateway.v1.RouteService.DeletePolicy", vec![json!({"id": "nothing"})]),
        (
            "mcp.gateway.v1.TopicService.Publish",
            vec![json!({"topic": "same", "body": "AQI="}), json!({"topic": "tasks/x"})],
        ),
        (
            "mcp.registry.v1.RegistryService.Register",
            vec![
                json!({"instance": {"service": "same", "instanceId": "one", "address": "127.0.0.1:1"}, "ttl": "60s"}),
                json!({"instance": {"service": "same"}}),
            ],
        ),
        ("mcp.registry.v1.RegistryService.Heartbeat", vec![json!({"service": "same", "instanceId": "two"})]),
        ("mcp.registry.v1.RegistryService.Deregister", vec![json!({"service": "same", "instanceId": "two"})]),
        (
            "mcp.registry.v1.RegistryService.Discover",
            vec![json!({"service": "scheduler"}), json!({"service": "nothing"})],
        ),
        ("mcp.registry.v1.RegistryService.Watch", vec![json!({"service": "scheduler"})]),
        ("mcp.scheduler.v1.PeerService.SubmitStep", vec![json!({})]),
        ("mcp.scheduler.v1.PeerService.ReportStep", vec![json!({})]),
        ("mcp.scheduler.v1.QueueService.GetQueue", vec![queue(), json!({})]),
        ("mcp.scheduler.v1.QueueService.ListQueues", vec![json!({})]),
        (
            "mcp.scheduler.v1.QueueService.SetQueueRules",
            vec![json!({"namespace": "default", "queue": "same", "rules": {"concurrencyMax": 3}}), json!({})],
        ),
        ("mcp.scheduler.v1.QueueService.PauseQueue", vec![queue()]),
        ("mcp.scheduler.v1.QueueService.DrainQueue", vec![queue()]),
        ("mcp.scheduler.v1.QueueService.ResumeQueue", vec![queue()]),
        ("mcp.scheduler.v1.QueueService.GetQueueScaling", vec![queue()]),
        ("mcp.scheduler.v1.QueueService.ListDeadLetters", vec![queue()]),
        ("mcp.scheduler.v1.QueueService.ReplayDeadLetters", vec![queue()]),
        ("mcp.scheduler.v1.QueueService.PurgeDeadLetters", vec![queue()]),
        (
            "mcp.scheduler.v1.ScheduleService.PutSchedule",
            vec![
                json!({"schedule": {"namespace": "default", "name": "same", "cron": ["0 0 1 1 *"],
                "task": {"process": {"argv": ["true"]}}}}),
                json!({"schedule": {"name": "wrong", "cron": ["x"]}}),
            ],
        ),
        ("mcp.scheduler.v1.ScheduleService.GetSchedule", vec![schedule(), json!({"name": "nothing"})]),
        ("mcp.scheduler.v1.ScheduleService.ListSchedules", vec![json!({})]),
        ("mcp.scheduler.v1.ScheduleService.PauseSchedule", vec![schedule()]),
        ("mcp.scheduler.v1.ScheduleService.ResumeSchedule", vec![schedule()]),
        ("mcp.scheduler.v1.ScheduleService.TriggerSchedule", vec![json!({"name": "nothing"})]),
        ("mcp.scheduler.v1.ScheduleService.BackfillSchedule", vec![schedule()]),
        ("mcp.scheduler.v1.ScheduleService.ListFires", vec![json!({"name": "nothing"})]),
        ("mcp.scheduler.v1.ScheduleService.DeleteSchedule", vec![json!({"name": "nothing"})]),
        (
            "mcp.scheduler.v1.TaskService.SubmitTask",
            vec![
                json!({"task": {"handler": {"handler": "nobody"}, "queue": "other"}}),
                json!({"task": {"queue": "a b"}}),
            ],
        ),
        ("mcp.scheduler.v1.TaskService.BatchSubmitTasks", vec![json!({"tasks": [{"queue": "a b"}]}), json!({})]),
        ("mcp.scheduler.v1.TaskService.GetTask", vec![task(), json!({"taskId": "x"})]),
        ("mcp.scheduler.v1.TaskService.ListTasks", vec![json!({"queue": "done"}), json!({"pageSize": -1})]),
        ("mcp.scheduler.v1.TaskService.WaitTask", vec![json!({"taskId": "$task", "timeout": "1s"})]),
        ("mcp.scheduler.v1.TaskService.WatchTasks", vec![json!({"queue": "nothing"})]),
        ("mcp.scheduler.v1.TaskService.CancelTask", vec![task()]),
        ("mcp.scheduler.v1.TaskService.ReadTaskLogs", vec![task(), json!({"taskId": "x"})]),
        ("mcp.scheduler.v1.TaskService.ExplainTask", vec![task()]),
        ("mcp.scheduler.v1.TaskService.RetryTask", vec![task()]),
        ("mcp.scheduler.v1.WorkflowService.SubmitWorkflow", vec![json!({"workflow": {"name": "x"}})]),
        ("mcp.scheduler.v1.WorkflowService.CheckWorkflow", vec![json!({"workflow": spec()})]),
        ("mcp.scheduler.v1.WorkflowService.GetWorkflow", vec![workflow(), json!({"workflowId": "x"})]),
        ("mcp.scheduler.v1.WorkflowService.ListWorkflows", vec![json!({})]),
        ("mcp.scheduler.v1.WorkflowService.WaitWorkflow", vec![json!({"workflowId": "$workflow", "timeout": "1s"})]),
        ("mcp.scheduler.v1.WorkflowService.CancelWorkflow", vec![workflow()]),
        ("mcp.scheduler.v1.WorkflowService.PauseWorkflow", vec![workflow()]),
        ("mcp.scheduler.v1.WorkflowService.ResumeWorkflow", vec![workflow()]),
        (
            "mcp.scheduler.v1.WorkflowService.RerunWorkflow",
            vec![json!({"workflowId": "$workflow", "fromStep": "nothing"})],
        ),
    ]
}

/// What a call came to: its first message as JSON, or its error.
type Outcome = Result<Value, Value>;

/// The ways to call.
struct Ways {
    pool: DescriptorPool,
    url: String,
    frames: String,
    channel: Channel,
}

#[tokio::test]
async fn the_same_call_gives_the_same_in_every_way() {
    let dev = Dev::start(&[]).await;
    let (task, workflow) = prepare(&dev.url).await;
    let ways = Ways::open(&dev).await;
    let mut called = BTreeSet::new();
    for (name, bodies) in requests() {
        let method = method(&ways.pool, name);
        for body in bodies {
            let body = body.to_string().replace("$task", &task).replace("$workflow", &workflow);
            let by_grpc = ways.grpc(&method, &body).await;
            assert_eq!(ways.http(&method, &body).await, by_grpc, "by HTTP: {name} {body}");
            assert_eq!(ways.tcp(&method, &body).await, by_grpc, "by a frame: {name} {body}");
            assert_eq!(ways.socket(&method, &body).await, by_grpc, "by a frame over a WebSocket: {name} {body}");
        }
        called.insert(name.to_owned());
    }
    let methods = ways.pool.services().filter(|service| service.full_name().starts_with("mcp."));
    let methods = methods.flat_map(|service| service.methods().collect::<Vec<_>>());
    let forgotten: Vec<String> = methods
        // A stream of requests is for gRPC, and for a WebSocket at its path.
        .filter(|method| !method.is_client_streaming() && !called.contains(method.full_name()))
        .map(|method| method.full_name().to_owned())
        .collect();
    assert!(forgotten.is_empty(), "not called: {forgotten:?}");
}

fn method(pool: &DescriptorPool, name: &str) -> MethodDescriptor {
    let (service, method) = name.rsplit_once('.').unwrap();
    let service = pool.get_service_by_name(service).unwrap_or_else(|| panic!("{name}"));
    service.methods().find(|known| known.name() == method).unwrap_or_else(|| panic!("{name}"))
}

fn path(method: &MethodDescriptor) -> String {
    format!("/{}/{}", method.parent_service().full_name(), method.name())
}

/// Makes a finished task and a finished workflow.
async fn prepare(url: &str) -> (String, String) {
    let post = async |path: &str, body: Value| {
        testkit::http::send(url, http::Method::POST, path, body.to_string()).await.json()
    };
    let process = json!({"argv": ["echo", "hello"]});
    let task =
        post("/v1/tasks", json!({"process": process, "queue": "done"})).await["taskId"].as_str().unwrap().to_owned();
    let steps = json!([{"name": "only", "task": {"process": {"argv": ["true"]}}}]);
    let workflow = post("/v1/workflows", json!({"name": "done", "steps": steps})).await;
    let workflow = workflow["workflowId"].as_str().unwrap().to_owned();
    for path in [format!("/v1/tasks/{task}:wait?timeout=60s"), format!("/v1/workflows/{workflow}:wait?timeout=60s")] {
        let ended = testkit::http::get(url, &path).await.json();
        assert!(ended["state"].as_str().unwrap().ends_with("_SUCCEEDED"), "{ended}");
    }
    (task, workflow)
}

impl Ways {
    async fn open(dev: &Dev) -> Self {
        let channel = Channel::from_shared(dev.url.clone()).unwrap().connect().await.unwrap();
        let pool = DescriptorPool::decode(FILE_DESCRIPTOR_SET).unwrap();
        Self { pool, url: dev.url.clone(), frames: dev.frames.clone(), channel }
    }

    fn host(&self) -> &str {
        self.url.trim_start_matches("http://")
    }

    async fn grpc(&self, method: &MethodDescriptor, body: &str) -> Outcome {
        let json: Value = serde_json::from_str(body).unwrap();
        let request = DynamicMessage::deserialize(method.input(), json).unwrap().encode_to_vec();
        let mut client = Grpc::new(self.channel.clone());
        client.ready().await.unwrap();
        let path = path(method).parse::<PathAndQuery>().unwrap();
        let request = Request::new(futures_util::stream::iter([Bytes::from(request)]));
        let answered = async {
            let mut answer = client.streaming(request, path, Raw).await?.into_inner();
            answer.message().await
        };
        match timeout(SOON, answered).await.unwrap() {
            Ok(None) => Ok(Value::Null),
            Ok(Some(message)) => {
                let message = DynamicMessage::decode(method.output(), message).unwrap();
                let options = SerializeOptions::new().skip_default_fields(false);
                Ok(plain(message.serialize_with_options(serde_json::value::Serializer, &options).unwrap()))
            }
            Err(status) => Err(plain(Error::from(&status).to_json())),
        }
    }

    async fn http(&self, method: &MethodDescriptor, body: &str) -> Outcome {
        let stream = TokioIo::new(TcpStream::connect(self.host()).await.unwrap());
        let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
        let driver = tokio::spawn(connection);
        let request = http::Request::post(path(method))
            .header("host", self.host())
            .header("content-type", "application/json")
            .body(http_body_util::Full::new(Bytes::from(body.to_owned())))
            .unwrap();
        let mut answer = sender.send_request(request).await.unwrap();
        let mut read = BytesMut::new();
        // A stream may have no end: its first line is enough.
        while !(method.is_server_streaming() && read.contains(&b'\n')) {
            match timeout(SOON, answer.frame()).await.unwrap() {
                Some(frame) => read.extend_from_slice(&frame.unwrap().into_data().unwrap()),
                None => break,
            }
        }
        driver.abort();
        let line = read[..].split(|byte: &u8| method.is_server_streaming() && *byte == b'\n').next().unwrap();
        if line.is_empty() {
            return Ok(Value::Null);
        }
        let json: Value = serde_json::from_slice(line).unwrap();
        match json.get("error") {
            Some(error) if method.is_server_streaming() => Err(plain(error.clone())),
            _ if answer.status().is_success() => Ok(plain(json)),
            _ => Err(plain(json)),
        }
    }

    fn request(method: &MethodDescriptor, body: &str) -> Frame {
        let metadata = Metadata::new().with("method", path(method));
        Frame::request(Command::CALL, 7, body.to_owned()).with_codec(BodyCodec::Json).with_metadata(&metadata)
    }

    async fn tcp(&self, method: &MethodDescriptor, body: &str) -> Outcome {
        let stream = TcpStream::connect(&self.frames).await.unwrap();
        let mut wire = Framed::new(stream, FrameCodec::new(Profile::Standard, 1 << 24, Side::Client));
        wire.send(Self::request(method, body)).await.unwrap();
        match timeout(SOON, wire.next()).await.unwrap().unwrap().unwrap() {
            Decoded::Frame(frame) => outcome(&frame),
            Decoded::Broken(broken) => panic!("{broken:?}"),
        }
    }

    async fn socket(&self, method: &MethodDescriptor, body: &str) -> Outcome {
        let stream = TcpStream::connect(self.host()).await.unwrap();
        let (mut socket, _) = client_async(format!("ws://{}/mcp/ws", self.host()), stream).await.unwrap();
        let (mut codec, mut bytes) = (FrameCodec::new(Profile::Standard, 1 << 24, Side::Client), BytesMut::new());
        codec.encode(Self::request(method, body), &mut bytes).unwrap();
        socket.send(Message::Binary(bytes.freeze())).await.unwrap();
        loop {
            let message = timeout(SOON, socket.next()).await.unwrap().unwrap().unwrap();
            let Message::Binary(message) = message else { continue };
            match codec.decode_message(&mut BytesMut::from(&message[..])).unwrap() {
                Decoded::Frame(frame) => return outcome(&frame),
                Decoded::Broken(broken) => panic!("{broken:?}"),
            }
        }
    }
}

/// What a frame says. A stream without a message is one frame without a body.
fn outcome(frame: &Frame) -> Outcome {
    assert_eq!(frame.sequence, 7);
    let json = || plain(serde_json::from_slice(&frame.body).unwrap());
    match frame.kind {
        Kind::Response if frame.body.is_empty() => Ok(Value::Null),
        Kind::Response => Ok(json()),
        Kind::Error => Err(json()),
        kind => panic!("{kind}"),
    }
}

/// Without what is new with each call. Numbers are compared as such: `1` is `1.0`.
fn plain(json: Value) -> Value {
    match json {
        Value::Object(fields) => {
            let kept = fields.into_iter().filter(|(name, _)| !VOLATILE.contains(&name.as_str()));
            Value::Object(kept.map(|(name, value)| (name, plain(value))).collect())
        }
        Value::Array(values) => Value::Array(values.into_iter().map(plain).collect()),
        Value::Number(number) => json!(number.as_f64()),
        other => other,
    }
}

/// Messages as they are.
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl GrpcEncoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(message);
        Ok(())
    }
}

impl GrpcDecoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}
