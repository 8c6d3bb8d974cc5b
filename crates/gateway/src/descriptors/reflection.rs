//! Asks one instance for its descriptors by gRPC server reflection, v1 and then v1alpha.

use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::uri::PathAndQuery;
use prost_reflect::{DescriptorPool, prost::Message, prost_types::FileDescriptorProto};
use tokio::{sync::mpsc, time::timeout};
use tonic::{
    Code, Request, Status, Streaming,
    client::Grpc,
    transport::{Channel, Endpoint},
};
use tonic_prost::ProstCodec;
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, ServerReflectionResponse, server_reflection_request::MessageRequest,
    server_reflection_response::MessageResponse,
};

use super::schema::{self, Files, Schema};

/// Both versions have the same messages.
const PATHS: [&str; 2] = [
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
];

/// How long connecting may take.
const CONNECT_MAX: Duration = Duration::from_secs(2);

/// How long all of it may take.
const ASK_MAX: Duration = Duration::from_secs(15);

/// Files of one source.
const FILES_MAX: usize = 4_000;

/// Bytes of one answer, and of all files of one source.
const BYTES_MAX: usize = 32 * 1024 * 1024;

/// Why nothing came of asking.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The instance cannot be reached.
    #[error("cannot connect to the instance")]
    Connect(#[source] tonic::transport::Error),
    /// Neither version of reflection is served.
    #[error("the instance does not serve gRPC reflection: it is reached by gRPC only")]
    NoReflection,
    /// The instance answered with an error.
    #[error("reflection failed: {}", .0.message())]
    Refused(#[source] Box<Status>),
    /// It took too long.
    #[error("reflection took longer than {} s", ASK_MAX.as_secs())]
    TimedOut,
    /// It answered more than it may, or not what it was asked for.
    #[error("reflection answered {0}")]
    Answer(String),
    /// The descriptors do not fit together.
    #[error("reflection answered descriptors that cannot be used: {}", cause(.0))]
    Schema(#[source] schema::Error),
}

/// What is wrong with descriptors, in one line.
fn cause(error: &schema::Error) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

/// Pulls the descriptors of `services` and of all that they import, on one stream. `fallback` has the files that an
/// instance need not tell: those of protobuf and of HTTP rules.
///
/// # Errors
/// See [`Error`].
///
/// # Cancellation
/// Dropping the future closes the connection.
pub(crate) async fn pull(address: &str, services: &[String], fallback: &DescriptorPool) -> Result<Schema, Error> {
    let files = timeout(ASK_MAX, files(address, services, fallback)).await.map_err(|_| Error::TimedOut)??;
    let services = services.to_vec();
    // Compiling takes a while, and panics should a descriptor be wrong in a way that prost-reflect does not expect.
    let compiled = tokio::task::spawn_blocking(move || Schema::compile(&files, &services)).await;
    compiled.map_err(|_| Error::Answer("descriptors that cannot be compiled".into()))?.map_err(Error::Schema)
}

async fn files(address: &str, services: &[String], fallback: &DescriptorPool) -> Result<Files, Error> {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(Error::Connect)?;
    let channel = endpoint.connect_timeout(CONNECT_MAX).connect().await.map_err(Error::Connect)?;
    for path in PATHS {
        match Session::collect(channel.clone(), path, services, fallback).await {
            Err(Error::Refused(status)) if status.code() == Code::Unimplemented => {}
            outcome => return outcome,
        }
    }
    Err(Error::NoReflection)
}

/// Questions to one instance, on one connection.
struct Session {
    channel: Channel,
    path: PathAndQuery,
    /// `None` before the first question, and after an instance ended the stream because it does not have something.
    stream: Option<(mpsc::Sender<ServerReflectionRequest>, Streaming<ServerReflectionResponse>)>,
}

impl Session {
    async fn collect(
        channel: Channel,
        path: &'static str,
        services: &[String],
        fallback: &DescriptorPool,
    ) -> Result<Files, Error> {
        let mut session = Self { channel, path: PathAndQuery::from_static(path), stream: None };
        let mut gathered = Gathered::default();
        for service in services {
            match session.ask(MessageRequest::FileContainingSymbol(service.clone())).await? {
                Some(files) => gathered.add(files)?,
                None => tracing::debug!(service, "an instance does not know a service that it registered"),
            }
        }
        while let Some(name) = gathered.missing.pop_front() {
            if gathered.files.contains(&name) {
                continue;
            }
            match session.ask(MessageRequest::FileByFilename(name.clone())).await? {
                Some(files) => gathered.add(files)?,
                None => match known(&name, fallback) {
                    Some(file) => gathered.add(vec![file])?,
                    None => return Err(Error::Answer(format!("a file that imports `{name}`, which it does not have"))),
                },
            }
            if !gathered.files.contains(&name) {
                return Err(Error::Answer(format!("another file than `{name}`")));
            }
        }
        Ok(gathered.files)
    }

    /// Files, or `None` when there is no such thing.
    async fn ask(&mut self, question: MessageRequest) -> Result<Option<Vec<Vec<u8>>>, Error> {
        let question = ServerReflectionRequest { host: String::new(), message_request: Some(question) };
        let answer = match &mut self.stream {
            Some((questions, answers)) => {
                // When the stream has ended, its status says why.
                questions.send(question).await.unwrap_or_default();
                answers.message().await
            }
            None => match self.open(question).await {
                Ok(answers) => answers.message().await,
                Err(status) => Err(status),
            },
        };
        let answer = match answer {
            Ok(answer) => answer,
            // tonic's server says so by ending the stream.
            Err(status) if status.code() == Code::NotFound => {
                self.stream = None;
                return Ok(None);
            }
            Err(status) => return Err(refused(status)),
        };
        match answer.and_then(|answer| answer.message_response) {
            Some(MessageResponse::FileDescriptorResponse(files)) => Ok(Some(files.file_descriptor_proto)),
            Some(MessageResponse::ErrorResponse(error)) if error.error_code == Code::NotFound as i32 => Ok(None),
            Some(MessageResponse::ErrorResponse(error)) => {
                Err(refused(Status::new(Code::from_i32(error.error_code), error.error_message)))
            }
            Some(_) => Err(Error::Answer("something else than files".into())),
            None => Err(Error::Answer("nothing".into())),
        }
    }

    /// Opens the stream with its first question: some servers say nothing before.
    async fn open(
        &mut self,
        first: ServerReflectionRequest,
    ) -> Result<&mut Streaming<ServerReflectionResponse>, Status> {
        let (questions, asked) = mpsc::channel(1);
        let later = stream::unfold(asked, async |mut asked| Some((asked.recv().await?, asked)));
        let asked = stream::iter([first]).chain(later);
        let mut client = Grpc::new(self.channel.clone()).max_decoding_message_size(BYTES_MAX);
        client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        let codec = ProstCodec::<ServerReflectionRequest, ServerReflectionResponse>::default();
        let answers = client.streaming(Request::new(asked), self.path.clone(), codec).await?;
        Ok(&mut self.stream.insert((questions, answers.into_inner())).1)
    }
}

/// What came so far, and what is imported and has not come.
#[derive(Default)]
struct Gathered {
    files: Files,
    bytes: usize,
    missing: VecDeque<String>,
}

impl Gathered {
    fn add(&mut self, files: Vec<Vec<u8>>) -> Result<(), Error> {
        for encoded in files {
            self.bytes += encoded.len();
            if self.bytes > BYTES_MAX || self.files.len() >= FILES_MAX {
                return Err(Error::Answer(format!("more than {FILES_MAX} files or {BYTES_MAX} bytes")));
            }
            let file = FileDescriptorProto::decode(encoded.as_slice())
                .map_err(|error| Error::Answer(format!("a file that cannot be decoded: {error}")))?;
            self.missing.extend(file.dependency.iter().filter(|name| !self.files.contains(name)).cloned());
            self.files.insert(file.name().to_owned(), Bytes::from(encoded));
        }
        Ok(())
    }
}

/// A file that the gateway knows itself.
fn known(name: &str, fallback: &DescriptorPool) -> Option<Vec<u8>> {
    let file = fallback.get_file_by_name(name).or_else(|| DescriptorPool::global().get_file_by_name(name))?;
    Some(file.encode_to_vec())
}

fn refused(status: Status) -> Error {
    Error::Refused(Box::new(status))
}
