//! Something that is served as a whole, again and again: with a tag, so that who has it need not get it again, and packed.

use std::io::Write as _;

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use xxhash_rust::xxh3::xxh3_128;

use crate::{body::Body, reply};

/// Callers may keep it, and ask each time whether it is still the same.
const CACHE: HeaderValue = HeaderValue::from_static("private, no-cache");
const VARY: HeaderValue = HeaderValue::from_static("accept-encoding, authorization, x-api-key");
const GZIP: HeaderValue = HeaderValue::from_static("gzip");
const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");

/// What is smaller is not packed, in bytes.
const PACKED_MIN: usize = 1_024;

/// The content in both forms.
#[derive(Debug)]
pub(crate) struct Content {
    content_type: HeaderValue,
    plain: Form,
    packed: Option<Form>,
}

#[derive(Debug)]
struct Form {
    bytes: Bytes,
    /// Quoted, as it stands in `etag`.
    tag: String,
}

impl Content {
    /// Packs and tags it.
    pub(crate) fn new(content_type: &'static str, bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        let digest = xxh3_128(&bytes);
        let packed = (bytes.len() >= PACKED_MIN).then(|| pack(&bytes)).flatten();
        Self {
            content_type: HeaderValue::from_static(content_type),
            packed: packed.map(|bytes| Form { bytes, tag: format!("\"{digest:032x}-gzip\"") }),
            plain: Form { bytes, tag: format!("\"{digest:032x}\"") },
        }
    }

    /// The answer to a request with these headers: the content, or that it has not changed.
    pub(crate) fn answer(&self, asked: &HeaderMap) -> Response<Body> {
        let packed = self.packed.as_ref().filter(|_| accepts_gzip(asked));
        let form = packed.unwrap_or(&self.plain);
        let mut response = if has(asked, &form.tag) {
            let mut response = Response::new(Body::Empty);
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            response
        } else {
            let mut response = reply::body(StatusCode::OK, self.content_type.clone(), form.bytes.clone());
            if packed.is_some() {
                response.headers_mut().insert(header::CONTENT_ENCODING, GZIP);
            }
            response
        };
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, CACHE);
        headers.insert(header::VARY, VARY);
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, NOSNIFF);
        if let Ok(tag) = HeaderValue::from_str(&form.tag) {
            headers.insert(header::ETAG, tag);
        }
        response
    }
}

/// `None`: it cannot be packed, so it is served as it is.
fn pack(bytes: &[u8]) -> Option<Bytes> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).ok()?;
    encoder.finish().ok().map(Bytes::from)
}

/// The elements of a header that is a list, whether on one line or on several.
fn elements<'h>(headers: &'h HeaderMap, name: &header::HeaderName) -> impl Iterator<Item = &'h str> {
    let lines = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim)
}

fn accepts_gzip(headers: &HeaderMap) -> bool {
    elements(headers, &header::ACCEPT_ENCODING).any(|element| {
        let mut parts = element.split(';').map(str::trim);
        let is_gzip = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
        let weight = parts.find_map(|part| part.strip_prefix("q=")).map(str::parse::<f32>);
        is_gzip && !matches!(weight, Some(Ok(weight)) if weight <= 0.0)
    })
}

/// True when the caller has it. Tags are compared weakly. Source: RFC 9110, section 13.1.2.
fn has(headers: &HeaderMap, tag: &str) -> bool {
    elements(headers, &header::IF_NONE_MATCH).any(|element| element == "*" || element.trim_start_matches("W/") == tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn whoever_has_it_is_not_sent_it_again() {
        let content = Content::new("text/plain", "x".repeat(PACKED_MIN));
        let first = content.answer(&HeaderMap::new());
        let tag = first.headers()["etag"].to_str().unwrap().to_owned();
        assert_eq!((first.status(), first.headers()["content-type"].as_bytes()), (StatusCode::OK, &b"text/plain"[..]));
        for (shown, status) in [
            (tag.clone(), 304),
            (format!("W/{tag}"), 304),
            (format!("\"other\", {tag}"), 304),
            ("*".into(), 304),
            ("\"other\"".into(), 200),
            (String::new(), 200),
        ] {
            let answer = content.answer(&headers(&[("if-none-match", &shown)]));
            assert_eq!(
                (answer.status().as_u16(), answer.headers()["etag"].to_str().unwrap()),
                (status, &*tag),
                "{shown}"
            );
        }
        let other = Content::new("text/plain", "y").answer(&headers(&[("if-none-match", &tag)]));
        assert_eq!(other.status(), StatusCode::OK);
    }

    #[test]
    fn it_is_packed_for_those_who_can_unpack_it() {
        let content = Content::new("text/plain", "x".repeat(PACKED_MIN));
        for (accepted, is_packed) in
            [("gzip", true), ("br, GZIP;q=0.5", true), ("gzip;q=0", false), ("br", false), ("", false)]
        {
            let answer = content.answer(&headers(&[("accept-encoding", accepted)]));
            assert_eq!(answer.headers().contains_key("content-encoding"), is_packed, "{accepted}");
            assert_eq!(answer.headers()["etag"].to_str().unwrap().contains("gzip"), is_packed, "{accepted}");
        }
        let small = Content::new("text/plain", "x").answer(&headers(&[("accept-encoding", "gzip")]));
        assert!(!small.headers().contains_key("content-encoding"));
    }
}
