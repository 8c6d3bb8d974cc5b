//! Heads of requests: everything that is read of them before a call goes anywhere.

use std::{net::SocketAddr, rc::Rc, sync::Arc, time::Duration};

use futures_util::FutureExt;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};
use tokio::time::Instant;

use crate::{
    body::events::Format,
    caller::Caller,
    deadline, ending,
    forwarded::{
        self,
        settings::{Family, ForwardedSettings},
    },
    grpc_web, headers,
    routes::{compiled::CompiledRoute, predicate::Head, table::RouteTable},
    security::{
        authenticator::Authenticator,
        cache::TokenCache,
        jwt::source::Source,
        keys::store::Keys,
        settings::{IssuerSettings, SecuritySettings},
    },
    trace::{self, Identity},
    websocket,
};

/// Headers of one input.
const HEADERS_MAX: usize = 64;

/// Headers that end at the gateway, whatever they say.
const HOP_BY_HOP: [&str; 4] = ["connection", "transfer-encoding", "upgrade", "te"];

/// What reads heads.
#[derive(Debug)]
pub struct Heads {
    authenticator: Authenticator,
    tokens: TokenCache,
    routes: RouteTable,
    now: Instant,
}

impl Default for Heads {
    fn default() -> Self {
        Self::new()
    }
}

impl Heads {
    /// A gateway with an issuer of tokens and a bootstrap key.
    ///
    /// # Panics
    /// When the settings in here cannot be used.
    pub fn new() -> Self {
        let issuer = IssuerSettings {
            issuer: "https://id".into(),
            audiences: vec!["mcp".into()],
            secret: "s".repeat(32).into(),
            ..IssuerSettings::default()
        };
        let settings = SecuritySettings { bootstrap_key: "b".repeat(32).into(), ..SecuritySettings::default() };
        let issuers = vec![Arc::new(Source::new(&issuer).expect("a secret can be used"))];
        Self {
            authenticator: Authenticator::new(&settings, Arc::new(Keys::new()), issuers),
            tokens: TokenCache::default(),
            routes: RouteTable::new(Vec::new(), Arc::new(CompiledRoute::default_route())),
            now: Instant::now(),
        }
    }

    /// A line `METHOD target`, and a line `name: value` for each header.
    ///
    /// # Panics
    /// When a promise about heads does not hold.
    pub fn head(&self, data: &[u8]) {
        let mut lines = data.split(|byte| *byte == b'\n');
        let Some(mut request) = lines.next().and_then(request) else {
            return;
        };
        *request.headers_mut() = lines.take(HEADERS_MAX).filter_map(header).collect();
        self.read(&request);
        for headers in [Family::XForwarded, Family::Forwarded, Family::None] {
            let mut request = request.clone();
            let trusted_proxies = vec!["127.0.0.0/8".parse().expect("a network")];
            let settings = ForwardedSettings { headers, trusted_proxies };
            let peer = SocketAddr::from(([127, 0, 0, 1], 1));
            let before = request.headers().len();
            forwarded::receive(&settings, &mut request, Rc::new(Caller::at(peer, std::time::Instant::now())));
            assert!(request.headers().len() <= before + forwarded::ADDED_MAX);
        }
        for change in [headers::strip_hop_by_hop, headers::into_metadata, headers::into_http] {
            let mut headers = request.headers().clone();
            change(&mut headers);
            assert!(HOP_BY_HOP.iter().all(|name| !headers.contains_key(*name)), "{headers:?}");
        }
    }

    fn read(&self, request: &Request<()>) {
        let headers = request.headers();
        let is_grpc = headers::is_grpc(headers);
        assert!(!is_grpc || headers::is_any_grpc(headers));
        assert!(!is_grpc || grpc_web::form(headers).is_none());
        headers::may_be_json(headers);
        websocket::is_upgrade(request);
        Format::accepted(headers.get(http::header::ACCEPT));
        self.routes.find(Head::from(request), || None);
        for read in [deadline::of_grpc, deadline::of_http] {
            if let Ok(Some(at)) = read(headers, self.now) {
                let onward = HeaderMap::from_iter([(deadline::GRPC_TIMEOUT, deadline::remaining(at, self.now))]);
                deadline::of_grpc(&onward, self.now).expect("what we send can be read");
            }
        }
        let identity = Identity::quiet(headers);
        let mut onward = HeaderMap::new();
        identity.inject(&mut onward);
        let again = Identity::quiet(&onward);
        assert_eq!(identity.trace_id(), again.trace_id(), "{:?}", onward.get(trace::TRACEPARENT));
        drop(ending::outcome(headers.clone(), None));
        let known = self.authenticator.authenticate(headers, None, &self.tokens, Duration::ZERO).now_or_never();
        if let Some(Ok(principal)) = known {
            assert!(!principal.name.is_empty());
        }
    }
}

fn request(line: &[u8]) -> Option<Request<()>> {
    let (method, target) = std::str::from_utf8(line).ok()?.split_once(' ')?;
    let (method, target) = (method.parse::<Method>().ok()?, target.parse::<Uri>().ok()?);
    Request::builder().method(method).uri(target).body(()).ok()
}

fn header(line: &[u8]) -> Option<(HeaderName, HeaderValue)> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let value = line[colon + 1..].trim_ascii();
    Some((HeaderName::from_bytes(&line[..colon]).ok()?, HeaderValue::from_bytes(value).ok()?))
}
