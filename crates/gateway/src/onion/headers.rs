//! Changes of headers: of requests on their way in, of answers and errors on their way out.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Response, header};
use mcp_proto::gateway::v1::{HeaderEdit, HeaderRule};
use tonic::Status;

use super::{
    form::Form,
    plan::{Plan, Site, Subject},
    service::LocalService,
};
use crate::{
    body::Body,
    routes::{
        predicate::{Condition, Head},
        violations::Violations,
    },
};

/// Most rules of one route or policy.
const RULES_MAX: usize = 16;
/// Most headers of one kind of change.
const HEADERS_MAX: usize = 32;
/// Headers that belong to the connection or to the gateway, which no rule may touch.
const RESERVED: [HeaderName; 8] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::HOST,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("grpc-status"),
    HeaderName::from_static("x-trace-id"),
];

/// A change, compiled.
#[derive(Debug, Clone, Default)]
struct Edit {
    remove: Vec<HeaderName>,
    set: Vec<(HeaderName, HeaderValue)>,
    add: Vec<(HeaderName, HeaderValue)>,
}

impl Edit {
    fn apply(&self, headers: &mut HeaderMap) {
        for name in &self.remove {
            headers.remove(name);
        }
        for (name, value) in &self.set {
            headers.insert(name, value.clone());
        }
        for (name, value) in &self.add {
            headers.append(name, value.clone());
        }
    }
}

/// Changes of answers under one condition.
#[derive(Debug, Clone)]
struct Outcome {
    when: Option<Condition>,
    response: Edit,
    error: Edit,
}

/// Changes answers and errors.
#[derive(Debug)]
struct AnswersPlan(Arc<[Outcome]>);

/// Changes requests.
#[derive(Debug)]
struct RequestsPlan(Arc<[(Option<Condition>, Edit)]>);

/// Plans the changes of answers and errors in `settings.headers`, and tells what is wrong with any of the rules.
pub(super) fn answers(subject: &Subject<'_>, wrong: &mut Violations) -> Vec<Arc<dyn Plan>> {
    let rules = &subject.settings.headers;
    wrong.at_most(rules.len(), RULES_MAX, "settings.headers");
    let mut outcomes = Vec::new();
    for (index, rule) in rules.iter().take(RULES_MAX).enumerate() {
        let at = format!("settings.headers[{index}]");
        let when = Condition::compile_any(rule.when.as_ref(), &format!("{at}.when"), wrong);
        edit(rule.request.as_ref(), &format!("{at}.request"), wrong);
        let response = edit(rule.response.as_ref(), &format!("{at}.response"), wrong);
        let error = edit(rule.error.as_ref(), &format!("{at}.error"), wrong);
        if rule.response.is_some() || rule.error.is_some() {
            outcomes.push(Outcome { when, response, error });
        }
    }
    if outcomes.is_empty() { Vec::new() } else { vec![Arc::new(AnswersPlan(outcomes.into()))] }
}

/// Plans the changes of requests in `settings.headers`; [`answers`] has told what is wrong.
pub(super) fn requests(subject: &Subject<'_>, _: &mut Violations) -> Vec<Arc<dyn Plan>> {
    let mut told = Violations::default();
    let with_request = subject.settings.headers.iter().take(RULES_MAX).filter(|rule| rule.request.is_some());
    let edits: Vec<_> = with_request
        .map(|rule: &HeaderRule| {
            let when = Condition::compile_any(rule.when.as_ref(), "", &mut told);
            (when, edit(rule.request.as_ref(), "", &mut told))
        })
        .collect();
    if edits.is_empty() { Vec::new() } else { vec![Arc::new(RequestsPlan(edits.into()))] }
}

impl Plan for AnswersPlan {
    fn wrap(&self, inner: LocalService, _: &Site) -> LocalService {
        let outcomes = Arc::clone(&self.0);
        LocalService::of(move |exchange| {
            let head = Head::from(&exchange.request);
            let form = Form::of(head.headers);
            let held: Vec<usize> = (0..outcomes.len())
                .filter(|index| outcomes[*index].when.as_ref().is_none_or(|when| when.holds(head)))
                .collect();
            let (outcomes, inner) = (Arc::clone(&outcomes), inner.clone());
            async move {
                let mut response = inner.answer(exchange).await.unwrap_or_else(|refusal| form.refused(refusal));
                let is_error = is_error(&response);
                for index in held {
                    let outcome = &outcomes[index];
                    let edit = if is_error { &outcome.error } else { &outcome.response };
                    edit.apply(response.headers_mut());
                }
                Ok(response)
            }
        })
    }
}

impl Plan for RequestsPlan {
    fn wrap(&self, inner: LocalService, _: &Site) -> LocalService {
        let edits = Arc::clone(&self.0);
        LocalService::of(move |mut exchange| {
            // What one rule changes, the condition of the next one sees.
            for (when, edit) in edits.iter() {
                if when.as_ref().is_none_or(|when| when.holds((&exchange.request).into())) {
                    edit.apply(exchange.request.headers_mut());
                }
            }
            inner.answer(exchange)
        })
    }
}

/// True for an answer whose head says that it is an error.
fn is_error(response: &Response<Body>) -> bool {
    let status = response.headers().get(Status::GRPC_STATUS);
    response.status().as_u16() >= 400 || status.is_some_and(|status| status != "0")
}

fn edit(wire: Option<&HeaderEdit>, at: &str, wrong: &mut Violations) -> Edit {
    let Some(wire) = wire else {
        return Edit::default();
    };
    for (field, len) in [("set", wire.set.len()), ("add", wire.add.len()), ("remove", wire.remove.len())] {
        wrong.at_most(len, HEADERS_MAX, &format!("{at}.{field}"));
    }
    let mut edit = Edit::default();
    for (index, text) in wire.remove.iter().take(HEADERS_MAX).enumerate() {
        edit.remove.extend(wrong.take(&format!("{at}.remove[{index}]"), name(text)));
    }
    for (field, wire, pairs) in [("set", &wire.set, &mut edit.set), ("add", &wire.add, &mut edit.add)] {
        for (text, value) in wire.iter().take(HEADERS_MAX) {
            let name = wrong.take(&format!("{at}.{field}"), name(text));
            let value = HeaderValue::from_str(value).map_err(|_| "must be text without control characters".to_owned());
            pairs.extend(name.zip(wrong.take(&format!("{at}.{field}.{text}"), value)));
        }
    }
    edit
}

fn name(text: &str) -> Result<HeaderName, String> {
    let name =
        HeaderName::from_bytes(text.as_bytes()).map_err(|_| format!("has `{text}`, which is no name of a header"))?;
    if RESERVED.contains(&name) {
        return Err(format!("has `{text}`, which belongs to the connection or to the gateway"));
    }
    Ok(name)
}
