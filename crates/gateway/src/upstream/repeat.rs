//! What is needed to send a request again.

use std::{cell::RefCell, rc::Rc};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version};
use tokio::time::Instant;

use crate::{
    body::{forward::Forward, link::Link},
    deadline::{self, GRPC_TIMEOUT},
    trace::{Identity, TRACEPARENT},
};

/// Lists of headers that wait to be used again: as many as calls are sent at a time, mostly.
const SPARE_MAX: usize = 256;

/// Headers of one list that is kept; longer lists are given back to the allocator.
const HEADERS_MAX: usize = 64;

type Headers = Vec<(HeaderName, HeaderValue)>;

/// Lists for headers, used again and again: a copy of a request's head costs no allocation.
#[derive(Debug, Default)]
pub(crate) struct Spares(RefCell<Vec<Headers>>);

/// A copy of a request, until dropped.
#[derive(Debug)]
pub(crate) struct Saved<'a> {
    spares: &'a Spares,
    uri: Uri,
    headers: Headers,
    body: Body,
}

#[derive(Debug)]
enum Body {
    Stream(Rc<Link>),
    Whole(Option<Bytes>),
}

impl<'a> Saved<'a> {
    /// A copy of a `POST` over HTTP/2.
    pub(crate) fn new(request: &Request<Forward>, spares: &'a Spares) -> Self {
        let mut headers = spares.0.borrow_mut().pop().unwrap_or_default();
        // A value of our own making would be copied; these two are made anew.
        let callers = request.headers().iter().filter(|(name, _)| **name != TRACEPARENT && **name != GRPC_TIMEOUT);
        headers.extend(callers.map(|(name, value)| (name.clone(), value.clone())));
        let body = match request.body() {
            Forward::Stream(reader) => Body::Stream(Rc::clone(reader.link())),
            Forward::Whole(message) => Body::Whole(message.clone()),
        };
        Self { spares, uri: request.uri().clone(), headers, body }
    }

    /// The request once more, as it is at this time; `None` when not all of it is there any more.
    pub(crate) fn again(
        &self,
        deadline: Option<Instant>,
        identity: &Identity,
        now: Instant,
    ) -> Option<Request<Forward>> {
        let body = match &self.body {
            Body::Stream(link) => Forward::Stream(link.is_kept().then(|| link.again())?),
            Body::Whole(message) => Forward::Whole(message.clone()),
        };
        let mut headers = HeaderMap::with_capacity(self.headers.len());
        headers.extend(self.headers.iter().map(|(name, value)| (Some(name.clone()), value.clone())));
        identity.inject(&mut headers);
        if let Some(at) = deadline {
            headers.insert(GRPC_TIMEOUT, deadline::remaining(at, now));
        }
        let mut request = Request::new(body);
        *request.method_mut() = Method::POST;
        *request.version_mut() = Version::HTTP_2;
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = headers;
        Some(request)
    }

    /// True when it can be sent again.
    pub(crate) fn is_kept(&self) -> bool {
        match &self.body {
            Body::Stream(link) => link.is_kept(),
            Body::Whole(_) => true,
        }
    }

    /// True when it can be sent again while it is still being sent.
    pub(crate) fn is_whole(&self) -> bool {
        match &self.body {
            Body::Stream(link) => link.is_whole(),
            Body::Whole(_) => true,
        }
    }

    /// An answer has begun: nothing is sent again.
    pub(crate) fn commit(&self) {
        if let Body::Stream(link) = &self.body {
            link.commit();
        }
    }
}

impl Drop for Saved<'_> {
    fn drop(&mut self) {
        let mut headers = std::mem::take(&mut self.headers);
        headers.clear();
        let mut spares = self.spares.0.borrow_mut();
        if spares.len() < SPARE_MAX && headers.capacity() <= HEADERS_MAX {
            spares.push(headers);
        }
    }
}
