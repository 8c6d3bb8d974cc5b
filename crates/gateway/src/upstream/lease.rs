//! One call's place on an instance, and what its end says about the instance.

use std::{
    cell::{Cell, OnceCell, RefCell},
    rc::Rc,
    time::Duration,
};

use http::{Request, Response, Uri, uri::Scheme};
use mcp_proto::{Code, Error};
use tokio::time::Instant;
use tonic::Status;

use super::{
    connection::Connection,
    decide::{
        breaker::Pass,
        outcome::{self, Outcome},
    },
    endpoint::{Endpoint, Unreachable},
    group::Group,
    policy::Policy,
    stream::Download,
};
use crate::{
    body::forward::Forward,
    metrics::Mark,
    trace::{Attempt, Identity},
};

/// One call of an instance, until dropped. Its end is told once; a call that is dropped without being told has been
/// broken off by its caller.
#[derive(Debug)]
pub(crate) struct Lease {
    endpoint: Rc<Endpoint>,
    group: Rc<Group>,
    policy: Rc<Policy>,
    connection: OnceCell<Rc<Connection>>,
    started: Cell<Instant>,
    deadline: Option<Instant>,
    /// False when an answer may take its time because the caller asked for that.
    measured: bool,
    pass: Cell<Pass>,
    stage: Cell<Stage>,
    /// What is counted of it once it is sent.
    sent: RefCell<Option<Sent>>,
}

/// A request that was sent to an instance.
#[derive(Debug)]
struct Sent {
    at: Instant,
    mark: Mark,
    span: Option<Attempt>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Nothing was sent.
    Connecting,
    /// The head of the answer has not come.
    Waiting,
    /// It has, and there is more to come.
    Answered,
    /// How it ended has been told.
    Told,
}

impl Lease {
    /// A call that begins: it counts from now on, since many that wait for one connect would else all end up there.
    pub(crate) fn new(
        (group, index): (&Rc<Group>, usize),
        pass: Pass,
        policy: &Rc<Policy>,
        (measured, deadline): (bool, Option<Instant>),
        now: Instant,
    ) -> Self {
        let endpoint = &group.endpoints[index];
        endpoint.begin(pass, measured);
        Self {
            endpoint: Rc::clone(endpoint),
            group: Rc::clone(group),
            policy: Rc::clone(policy),
            connection: OnceCell::new(),
            started: Cell::new(now),
            deadline,
            measured,
            pass: Cell::new(pass),
            stage: Cell::new(Stage::Connecting),
            sent: RefCell::default(),
        }
    }

    /// The request is about to be sent, for the so-manieth time.
    pub(crate) fn follow(&self, service: &str, identity: &Identity, number: u32, request: &mut Request<Forward>) {
        let span = identity.attempt((service, self.address()), number, request);
        self.sent.replace(Some(Sent { at: self.started.get(), mark: identity.mark(), span }));
    }

    /// What was sent has ended. Only the first end counts, and none when nothing was sent.
    fn ended(&self, code: tonic::Code, now: Instant) {
        if let Some(Sent { at, mark, span }) = self.sent.take() {
            self.group.tally.record(code, now.saturating_duration_since(at), mark);
            if let Some(span) = span {
                span.end(code);
            }
        }
    }

    /// Takes a place on a connection, which is made when there is none.
    pub(crate) async fn connect(&self) -> Result<(), Unreachable> {
        match self.endpoint.connect().await {
            Ok((connection, waited)) => {
                if waited {
                    self.started.set(Instant::now());
                }
                connection.begin();
                self.connection.set(connection).expect("it connects once");
                Ok(())
            }
            Err(unreachable) => {
                // A probe that cannot even connect has failed; others wait until connecting is tried again.
                let probe = self.pass.get() == Pass::Probe && unreachable == Unreachable::Down;
                self.tell(if probe { Outcome::Failed } else { Outcome::Unknown }, Instant::now());
                Err(unreachable)
            }
        }
    }

    /// When the request could be sent.
    pub(crate) fn started(&self) -> Instant {
        self.started.get()
    }

