//! Which headers end at the gateway.

use http::{HeaderMap, HeaderName, HeaderValue, header};

/// On every answer: the trace to look for.
pub(crate) const X_TRACE_ID: HeaderName = HeaderName::from_static("x-trace-id");

/// To instances: who calls, as the gateway found out. What callers send under this name is removed.
pub(crate) const PRINCIPAL: HeaderName = HeaderName::from_static("mcp-principal");

/// To the gateway's own services: that the data plane sends the call. What callers send under this name is removed.
pub(crate) const PASSWORD: HeaderName = HeaderName::from_static("mcp-gateway-password");

/// Headers that speak of one connection. Source: RFC 9110, section 7.6.1, and what is still seen in the wild.
const HOP_BY_HOP: [HeaderName; 6] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::TE,
];

/// Headers of an HTTP/JSON request that say nothing to a gRPC method.
const HTTP_ONLY: [HeaderName; 11] = [
    header::HOST,
    header::CONTENT_TYPE,
    header::CONTENT_LENGTH,
    header::CONTENT_ENCODING,
    header::ACCEPT,
    header::ACCEPT_ENCODING,
    header::EXPECT,
    header::USER_AGENT,
    HeaderName::from_static("grpc-timeout"),
    HeaderName::from_static("x-timeout"),
    HeaderName::from_static("grpc-encoding"),
];

/// Headers of a gRPC answer that say nothing to an HTTP caller.
const GRPC_ONLY: [HeaderName; 6] = [
    header::CONTENT_TYPE,
    header::CONTENT_LENGTH,
    header::DATE,
    HeaderName::from_static("grpc-encoding"),
    HeaderName::from_static("grpc-accept-encoding"),
    HeaderName::from_static("trailer"),
];

/// Removes what ends at this hop, the headers named by `connection` included.
pub(crate) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    if let Some(named) = headers.get(header::CONNECTION).cloned() {
        for name in named.to_str().unwrap_or_default().split(',') {
            headers.remove(name.trim());
        }
    }
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
}

/// Makes the headers of an HTTP/JSON request the metadata of a gRPC call.
pub(crate) fn into_metadata(headers: &mut HeaderMap) {
    strip_hop_by_hop(headers);
    for name in &HTTP_ONLY {
        headers.remove(name);
    }
}

/// Makes the metadata of a gRPC answer the headers of an HTTP one.
pub(crate) fn into_http(headers: &mut HeaderMap) {
    strip_hop_by_hop(headers);
    for name in &GRPC_ONLY {
        headers.remove(name);
    }
}

/// True for a gRPC request: `application/grpc`, alone or with `+format` or parameters. `application/grpc-web` is none.
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.as_bytes().strip_prefix(b"application/grpc"))
        .is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';' | b' ')))
}

/// True for every kind of gRPC request, gRPC-Web too: its path names a method.
pub(crate) fn is_any_grpc(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    value.is_some_and(|value| value.starts_with(b"application/grpc"))
}

/// True when a body of this content type can be JSON: `application/json`, `…+json`, or not said.
pub(crate) fn may_be_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(header::CONTENT_TYPE) else {
        return true;
    };
    let Ok(text) = value.to_str() else {
        return false;
    };
    let essence = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence.is_empty() || essence == "application/json" || (essence.contains('/') && essence.ends_with("+json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content_type(text: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(text))])
    }

    #[test]
    fn content_types_are_told_apart() {
        for (text, grpc, json) in [
            ("application/grpc", true, false),
            ("application/grpc+proto", true, false),
            ("application/grpc;x=y", true, false),
            ("application/grpc-web", false, false),
            ("application/json", false, true),
            ("Application/JSON; charset=utf-8", false, true),
            ("application/merge-patch+json", false, true),
            ("text/plain", false, false),
            ("application/x-www-form-urlencoded", false, false),
        ] {
            let headers = content_type(text);
            assert_eq!((is_grpc(&headers), may_be_json(&headers)), (grpc, json), "{text}");
        }
        assert!(may_be_json(&HeaderMap::new()) && !is_grpc(&HeaderMap::new()));
    }

    #[test]
    fn what_connection_names_ends_here_too() {
        let mut headers = HeaderMap::new();
        for (name, value) in [("connection", "close, x-mine"), ("x-mine", "1"), ("x-other", "2"), ("te", "trailers")] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        strip_hop_by_hop(&mut headers);
        assert_eq!(headers.into_iter().map(|(name, _)| name.unwrap()).collect::<Vec<_>>(), ["x-other"]);
    }
}
