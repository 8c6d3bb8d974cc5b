//! gRPC server reflection, v1 and v1alpha, of an [`Index`].

use std::{pin::Pin, sync::Arc};

use futures_util::{Stream, stream};
use prost::Message;
use tonic::{Request, Response, Status, Streaming};
use tonic_reflection::pb::{
    v1::{self, server_reflection_server::ServerReflection as V1},
    v1alpha::{self, server_reflection_server::ServerReflection as V1Alpha},
};

use super::index::{Index, Told};
use crate::descriptors::derived::Derived;

/// Answers of one stream.
type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Both versions. Clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct Reflection {
    index: Derived<Index>,
}

impl Reflection {
    /// By an index that is always that of now.
    pub(crate) fn new(index: Derived<Index>) -> Self {
        Self { index }
    }
}

/// One stream: what its client has, of which index.
struct Session {
    index: Derived<Index>,
    of: Option<Arc<Index>>,
    told: Told,
}

impl Session {
    fn new(reflection: &Reflection) -> Self {
        Self { index: reflection.index.clone(), of: None, told: Told::default() }
    }

    async fn answer(&mut self, request: v1::ServerReflectionRequest) -> Result<v1::ServerReflectionResponse, Status> {
        let Some(question) = &request.message_request else {
            return Err(Status::invalid_argument("the request asks for nothing"));
        };
        let index = self.index.get().await?;
        if !self.of.as_ref().is_some_and(|before| Arc::ptr_eq(before, &index)) {
            self.told.clear();
        }
        let message_response = Some(index.answer(question, &mut self.told));
        self.of = Some(index);
        Ok(v1::ServerReflectionResponse {
            valid_host: request.host.clone(),
            original_request: Some(request),
            message_response,
        })
    }
}

#[tonic::async_trait]
impl V1 for Reflection {
    type ServerReflectionInfoStream = Answers<v1::ServerReflectionResponse>;

    async fn server_reflection_info(
        &self,
        request: Request<Streaming<v1::ServerReflectionRequest>>,
    ) -> Result<Response<Self::ServerReflectionInfoStream>, Status> {
        let state = (request.into_inner(), Session::new(self));
        let answers = stream::try_unfold(state, async |(mut questions, mut session)| {
            let Some(question) = questions.message().await? else {
                return Ok(None);
            };
            let answer = session.answer(question).await?;
            Ok(Some((answer, (questions, session))))
        });
        Ok(Response::new(Box::pin(answers)))
    }
}

#[tonic::async_trait]
impl V1Alpha for Reflection {
    type ServerReflectionInfoStream = Answers<v1alpha::ServerReflectionResponse>;

    async fn server_reflection_info(
        &self,
        request: Request<Streaming<v1alpha::ServerReflectionRequest>>,
    ) -> Result<Response<Self::ServerReflectionInfoStream>, Status> {
        let state = (request.into_inner(), Session::new(self));
        let answers = stream::try_unfold(state, async |(mut questions, mut session)| {
            let Some(question) = questions.message().await? else {
                return Ok(None);
            };
            let answer = session.answer(recoded(&question)?).await?;
            Ok(Some((recoded(&answer)?, (questions, session))))
        });
        Ok(Response::new(Box::pin(answers)))
    }
}

/// The same message of the other version: their fields are alike.
fn recoded<T: Message + Default>(message: &impl Message) -> Result<T, Status> {
    T::decode(message.encode_to_vec().as_slice()).map_err(|error| Status::internal(error.to_string()))
}