    /// Sends the request to the instance; it comes back with the error when nothing of it was sent.
    pub(crate) async fn send(
        &self,
        mut request: Request<Forward>,
    ) -> Result<Response<Download>, (h2::Error, Option<Request<Forward>>)> {
        let mut uri = std::mem::take(request.uri_mut()).into_parts();
        uri.scheme = Some(Scheme::HTTP);
        uri.authority = Some(self.endpoint.authority().clone());
        *request.uri_mut() = Uri::from_parts(uri).expect("scheme, authority and path make a URI");
        self.stage.set(Stage::Waiting);
        let connection = self.connection.get().expect("it is connected before it sends");
        let result = connection.send(request).await;
        match &result {
            Ok(response) => self.answered(response.headers().contains_key(Status::GRPC_STATUS)),
            Err((_, Some(_))) => {
                self.sent.take();
                self.stage.set(Stage::Connecting);
            }
            Err((_, None)) => {}
        }
        result
    }

    /// The head of the answer has come, `whole` when there is nothing more.
    fn answered(&self, whole: bool) {
        if !whole {
            self.stage.set(Stage::Answered);
        }
        let now = Instant::now();
        if self.measured {
            self.endpoint.answered(now - self.started.get(), now, &self.policy);
        } else if self.pass.get() == Pass::Probe && !whole {
            // It may last for hours: its beginning is all that a probe needs.
            self.judge(Outcome::Fine, now);
            self.pass.set(Pass::Normal);
        }
    }

    /// The call has ended with this status.
    pub(crate) fn finish(&self, code: tonic::Code) {
        let now = Instant::now();
        self.ended(code, now);
        self.tell(outcome::of_status(code, self.policy.failures, self.waited(now), self.is_owed()), now);
    }

    /// The instance broke the call off.
    pub(crate) fn broke(&self) {
        let now = Instant::now();
        self.ended(Code::UpstreamFailed.grpc(), now);
        self.tell(Outcome::Failed, now);
    }

    /// The instance went away before it looked at the call. One that never answers anything but that is left alone.
    pub(crate) fn gone_away(&self) {
        let now = Instant::now();
        self.ended(tonic::Code::Unavailable, now);
        let was_of_use = self.connection.get().is_some_and(|connection| connection.has_answered());
        if was_of_use {
            self.tell(Outcome::Unknown, now);
        } else {
            self.endpoint.keep_away(now);
            self.tell(Outcome::Failed, now);
        }
    }

    /// The call has ended with this error, of the instance or of ours.
    pub(crate) fn failed(&self, error: &Error) {
        match error.code() {
            Code::UpstreamFailed => self.broke(),
            code => self.finish(code.grpc()),
        }
    }

    /// Where the instance listens.
    pub(crate) fn address(&self) -> &str {
        &self.endpoint.record().address
    }

    /// True when the instance should have answered by now if it were well.
    fn is_owed(&self) -> bool {
        self.measured && self.stage.get() == Stage::Waiting
    }

    fn waited(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.started.get())
    }

    fn tell(&self, outcome: Outcome, now: Instant) {
        if self.stage.replace(Stage::Told) != Stage::Told {
            self.judge(outcome, now);
        }
    }

    fn judge(&self, outcome: Outcome, now: Instant) {
        self.endpoint.judge(self.pass.get(), outcome, now, &self.policy, || self.group.ejected(now));
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.stage.get() != Stage::Told {
            let now = Instant::now();
            let waited = self.waited(now);
            let owed = self.is_owed();
            if owed {
                self.endpoint.unanswered(waited, now);
            }
            let allowed = self.deadline.map(|at| at.saturating_duration_since(self.started.get()));
            self.tell(outcome::of_abandoned(waited, allowed, owed), now);
        }
        if self.sent.get_mut().is_some() {
            self.ended(tonic::Code::Cancelled, Instant::now());
        }
        self.endpoint.end(self.measured);
        if let Some(connection) = self.connection.get() {
            connection.end();
        }
    }
}
