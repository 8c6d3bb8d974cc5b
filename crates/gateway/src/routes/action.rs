//! What happens to a request at the inside of all layers: it goes to a service, or the gateway answers it.

use std::{sync::Arc, time::Duration};

use http::{HeaderValue, StatusCode, Uri, uri::Authority};
use mcp_proto::{
    Error,
    gateway::v1::{self as wire, Route, route},
};

use mcp_client::discovery::{plain_name, registered_name};

use super::{path::PathPattern, rewrite::Rewrite, violations::Violations};

/// Most targets of a route.
const TARGETS_MAX: usize = 16;
/// Largest weight of a target.
const WEIGHT_MAX: u32 = 1_000_000;
/// Largest body of an answer of the gateway's own, in bytes.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// Longest name of a service and of a host, in bytes.
const NAME_BYTES_MAX: usize = 255;

/// What happens to a request.
#[derive(Debug)]
pub(crate) enum Action {
    /// It goes to instances.
    Forward(Forward),
    /// The caller is sent elsewhere.
    Redirect(Redirect),
    /// The gateway answers.
    Respond(Respond),
}

/// Sends requests to instances.
#[derive(Debug, Default)]
pub(crate) struct Forward {
    /// Services, each with the upper end of its share; the last end is the sum.
    targets: Vec<(Arc<str>, u64)>,
    /// How the path changes.
    pub(crate) rewrite: Option<Rewrite>,
}

/// Sends callers elsewhere.
#[derive(Debug)]
pub(crate) struct Redirect {
    /// The status.
    pub(crate) status: StatusCode,
    scheme: String,
    host: String,
    path: Option<Rewrite>,
    drop_query: bool,
}

/// An answer of the gateway's own.
#[derive(Debug)]
pub(crate) struct Respond {
    /// The status.
    pub(crate) status: StatusCode,
    /// The body.
    pub(crate) body: bytes::Bytes,
    /// Its type.
    pub(crate) content_type: HeaderValue,
    /// When to come back.
    pub(crate) retry_after: Option<Duration>,
}

impl Default for Action {
    fn default() -> Self {
        Self::Forward(Forward::default())
    }
}

impl Action {
    /// Compiles what a route does with what `pattern` accepts.
    pub(crate) fn compile(route: &Route, pattern: Option<&PathPattern>, wrong: &mut Violations) -> Option<Self> {
        Some(match &route.action {
            None => Self::default(),
            Some(route::Action::Forward(forward)) => Self::Forward(forward_of(forward, pattern, wrong)),
            Some(route::Action::Redirect(redirect)) => Self::Redirect(redirect_of(redirect, pattern, wrong)?),
            Some(route::Action::Respond(answer)) => Self::Respond(respond_of(answer, wrong)?),
        })
    }
}

impl Forward {
    /// The service that gets a request, by `lot`, any number; `None`: the one that the path names.
    pub(crate) fn target(&self, lot: u64) -> Option<&Arc<str>> {
        let (only, sum) = self.targets.last()?;
        if self.targets.len() == 1 {
            return Some(only);
        }
        let at = lot % sum.max(&1);
        self.targets.iter().find(|(_, end)| at < *end).map(|(service, _)| service)
    }

    /// The services that it names.
    pub(super) fn services(&self) -> impl Iterator<Item = &str> {
        self.targets.iter().map(|(service, _)| plain_name(service))
    }

    /// True when a lot is drawn for each request.
    pub(crate) fn is_split(&self) -> bool {
        self.targets.len() > 1
    }
}

fn forward_of(forward: &wire::Forward, pattern: Option<&PathPattern>, wrong: &mut Violations) -> Forward {
    wrong.at_most(forward.targets.len(), TARGETS_MAX, "forward.targets");
    let (mut targets, mut sum) = (Vec::new(), 0_u64);
    for (index, target) in forward.targets.iter().take(TARGETS_MAX).enumerate() {
        let at = format!("forward.targets[{index}]");
        check_service(&target.service, &format!("{at}.service"), wrong);
        wrong.check(target.weight <= WEIGHT_MAX, &format!("{at}.weight"), "must be at most 1000000");
        sum += u64::from(target.weight);
        targets.push((service_key(&target.service), sum));
    }
    let has_share = targets.len() < 2 || sum > 0;
    wrong.check(has_share, "forward.targets", "must have a `weight` above 0 somewhere: nothing would get a request");
    let rewrite = forward.rewrite.as_ref();
    Forward {
        targets,
        rewrite: rewrite.and_then(|rewrite| Rewrite::compile(rewrite, pattern, "forward.rewrite", wrong)),
    }
}

