//! Who stands between the caller and the gateway, and what instances are told about the caller.
//!
//! `X-Forwarded-For`, `-Proto` and `-Host`, or `Forwarded` (RFC 7239), whichever the settings name. What a caller says in
//! them is believed only when it is a trusted proxy; of everybody else they are removed, and so are those of the other
//! family, which nobody has checked.

mod chain;
pub(crate) mod settings;

use std::rc::Rc;

use http::{HeaderMap, HeaderName, HeaderValue, Request};

use self::{
    chain::{FORWARDED, X_FOR},
    settings::{Family, ForwardedSettings},
};
use crate::{caller::Caller, routes::hosts::authority};

const X_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// All of them.
const NAMES: [HeaderName; 4] = [FORWARDED, X_FOR, X_PROTO, X_HOST];

const HTTP: HeaderValue = HeaderValue::from_static("http");
const HTTPS: HeaderValue = HeaderValue::from_static("https");

/// Most headers that a request has more of after [`receive`].
pub(crate) const ADDED_MAX: usize = 3;

/// Finds out who calls, by what trusted proxies say, and tells the instance. The caller that is returned has the address
/// that limits count and logs show.
pub(crate) fn receive<B>(settings: &ForwardedSettings, request: &mut Request<B>, caller: Rc<Caller>) -> Rc<Caller> {
    let is_trusted = settings.trusts(caller.peer.ip());
    for name in &NAMES {
        if !is_trusted || settings.headers != family_of(name) {
            request.headers_mut().remove(name);
        }
    }
    let found = is_trusted.then(|| chain::client(request.headers(), settings)).flatten();
    tell(settings.headers, request, &caller);
    match found {
        Some(address) if address != caller.address.ip() => {
            let mut known = Caller::clone(&caller);
            known.address = (address, 0).into();
            Rc::new(known)
        }
        _ => caller,
    }
}

/// The family that a header belongs to.
fn family_of(name: &HeaderName) -> Family {
    if *name == FORWARDED { Family::Forwarded } else { Family::XForwarded }
}

/// Adds this hop.
fn tell<B>(family: Family, request: &mut Request<B>, caller: &Caller) {
    match family {
        Family::None => {}
        Family::XForwarded => {
            let host = host(request);
            let headers = request.headers_mut();
            let hop = caller.text.clone();
            let chain = joined(headers, &X_FOR, hop);
            headers.insert(X_FOR, chain);
            headers.entry(X_PROTO).or_insert(if caller.tls.is_some() { HTTPS } else { HTTP });
            if let Some(host) = host {
                headers.entry(X_HOST).or_insert(host);
            }
        }
        Family::Forwarded => {
            let address = caller.peer.ip().to_canonical();
            let node = if address.is_ipv6() { format!("\"[{address}]\"") } else { address.to_string() };
            let proto = if caller.tls.is_some() { "https" } else { "http" };
            let host = host(request).and_then(|host| host.to_str().ok().map(quoted)).unwrap_or_default();
            let hop = format!("for={node};proto={proto}{host}");
            let Ok(hop) = HeaderValue::from_maybe_shared(hop) else {
                return;
            };
            let chain = joined(request.headers(), &FORWARDED, hop);
            request.headers_mut().insert(FORWARDED, chain);
        }
    }
}

/// `;host="…"`, or nothing for what needs escapes, which no host has.
fn quoted(host: &str) -> String {
    if host.contains(['"', '\\']) { String::new() } else { format!(";host=\"{host}\"") }
}

/// What the caller called.
fn host<B>(request: &Request<B>) -> Option<HeaderValue> {
    match request.headers().get(http::header::HOST) {
        Some(host) => Some(host.clone()),
        None => Some(authority(request.uri(), request.headers()))
            .filter(|host| !host.is_empty())
            .and_then(|host| HeaderValue::from_str(host).ok()),
    }
}

/// The values that are there, in one, and one more. What cannot be put together is left out.
fn joined(headers: &HeaderMap, name: &HeaderName, hop: HeaderValue) -> HeaderValue {
    if !headers.contains_key(name) {
        return hop;
    }
    let mut all = Vec::new();
    for value in headers.get_all(name).iter().chain([&hop]) {
        if !all.is_empty() {
            all.extend_from_slice(b", ");
        }
        all.extend_from_slice(value.as_bytes());
    }
    HeaderValue::from_maybe_shared(all).unwrap_or(hop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(family: Family, trusted: &[&str], peer: &str, sent: &[(&'static str, &str)]) -> (String, Vec<String>) {
        let trusted_proxies = trusted.iter().map(|network| network.parse().unwrap()).collect();
        let settings = ForwardedSettings { headers: family, trusted_proxies };
        let mut request = Request::get("http://shop.example:8080/v1/x").body(()).unwrap();
        for (name, value) in sent {
            request.headers_mut().append(*name, HeaderValue::from_str(value).unwrap());
        }
        let peer = (peer.parse::<std::net::IpAddr>().unwrap(), 9).into();
        let caller = Caller { tls: Some("1.3"), ..Caller::at(peer, std::time::Instant::now()) };
        let caller = receive(&settings, &mut request, Rc::new(caller));
        let mut headers: Vec<_> =
            request.headers().iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        headers.sort();
        (caller.address.ip().to_string(), headers)
    }

    #[test]
    fn a_stranger_is_not_believed() {
        let sent = [("x-forwarded-for", "1.1.1.1"), ("x-forwarded-host", "bank"), ("forwarded", "for=2.2.2.2")];
        let (address, headers) = told(Family::XForwarded, &["10.0.0.0/8"], "192.0.2.7", &sent);
        assert_eq!(address, "192.0.2.7");
        let expected =
            ["x-forwarded-for: 192.0.2.7", "x-forwarded-host: shop.example:8080", "x-forwarded-proto: https"];
        assert_eq!(headers, expected);
        let (_, headers) = told(Family::None, &[], "192.0.2.7", &sent);
        assert!(headers.is_empty(), "{headers:?}");
    }

    #[test]
    fn a_trusted_proxy_says_who_calls_and_its_own_hop_is_added() {
        let sent = [
            ("x-forwarded-for", "6.6.6.6, 192.0.2.7"),
            ("x-forwarded-for", "10.9.9.9"),
            ("x-forwarded-proto", "http"),
            ("forwarded", "for=2.2.2.2"),
        ];
        let (address, headers) = told(Family::XForwarded, &["10.0.0.0/8"], "10.0.0.1", &sent);
        assert_eq!(address, "192.0.2.7", "the last that no trusted proxy has");
        let expected = [
            "x-forwarded-for: 6.6.6.6, 192.0.2.7, 10.9.9.9, 10.0.0.1",
            "x-forwarded-host: shop.example:8080",
            "x-forwarded-proto: http",
        ];
        assert_eq!(headers, expected);
    }

    #[test]
    fn the_standard_header_does_the_same() {
        let sent =
            [("forwarded", "for=6.6.6.6, for=\"[2001:db8::7]:4711\";proto=https"), ("x-forwarded-for", "1.1.1.1")];
        let (address, headers) = told(Family::Forwarded, &["::1/128"], "::1", &sent);
        assert_eq!(address, "2001:db8::7");
        let hop = "for=\"[::1]\";proto=https;host=\"shop.example:8080\"";
        assert_eq!(headers, [format!("forwarded: {}, {hop}", sent[0].1)]);
    }
}
