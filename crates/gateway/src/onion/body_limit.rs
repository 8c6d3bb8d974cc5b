//! The most that the body of a request may have.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use mcp_proto::{Code, Error};
use tonic::Status;

use super::{
    plan::{Plan, Site, Subject},
    service::LocalService,
};
use crate::{
    body::inbound::{BoxError, Inbound},
    routes::violations::Violations,
};

/// Refuses bodies over a size: at once when their length is announced, else where they pass it.
#[derive(Debug)]
struct BodyLimitPlan {
    bytes_max: u64,
}

/// Plans `settings.body_bytes_max`.
pub(super) fn plan(subject: &Subject<'_>, _: &mut Violations) -> Vec<Arc<dyn Plan>> {
    match subject.settings.body_bytes_max {
        0 => Vec::new(),
        bytes_max => vec![Arc::new(BodyLimitPlan { bytes_max })],
    }
}

impl Plan for BodyLimitPlan {
    fn wrap(&self, inner: LocalService, _: &Site) -> LocalService {
        let bytes_max = self.bytes_max;
        LocalService::of(move |mut exchange| {
            let inner = inner.clone();
            async move {
                let hint = exchange.request.body().size_hint();
                if hint.lower() > bytes_max {
                    return Err(too_large(bytes_max).into());
                }
                if hint.upper().is_none_or(|upper| upper > bytes_max) {
                    exchange.request =
                        exchange.request.map(|body| Inbound::made(Limited { body, bytes_left: bytes_max, bytes_max }));
                }
                inner.answer(exchange).await
            }
        })
    }
}

fn too_large(bytes_max: u64) -> Error {
    Error::new(Code::PayloadTooLarge, format!("the body is over the route's limit of {bytes_max} bytes"))
        .with_metadata("limit_bytes", bytes_max.to_string())
}

/// A body that breaks off where it passes its limit.
#[derive(Debug)]
struct Limited {
    body: Inbound,
    bytes_left: u64,
    bytes_max: u64,
}

impl Body for Limited {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let frame = ready!(Pin::new(&mut this.body).poll_frame(cx));
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
        {
            match this.bytes_left.checked_sub(data.len() as u64) {
                Some(left) => this.bytes_left = left,
                None => return Poll::Ready(Some(Err(Status::from(too_large(this.bytes_max)).into()))),
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