/// The name by which `upstream` knows the instances of a service. Names under which instances register have no capitals,
/// those of gRPC services end in a word that begins with one, so the two are told apart.
pub(crate) fn service_key(name: &str) -> Arc<str> {
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) { name.into() } else { registered_name(name).into() }
}

/// Checks the name of a service that gets requests.
pub(crate) fn check_service(name: &str, field: &str, wrong: &mut Violations) {
    let fits = (1..=NAME_BYTES_MAX).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'));
    wrong.check(
        fits,
        field,
        "must be the name of a service, such as `shop`, or of a gRPC service, such as `acme.Shop`",
    );
}

fn redirect_of(redirect: &wire::Redirect, pattern: Option<&PathPattern>, wrong: &mut Violations) -> Option<Redirect> {
    let status = match redirect.status {
        0 => Ok(StatusCode::TEMPORARY_REDIRECT),
        status @ (301 | 302 | 303 | 307 | 308) => {
            Ok(u16::try_from(status).ok().and_then(|s| StatusCode::from_u16(s).ok()))
                .map(|status| status.unwrap_or(StatusCode::TEMPORARY_REDIRECT))
        }
        other => Err(format!("is {other}, must be 301, 302, 303, 307 or 308")),
    };
    let status = wrong.take("redirect.status", status);
    let scheme_fits = matches!(redirect.scheme.as_str(), "" | "http" | "https");
    wrong.check(scheme_fits, "redirect.scheme", "must be `http` or `https`");
    let host_fits = redirect.host.is_empty()
        || (redirect.host.len() <= NAME_BYTES_MAX
            && redirect.host.parse::<Authority>().is_ok_and(|host| !host.as_str().contains('@')));
    wrong.check(host_fits, "redirect.host", "must be a host, with a port if it needs one");
    let path = redirect.path.as_ref();
    let path = path.and_then(|path| Rewrite::compile(path, pattern, "redirect.path", wrong));
    let changes = !redirect.scheme.is_empty() || !redirect.host.is_empty() || path.is_some() || redirect.drop_query;
    wrong.check(changes, "redirect", "must change scheme, host, path or query: it would lead back to itself");
    let (scheme, host, drop_query) = (redirect.scheme.clone(), redirect.host.clone(), redirect.drop_query);
    Some(Redirect { status: status?, scheme, host, path, drop_query })
}

impl Redirect {
    /// Where the caller is sent.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` when the request makes no location.
    pub(crate) fn location(&self, uri: &Uri, asked_host: &str) -> Result<HeaderValue, Error> {
        let host = if self.host.is_empty() { asked_host } else { &self.host };
        let scheme = match (self.scheme.as_str(), self.host.as_str()) {
            ("", "") => "",
            ("", _) => "https",
            (scheme, _) => scheme,
        };
        let mut text = match scheme {
            "" => String::new(),
            scheme => format!("{scheme}://{host}"),
        };
        match &self.path {
            Some(rewrite) => text.push_str(&rewrite.path(uri.path())),
            None => text.push_str(uri.path()),
        }
        // `//evil.example` would be another host.
        if scheme.is_empty() && text.starts_with("//") {
            text = format!("/{}", text.trim_start_matches('/'));
        }
        if let Some(query) = uri.query().filter(|_| !self.drop_query) {
            text.push('?');
            text.push_str(query);
        }
        HeaderValue::from_maybe_shared(text).map_err(|_| Error::invalid("path", "makes no location to redirect to"))
    }
}

fn respond_of(answer: &wire::FixedAnswer, wrong: &mut Violations) -> Option<Respond> {
    let status = if answer.status == 0 { 200 } else { answer.status };
    let code = u16::try_from(status).ok().filter(|status| (200..600).contains(status));
    let code = code.and_then(|status| StatusCode::from_u16(status).ok());
    let code = wrong.take("respond.status", code.ok_or_else(|| format!("is {status}, must be within 200 and 599")));
    wrong.check(answer.body.len() <= BODY_BYTES_MAX, "respond.body", "must have at most 65536 bytes");
    let content_type = if answer.content_type.is_empty() { "text/plain; charset=utf-8" } else { &answer.content_type };
    let content_type = HeaderValue::from_str(content_type).map_err(|_| "must be a content type".to_owned());
    let content_type = wrong.take("respond.content_type", content_type);
    let retry_after =
        answer.retry_after.map(|wait| Duration::try_from(wait).map_err(|_| "must not be negative".into()));
    let retry_after = retry_after.and_then(|wait| wrong.take("respond.retry_after", wait));
    let body = bytes::Bytes::copy_from_slice(answer.body.as_bytes());
    Some(Respond { status: code?, body, content_type: content_type?, retry_after })
}
