//! The messages of a worker session, with what only passes through left encoded.
//!
//! On the wire they are those of `worker_session_service.proto`, byte for byte (tests compare them). A spec goes from
//! the store to the worker, and an output from the worker to the store, without being decoded here.

use bytes::Bytes;
use mcp_proto::{common::v1::Error, worker::v1};
use prost::{Message, Oneof};

/// `mcp.worker.v1.OpenSessionRequest`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct OpenSessionRequest {
    #[prost(message, optional, tag = "1")]
    pub(crate) hello: Option<v1::WorkerHello>,
    #[prost(uint32, tag = "2")]
    pub(crate) credits: u32,
    #[prost(message, repeated, tag = "3")]
    pub(crate) results: Vec<AttemptResult>,
    #[prost(message, repeated, tag = "4")]
    pub(crate) logs: Vec<v1::AttemptLogs>,
    #[prost(message, repeated, tag = "5")]
    pub(crate) progress: Vec<v1::AttemptProgress>,
    #[prost(message, repeated, tag = "6")]
    pub(crate) handed_back: Vec<v1::AttemptRef>,
    #[prost(uint64, tag = "7")]
    pub(crate) pong: u64,
    #[prost(message, repeated, tag = "8")]
    pub(crate) running: Vec<v1::AttemptRef>,
    #[prost(uint32, tag = "9")]
    pub(crate) reclaim: u32,
}

/// `mcp.worker.v1.AttemptResult`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct AttemptResult {
    #[prost(message, optional, tag = "1")]
    pub(crate) attempt: Option<v1::AttemptRef>,
    #[prost(oneof = "Outcome", tags = "2, 3, 4")]
    pub(crate) outcome: Option<Outcome>,
    #[prost(int32, optional, tag = "5")]
    pub(crate) exit_code: Option<i32>,
}

/// How an attempt ended.
#[derive(Clone, PartialEq, Oneof)]
pub(crate) enum Outcome {
    /// It did its work.
    #[prost(message, tag = "2")]
    Success(AttemptSuccess),
    /// It failed.
    #[prost(message, tag = "3")]
    Failure(Error),
    /// It was stopped on request.
    #[prost(message, tag = "4")]
    Cancelled(v1::AttemptCancelled),
}

/// `mcp.worker.v1.AttemptSuccess`.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct AttemptSuccess {
    /// An encoded `google.protobuf.Value`.
    #[prost(bytes = "bytes", optional, tag = "1")]
    pub(crate) output: Option<Bytes>,
}

/// `mcp.worker.v1.OpenSessionResponse`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct OpenSessionResponse {
    #[prost(message, optional, tag = "1")]
    pub(crate) welcome: Option<v1::SessionWelcome>,
    #[prost(message, repeated, tag = "2")]
    pub(crate) assignments: Vec<Assignment>,
    #[prost(message, repeated, tag = "3")]
    pub(crate) cancellations: Vec<v1::Cancellation>,
    #[prost(message, repeated, tag = "4")]
    pub(crate) acknowledged: Vec<v1::AttemptRef>,
    #[prost(uint64, tag = "5")]
    pub(crate) ping: u64,
    #[prost(message, repeated, tag = "6")]
    pub(crate) not_mine: Vec<v1::AttemptRef>,
    #[prost(message, repeated, tag = "7")]
    pub(crate) adopted: Vec<v1::AttemptRef>,
    #[prost(bool, tag = "8")]
    pub(crate) report: bool,
    #[prost(uint32, optional, tag = "9")]
    pub(crate) reclaimed: Option<u32>,
    #[prost(message, repeated, tag = "10")]
    pub(crate) revoked: Vec<v1::AttemptRef>,
}

