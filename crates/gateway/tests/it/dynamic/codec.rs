//! Messages of any type over gRPC.

use http::uri::PathAndQuery;
use prost_reflect::{DynamicMessage, MessageDescriptor, prost::Message};
use tonic::{
    Request, Status, Streaming,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    transport::Channel,
};

/// Decodes messages of one type, encodes any.
#[derive(Clone)]
pub(crate) struct Dynamic(pub(crate) MessageDescriptor);

impl Codec for Dynamic {
    type Encode = DynamicMessage;
    type Decode = DynamicMessage;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        self.clone()
    }

    fn decoder(&mut self) -> Self {
        self.clone()
    }
}

impl Encoder for Dynamic {
    type Item = DynamicMessage;
    type Error = Status;

    fn encode(&mut self, message: DynamicMessage, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        message.encode(buffer).map_err(|error| Status::internal(error.to_string()))
    }
}

impl Decoder for Dynamic {
    type Item = DynamicMessage;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<DynamicMessage>, Status> {
        DynamicMessage::decode(self.0.clone(), buffer)
            .map(Some)
            .map_err(|error| Status::invalid_argument(error.to_string()))
    }
}

/// Calls a method of any kind with these messages, and gathers its answer.
pub(crate) async fn call(
    channel: Channel,
    path: &'static str,
    messages: Vec<DynamicMessage>,
    output: MessageDescriptor,
) -> Result<Vec<DynamicMessage>, Status> {
    let mut client = Grpc::new(channel);
    client.ready().await.unwrap();
    let request = Request::new(futures_util::stream::iter(messages));
    let answer = client.streaming(request, PathAndQuery::from_static(path), Dynamic(output)).await?;
    let mut answer: Streaming<DynamicMessage> = answer.into_inner();
    let mut messages = Vec::new();
    while let Some(message) = answer.message().await? {
        messages.push(message);
    }
    Ok(messages)
}
