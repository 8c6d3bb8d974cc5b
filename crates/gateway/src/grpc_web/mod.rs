//! gRPC-Web: gRPC for browsers, which cannot read trailers. They come as a last frame of the body instead, and in the
//! `-text` form everything is base64. It works over HTTP/1.1 too.
//!
//! A call is unwrapped, goes the way of every gRPC call, and its answer is wrapped again; messages are not decoded.
//! Source: <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-WEB.md>.

pub(crate) mod answer;
pub(crate) mod text;

use std::rc::Rc;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Version, header};
use mcp_proto::{Code, Error};

use self::{answer::Wrapped, text::Decoded};
use crate::{
    body::{Body, source::Source},
    core::Core,
    exchange::Exchange,
    metrics::Protocol,
    proxy, reply,
};

/// How content types of this protocol begin.
const PREFIX: &str = "application/grpc-web";

/// What a browser's client says of itself; an instance has no use for it.
const CLIENT_ONLY: [HeaderName; 4] = [
    HeaderName::from_static("x-grpc-web"),
    HeaderName::from_static("x-user-agent"),
    header::ACCEPT,
    header::CONTENT_LENGTH,
];

/// The form of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Frames as they are.
    Binary,
    /// Frames as base64.
    Text,
}

/// The form that a request has, and the format of its messages with its `+`; `None` when it is no gRPC-Web.
pub(crate) fn form(headers: &HeaderMap) -> Option<(Form, &str)> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let rest = value.get(PREFIX.len()..).filter(|_| value[..PREFIX.len()].eq_ignore_ascii_case(PREFIX))?;
    let rest = rest.split(';').next().unwrap_or_default().trim_end();
    let (form, format) = match rest.strip_prefix("-text") {
        Some(format) => (Form::Text, format),
        None => (Form::Binary, rest),
    };
    (format.is_empty() || format.starts_with('+')).then_some((form, format))
}

/// Answers a gRPC-Web call.
pub(crate) async fn serve(core: &Rc<Core>, exchange: Exchange) -> Response<Body> {
    let Exchange { request, context } = exchange;
    let Some((form, format)) = form(request.headers()) else {
        return reply::json_error(&Error::new(Code::UnsupportedMediaType, "this is no gRPC-Web call"));
    };
    if request.method() != Method::POST {
        return reply::json_error(&Error::new(Code::UnsupportedMediaType, "gRPC-Web needs a POST"));
    }
    let grpc = content_type("application/grpc", format);
    let web = web_type(form, format);

    let mut request = request.map(|body| match form {
        Form::Binary => Source::Caller(body),
        Form::Text => Source::Text(Box::new(Decoded::new(body))),
    });
    *request.version_mut() = Version::HTTP_2;
    for name in &CLIENT_ONLY {
        request.headers_mut().remove(name);
    }
    request.headers_mut().insert(header::CONTENT_TYPE, grpc);
    let mut response =
        proxy::call(core, request, Protocol::Web, context).await.map(|body| Body::Web(Wrapped::new(body, form)));
    response.headers_mut().insert(header::CONTENT_TYPE, web);
    response.headers_mut().remove(header::CONTENT_LENGTH);
    response
}

/// Answers a call with an error before it goes anywhere.
pub(crate) fn refuse<B>(request: &Request<B>, error: Error) -> Response<Body> {
    let Some((form, format)) = form(request.headers()) else {
        return reply::json_error(&error);
    };
    let mut response = reply::grpc(error);
    response.headers_mut().insert(header::CONTENT_TYPE, web_type(form, format));
    response
}

fn web_type(form: Form, format: &str) -> HeaderValue {
    content_type(if form == Form::Text { "application/grpc-web-text" } else { PREFIX }, format)
}

fn content_type(essence: &str, format: &str) -> HeaderValue {
    HeaderValue::from_maybe_shared(format!("{essence}{format}")).unwrap_or(HeaderValue::from_static(PREFIX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_is_told_by_the_content_type() {
        for (text, expected) in [
            ("application/grpc-web", Some((Form::Binary, ""))),
            ("application/grpc-web+proto", Some((Form::Binary, "+proto"))),
            ("Application/gRPC-Web-text; charset=utf-8", Some((Form::Text, ""))),
            ("application/grpc-web-text+proto", Some((Form::Text, "+proto"))),
            ("application/grpc-webby", None),
            ("application/grpc", None),
            ("é", None),
        ] {
            let headers =
                HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_bytes(text.as_bytes()).unwrap())]);
            assert_eq!(form(&headers), expected, "{text}");
        }
    }
}