/// `mcp.worker.v1.Assignment`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Assignment {
    #[prost(message, optional, tag = "1")]
    pub(crate) attempt: Option<v1::AttemptRef>,
    #[prost(uint32, tag = "2")]
    pub(crate) number: u32,
    /// An encoded `TaskSpec`.
    #[prost(bytes = "bytes", tag = "3")]
    pub(crate) spec: Bytes,
    /// Text.
    #[prost(bytes = "bytes", tag = "4")]
    pub(crate) traceparent: Bytes,
}

#[cfg(test)]
mod tests {
    use mcp_proto::{
        common::v1::Error,
        scheduler::v1::{HandlerWork, Progress, TaskSpec, task_spec::Work},
        worker::v1,
    };
    use prost::Message as _;
    use prost_types::{Value, value::Kind};

    use super::{OpenSessionRequest, OpenSessionResponse, Outcome};

    fn attempt(n: u64) -> v1::AttemptRef {
        v1::AttemptRef { task_id: n.to_string(), token: Some(v1::FencingToken { epoch: n, sequence: n + 1 }) }
    }

    #[test]
    fn a_request_is_the_one_of_the_contract() {
        let output = Value { kind: Some(Kind::StringValue("done".to_owned())) };
        let results = [
            v1::attempt_result::Outcome::Success(v1::AttemptSuccess { output: Some(output.clone()) }),
            v1::attempt_result::Outcome::Success(v1::AttemptSuccess { output: None }),
            v1::attempt_result::Outcome::Failure(Error { code: 3001, ..Error::default() }),
            v1::attempt_result::Outcome::Cancelled(v1::AttemptCancelled {}),
        ]
        .map(|outcome| v1::AttemptResult {
            attempt: Some(attempt(1)),
            outcome: Some(outcome),
            exit_code: Some(-9),
        });
        let theirs = v1::OpenSessionRequest {
            hello: Some(v1::WorkerHello { worker_id: "w".to_owned(), credits: 5, ..v1::WorkerHello::default() }),
            credits: 3,
            results: results.into(),
            logs: vec![v1::AttemptLogs { attempt: Some(attempt(2)), lines: vec![v1::AttemptLogLine::default()] }],
            progress: vec![v1::AttemptProgress { attempt: Some(attempt(3)), progress: Some(Progress::default()) }],
            handed_back: vec![attempt(4)],
            pong: 8,
            running: vec![attempt(5)],
            reclaim: 7,
        };
        let bytes = theirs.encode_to_vec();
        let ours = OpenSessionRequest::decode(&bytes[..]).unwrap();
        assert_eq!(ours.encode_to_vec(), bytes);
        let Some(Outcome::Success(success)) = &ours.results[0].outcome else { panic!("{ours:?}") };
        assert_eq!(Value::decode(success.output.clone().unwrap()).unwrap(), output);
    }

    #[test]
    fn a_response_is_the_one_of_the_contract() {
        let work = HandlerWork { handler: "h".to_owned(), input: None };
        let spec = TaskSpec { queue: "q".to_owned(), work: Some(Work::Handler(work)), ..TaskSpec::default() };
        let theirs = v1::OpenSessionResponse {
            welcome: Some(v1::SessionWelcome { revoked: vec![attempt(1)], ..v1::SessionWelcome::default() }),
            assignments: vec![v1::Assignment {
                attempt: Some(attempt(2)),
                number: 3,
                spec: Some(spec.clone()),
                traceparent: "00-ab".to_owned(),
            }],
            cancellations: vec![v1::Cancellation { attempt: Some(attempt(4)), reason: "r".to_owned() }],
            acknowledged: vec![attempt(5)],
            ping: 6,
            not_mine: vec![attempt(7)],
            adopted: vec![attempt(8), attempt(9)],
            report: true,
            reclaimed: Some(0),
            revoked: vec![attempt(10)],
        };
        let bytes = theirs.encode_to_vec();
        let ours = OpenSessionResponse::decode(&bytes[..]).unwrap();
        assert_eq!(ours.encode_to_vec(), bytes);
        assert_eq!(ours.assignments[0].spec, spec.encode_to_vec());
    }
}
