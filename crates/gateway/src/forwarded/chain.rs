//! Reads who called the first proxy that is not trusted. Pure.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName};

use super::settings::{Family, ForwardedSettings};

/// The hops, in the form of RFC 7239.
pub(super) const FORWARDED: HeaderName = HeaderName::from_static("forwarded");

/// The hops, one address each.
pub(super) const X_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Hops that are looked at, from the last one on.
const HOPS_MAX: usize = 32;

/// The address that the caller has, as far as trusted proxies tell: the last one that is not theirs. `None`: they tell none.
pub(super) fn client(headers: &HeaderMap, settings: &ForwardedSettings) -> Option<IpAddr> {
    let (name, read): (_, fn(&str) -> Option<IpAddr>) = match settings.headers {
        Family::XForwarded => (X_FOR, address),
        Family::Forwarded => (FORWARDED, node),
        Family::None => return None,
    };
    let mut found = None;
    // Lines in the order in which they came; the last hop is the nearest.
    let lines: Vec<&str> = headers.get_all(name).iter().map(|value| value.to_str().unwrap_or_default()).collect();
    for hop in lines.iter().rev().flat_map(|line| line.rsplit(',')).take(HOPS_MAX) {
        let Some(address) = read(hop.trim()) else {
            break;
        };
        found = Some(address);
        if !settings.trusts(address) {
            break;
        }
    }
    found
}

/// An address, alone or with a port.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))?;
    Some(address.to_canonical())
}

/// The address in an element such as `for="[2001:db8::1]:80";proto=https`.
fn node(element: &str) -> Option<IpAddr> {
    element.split(';').find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.trim().eq_ignore_ascii_case("for").then(|| address(value.trim().trim_matches('"'))).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_in_every_form() {
        for (text, expected) in [
            ("192.0.2.1", Some("192.0.2.1")),
            ("192.0.2.1:80", Some("192.0.2.1")),
            ("2001:db8::1", Some("2001:db8::1")),
            ("[2001:db8::1]", Some("2001:db8::1")),
            ("[2001:db8::1]:80", Some("2001:db8::1")),
            ("::ffff:192.0.2.1", Some("192.0.2.1")),
            ("unknown", None),
            ("_hidden", None),
            ("", None),
        ] {
            assert_eq!(address(text).map(|address| address.to_string()).as_deref(), expected, "{text}");
            let element = format!("proto=https;For=\"{text}\"");
            assert_eq!(node(&element), address(text), "{element}");
        }
        assert_eq!(node("by=192.0.2.1"), None);
    }

    #[test]
    fn what_cannot_be_read_ends_the_chain() {
        let trusted_proxies = vec!["10.0.0.0/8".parse().unwrap()];
        let settings = ForwardedSettings { headers: Family::XForwarded, trusted_proxies };
        let client = |text: &str| {
            let headers = HeaderMap::from_iter([(X_FOR, text.parse().unwrap())]);
            client(&headers, &settings).map(|address| address.to_string())
        };
        assert_eq!(client("1.1.1.1, unknown, 10.0.0.2").as_deref(), Some("10.0.0.2"));
        assert_eq!(client("10.0.0.3, 10.0.0.2").as_deref(), Some("10.0.0.3"), "all of them are trusted");
        assert_eq!(client("unknown"), None);
        assert_eq!(client(&vec!["10.0.0.2"; 100].join(",")).as_deref(), Some("10.0.0.2"));
    }
}
