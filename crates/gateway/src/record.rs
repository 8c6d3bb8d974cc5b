//! The record of one request: what is counted and logged of it, once, when everything about it has ended.

use std::{
    cell::{Cell, OnceCell, RefCell},
    rc::Rc,
    sync::Arc,
    time::{Instant, SystemTime},
};

use http::{Method, Request};
use opentelemetry::trace::TraceId;

use crate::{
    access_log::{AccessLog, Line},
    caller::Caller,
    metrics::{Answered, Mark, Protocol, RouteTally, Sheet, Verb},
};

/// Where a data-plane thread tells what happened.
#[derive(Debug)]
pub(crate) struct Ledger {
    /// What is counted.
    pub(crate) sheet: Arc<Sheet>,
    /// What is logged.
    pub(crate) access_log: Arc<AccessLog>,
}

/// A request in progress, and its place among those of its caller.
#[derive(Debug)]
pub(crate) struct Record {
    ledger: Rc<Ledger>,
    caller: Rc<Caller>,
    started: Instant,
    verb: Verb,
    protocol: Cell<Protocol>,
    status: Cell<u16>,
    code: Cell<Option<tonic::Code>>,
    attempts: Cell<u32>,
    received: Cell<u64>,
    sent: Cell<u64>,
    /// Requests without one are not counted: there are none but those that the gateway answers for itself.
    route: OnceCell<Rc<RouteTally>>,
    is_logged: bool,
    detail: Option<Box<Detail>>,
}

/// What only those want to know who look at a single request.
#[derive(Debug)]
pub(crate) struct Detail {
    /// HTTP method.
    pub(crate) method: Method,
    /// Path without the query, which may hold what should not be seen.
    pub(crate) path: String,
    /// The template that the path fits.
    pub(crate) template: OnceCell<String>,
    /// Service and name of the method that is called.
    pub(crate) rpc: OnceCell<(String, String)>,
    /// Who calls.
    pub(crate) principal: OnceCell<Arc<str>>,
    /// The service and the address of the instance that was sent it last.
    pub(crate) instance: RefCell<Option<(String, String)>>,
}

impl Record {
    /// Begins the record of a request. `is_followed`: its trace is recorded.
    pub(crate) fn begin<B>(
        ledger: &Rc<Ledger>,
        request: &Request<B>,
        caller: &Rc<Caller>,
        (protocol, is_followed): (Protocol, bool),
    ) -> Self {
        caller.activity.in_flight.set(caller.activity.in_flight.get() + 1);
        let is_logged = ledger.access_log.is_on();
        let detail = || {
            Box::new(Detail {
                method: request.method().clone(),
                path: request.uri().path().to_owned(),
                template: OnceCell::new(),
                rpc: OnceCell::new(),
                principal: OnceCell::new(),
                instance: RefCell::default(),
            })
        };
        Self {
            ledger: Rc::clone(ledger),
            caller: Rc::clone(caller),
            started: Instant::now(),
            verb: Verb::of(request.method()),
            protocol: Cell::new(protocol),
            status: Cell::default(),
            code: Cell::default(),
            attempts: Cell::default(),
            received: Cell::default(),
            sent: Cell::default(),
            route: OnceCell::new(),
            is_logged,
            detail: (is_logged || is_followed).then(detail),
        }
    }

    /// The route that the request takes.
    pub(crate) fn takes(&self, route: &Rc<RouteTally>) {
        self.route.get_or_init(|| Rc::clone(route));
    }

    /// How it came in, once that is known better.
    pub(crate) fn came_by(&self, protocol: Protocol) {
        self.protocol.set(protocol);
    }

    /// The HTTP status of its answer.
    pub(crate) fn answered(&self, status: u16) {
        self.status.set(status);
    }

    /// The gRPC status that it ended with.
    pub(crate) fn ended(&self, code: tonic::Code) {
        self.code.set(Some(code));
    }

    /// It is refused with this gRPC status, unless the call that it became has ended with another.
    pub(crate) fn refused(&self, code: tonic::Code) {
        if self.code.get().is_none() {
            self.code.set(Some(code));
        }
    }

    /// The gRPC status that it ended with, if it has.
    pub(crate) fn code(&self) -> Option<tonic::Code> {
        self.code.get()
    }

    /// The HTTP status of its answer; 0 while there is none.
    pub(crate) fn status(&self) -> u16 {
        self.status.get()
    }

    /// It is sent to an instance for the so-manieth time, from 1.
    pub(crate) fn attempt(&self, number: u32) {
        self.attempts.set(number);
    }

    /// So many bytes of its body were read in all.
    pub(crate) fn received(&self, bytes: u64) {
        self.received.set(self.received.get() + bytes);
    }

    /// So many more bytes of its answer's body were sent.
    pub(crate) fn sent(&self, bytes: u64) {
        self.sent.set(self.sent.get() + bytes);
    }

    /// The name of the route that it took.
    pub(crate) fn route(&self) -> Option<&str> {
        self.route.get().map(|route| route.id())
    }

    /// What is known besides, when somebody wants to know.
    pub(crate) fn detail(&self) -> Option<&Detail> {
        self.detail.as_deref()
    }

    /// Everything about the request has ended: tells it.
    pub(crate) fn tell(&self, trace_id: TraceId, mark: Mark) {
        self.caller.activity.in_flight.set(self.caller.activity.in_flight.get().saturating_sub(1));
        let Some(route) = self.route.get() else {
            return;
        };
        let duration = self.started.elapsed();
        let answered = Answered {
            protocol: self.protocol.get(),
            verb: self.verb,
            status: self.status.get(),
            code: self.code.get(),
        };
        route.record(&self.ledger.sheet, answered, duration, mark);
        let Some(detail) = self.detail.as_deref().filter(|_| self.is_logged) else {
            return;
        };
        let (upstream, endpoint) = detail.instance.take().unzip();
        self.ledger.access_log.tell(&Line {
            timestamp: humantime::format_rfc3339_micros(SystemTime::now()).to_string(),
            trace_id: trace_id.to_string(),
            protocol: answered.protocol.name(),
            method: detail.method.as_str(),
            path: &detail.path,
            route: route.id(),
            status: Some(answered.status).filter(|status| *status != 0),
            code: answered.code.map(mcp_chassis::metrics::code_name),
            rpc: detail.rpc.get().map(|(service, method)| format!("{service}/{method}")),
            upstream,
            endpoint,
            retries: self.attempts.get().saturating_sub(1),
            duration_us: u64::try_from(duration.as_micros()).unwrap_or(u64::MAX),
            bytes_received: self.received.get(),
            bytes_sent: self.sent.get(),
            principal: detail.principal.get().map(|name| &**name),
            peer: self.caller.address.to_string(),
        });
    }
}
