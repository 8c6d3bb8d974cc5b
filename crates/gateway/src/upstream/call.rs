//! One call, from the choice of an instance to the head of its answer: the attempts, one after the other or, hedged,
//! side by side.

use std::{cell::Cell, pin::pin, rc::Rc, time::Duration};

use futures_util::future::{Either, select};
use http::{HeaderName, Request, Response, StatusCode};
use mcp_proto::{Code, Error, partition};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tonic::Status;

use super::{
    choose::{self, Tried, Wanted},
    decide::{
        breaker::Pass,
        pair::Dice as _,
        retry::{self, Attempt, Fault, Pushback, Verdict},
        ring,
    },
    dice::Dice,
    endpoint::Unreachable,
    group::Group,
    lease::Lease,
    policy::{Balancer, Policy, Priority},
    refusal,
    repeat::{Saved, Spares},
    stream::Download,
};
use crate::{
    body::{forward::Forward, kept::Room},
    deadline,
    ending::{self, Break},
    metrics::{Instruments, UpstreamEvent},
    trace::Identity,
};

/// Instances that are tried in a row when nothing can be sent to any.
const UNREACHABLE_MAX: u32 = 4;

/// How an instance says when to repeat. Source: gRFC A6.
const PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");

/// A call that is to go out.
#[derive(Debug)]
pub(crate) struct Outgoing<'a> {
    /// Full name of the gRPC service.
    pub(crate) service: &'a str,
    /// How instances are chosen, and what is done when they fail.
    pub(crate) policy: &'a Rc<Policy>,
    /// Who waits when not all can be served.
    pub(crate) priority: Priority,
    /// True when the method may be carried out more than once.
    pub(crate) safe: bool,
    /// False when an answer may take its time because the caller asked for that.
    pub(crate) measured: bool,
    /// When the answer must be there. The request says so too, in `grpc-timeout`.
    pub(crate) deadline: Option<Instant>,
    /// The time.
    pub(crate) now: Instant,
    /// Its place in its trace. The request says so too, in `traceparent`.
    pub(crate) identity: &'a Identity,
    /// What is sent: a `POST` over HTTP/2 whose URI is only a path.
    pub(crate) request: Request<Forward>,
}

/// What the calls of one data-plane thread share.
#[derive(Debug)]
pub(crate) struct Means {
    /// Chance.
    pub(crate) dice: Dice,
    /// For requests that may be sent again.
    pub(crate) room: Rc<Room>,
    /// For heads that may be sent again.
    pub(crate) spares: Spares,
    /// What is counted.
    pub(crate) instruments: Instruments,
}

/// The head of an answer and the place of its call.
pub(crate) type Answer = (Response<Download>, Lease);

/// An attempt that gave nothing.
struct Failed {
    fault: Fault,
    pushback: Option<Pushback>,
    /// What the caller gets if there is no other attempt.
    result: Result<Answer, Error>,
}

/// What an attempt came to.
enum Sent {
    /// An answer for the caller.
    Answer(Answer),
    /// Nothing was sent: the connection was closing.
    Unsent(Request<Forward>),
    /// It was sent in vain.
    Failed(Box<Failed>),
}

/// A call on its way.
struct Calling<'a> {
    means: &'a Means,
    group: Rc<Group>,
    service: &'a str,
    policy: &'a Rc<Policy>,
    priority: Priority,
    safe: bool,
    measured: bool,
    deadline: Option<Instant>,
    identity: &'a Identity,
    home: Option<u16>,
    place: Option<u64>,
    /// Times that it was sent.
    sent: Cell<u32>,
    /// Instances that could not be reached.
    unreachable: Cell<Tried>,
    /// Instances that were sent it in vain: again only when there is no other.
    failed: Cell<Tried>,
}

/// See [`Upstreams::call`](super::Upstreams::call).
pub(crate) async fn call(means: &Means, group: Rc<Group>, outgoing: Outgoing<'_>) -> Result<Answer, Error> {
    let Outgoing { service, policy, priority, measured, deadline, now, identity, request, .. } = outgoing;
    group.budget.borrow_mut().call(now);
    let key = request.headers().get(partition::KEY_METADATA).and_then(|key| key.to_str().ok());
    let place = match &policy.balancer {
        Balancer::RingHash { header } => request.headers().get(header).map(|value| ring::hash(value.as_bytes())),
        _ => None,
    };
    let calling = Calling {
        means,
        group,
        service,
        policy,
        priority,
        safe: outgoing.safe || policy.retry.safe,
        measured,
        deadline,
        identity,
        home: key.and_then(partition::home_of_key),
        place,
        sent: Cell::default(),
        unreachable: Cell::default(),
        failed: Cell::default(),
    };
    let answer = pin!(calling.run(request, now));
    match deadline {
        Some(at) => timeout_at(at, answer).await.unwrap_or_else(|_| Err(deadline::exceeded())),
        None => answer.await,
    }
}

impl Calling<'_> {
    async fn run(&self, mut request: Request<Forward>, mut now: Instant) -> Result<Answer, Error> {
        let retry = &self.policy.retry;
        let saved = (retry.attempts > 1 || self.policy.hedge.is_some()).then(|| self.save(&request));
        let mut number = 1;
        let mut unsent = 0;
        let mut last = None;
        loop {
            let lease = match self.lease(now).await {
                Ok(lease) => lease,
                Err(error) => return Err(last.unwrap_or(error)),
            };
            if let Some(at) = self.deadline.filter(|_| lease.started() > now) {
                // Connecting took a part of the time.
                request.headers_mut().insert(deadline::GRPC_TIMEOUT, deadline::remaining(at, lease.started()));
            }
            let sent = match (&self.policy.hedge, &saved) {
                (Some(hedge), Some(saved)) if self.safe && number == 1 => {
                    Box::pin(self.hedged(lease, request, saved, hedge.after)).await
                }
                _ => self.send(lease, request, number).await,
            };
            let failed = match sent {
                Sent::Answer(answer) => {
                    if let Some(saved) = &saved {
                        saved.commit();
                    }
                    return Ok(answer);
                }
                Sent::Unsent(back) if unsent < UNREACHABLE_MAX => {
                    (request, unsent, now) = (back, unsent + 1, Instant::now());
                    continue;
                }
                Sent::Unsent(_) => return Err(refusal::no_instance(self.service, &self.group.endpoints)),
                Sent::Failed(failed) => failed,
            };
            let Some(again) = self.again(number, &failed, saved.as_ref()).await else {
                return failed.result;
            };
            // An answer that is not wanted ends here.
            last = failed.result.err();
            (request, number, now) = (again, number + 1, Instant::now());
        }
    }

    /// A copy of the request. A streamed one is kept from now on.
    fn save(&self, request: &Request<Forward>) -> Saved<'_> {
        if let Forward::Stream(reader) = request.body() {
            reader.link().keep(self.policy.retry.body_bytes_max, &self.means.room);
        }
        Saved::new(request, &self.means.spares)
    }

    /// The request for another attempt, once it is time; `None` when there is to be none.
    async fn again(&self, number: u32, failed: &Failed, saved: Option<&Saved<'_>>) -> Option<Request<Forward>> {
        let now = Instant::now();
        let attempt = Attempt {
            number,
            fault: failed.fault,
            safe: self.safe,
            kept: saved.is_some_and(Saved::is_kept),
            left: self.deadline.map(|at| at.saturating_duration_since(now)),
            pushback: failed.pushback,
        };
        match retry::verdict(attempt, &self.policy.retry, self.means.dice.share()) {
            Verdict::GiveUp => None,
            Verdict::Again { after, budgeted } => {
                if budgeted && !self.take_from_budget(now) {
                    return None;
                }
                if !after.is_zero() {
                    sleep(after).await;
                }
                self.means.instruments.upstream(UpstreamEvent::Repeated);
                saved?.again(self.deadline, self.identity, Instant::now())
            }
        }
    }

    fn take_from_budget(&self, now: Instant) -> bool {
        let taken = self.group.budget.borrow_mut().take(now, &self.policy.retry);
        if !taken {
            self.means.instruments.upstream(UpstreamEvent::BudgetSpent);
        }
        taken
    }

    /// A place on an instance that can be reached.
    async fn lease(&self, mut now: Instant) -> Result<Lease, Error> {
        let mut full = false;
        for _ in 0..UNREACHABLE_MAX {
            let Some((index, pass)) = self.choose(now) else {
                break;
            };
            let lease = Lease::new((&self.group, index), pass, self.policy, (self.measured, self.deadline), now);
            match lease.connect().await {
                Ok(()) => {
                    self.failed.set(with(self.failed.get(), index));
                    return Ok(lease);
                }
                Err(unreachable) => {
                    full |= unreachable == Unreachable::Full;
                    self.unreachable.set(with(self.unreachable.get(), index));
                    now = Instant::now();
                }
            }
        }
        let error = if full {
            refusal::overloaded(self.service, self.priority)
        } else {
            refusal::of(self.service, &self.group.endpoints, self.policy, (self.priority, self.measured))
        };
        if error.code() == Code::Overloaded {
            self.means.instruments.upstream(UpstreamEvent::Shed);
        }
        Err(error)
    }

    /// An instance that has not been tried, or, when there is no other, one that was sent it in vain.
    fn choose(&self, now: Instant) -> Option<(usize, Pass)> {
        let unreachable = self.unreachable.get();
        let failed = self.failed.get();
        let wanted = |tried| Wanted {
            policy: self.policy,
            priority: self.priority,
            measured: self.measured,
            home: self.home,
            place: self.place,
            tried,
            now,
        };
        let both = unreachable.and(&failed);
        choose::choose(&self.group, wanted(&both), &self.means.dice).or_else(|| {
            let repeated = !failed.is_empty();
            repeated.then(|| choose::choose(&self.group, wanted(&unreachable), &self.means.dice)).flatten()
        })
    }

    /// One attempt.
    async fn send(&self, lease: Lease, mut request: Request<Forward>, number: u32) -> Sent {
        self.sent.set(self.sent.get() + 1);
        lease.follow(self.service, self.identity, self.sent.get(), &mut request);
        let limit = retry::attempt_timeout(number, &self.policy.retry);
        let answer = {
            let answer = pin!(lease.send(request));
            match limit {
                Some(limit) => timeout(limit, answer).await.map_err(|_| limit),
                None => Ok(answer.await),
            }
        };
        let answer = match answer {
            Ok(answer) => answer,
            Err(limit) => {
                lease.broke();
                return failed(Fault::Broken, too_slow(limit));
            }
        };
        match answer {
            Ok(response) => self.judge(response, lease),
            Err((_, Some(unsent))) => Sent::Unsent(unsent),
            Err((error, None)) => {
                let fault = match Break::of(&error) {
                    Break::GoneAway => {
                        lease.gone_away();
                        Fault::GoneAway
                    }
                    Break::Refused => {
                        lease.broke();
                        Fault::Refused
                    }
                    Break::Broken => {
                        lease.broke();
                        Fault::Broken
                    }
                };
                failed(fault, ending::failure(&error))
            }
        }
    }

    /// An answer whose head says that it failed may be worth another attempt.
    fn judge(&self, response: Response<Download>, lease: Lease) -> Sent {
        let Some(code) = status(&response) else {
            return Sent::Answer((response, lease));
        };
        if !self.safe || !self.policy.retry.codes.has(code) {
            return Sent::Answer((response, lease));
        }
        lease.finish(code);
        let pushback = response.headers().get(PUSHBACK).map(|value| Pushback::parse(value.as_bytes()));
        Sent::Failed(Box::new(Failed { fault: Fault::Answered(code), pushback, result: Ok((response, lease)) }))
    }

    /// The first attempt, and a second beside it when the first takes long. The one that loses is cancelled.
    async fn hedged(&self, lease: Lease, request: Request<Forward>, saved: &Saved<'_>, after: Duration) -> Sent {
        let mut first = pin!(self.send(lease, request, 1));
        tokio::select! {
            sent = &mut first => return sent,
            () = sleep(after) => {}
        }
        let now = Instant::now();
        if !saved.is_whole() || !self.take_from_budget(now) {
            return first.await;
        }
        let second = pin!(async {
            let lease = self.lease(now).await.ok()?;
            let request = saved.again(self.deadline, self.identity, Instant::now())?;
            self.means.instruments.upstream(UpstreamEvent::Hedged);
            Some(self.send(lease, request, 1).await)
        });
        match select(first, second).await {
            Either::Left((sent @ Sent::Answer(_), _)) | Either::Right((Some(sent @ Sent::Answer(_)), _)) => sent,
            Either::Left((sent, second)) => second.await.filter(Sent::is_answer).unwrap_or(sent),
            Either::Right((_, first)) => first.await,
        }
    }
}

impl Sent {
    fn is_answer(&self) -> bool {
        matches!(self, Self::Answer(_))
    }
}

fn with(mut tried: Tried, index: usize) -> Tried {
    tried.add(index);
    tried
}

fn failed(fault: Fault, error: Error) -> Sent {
    Sent::Failed(Box::new(Failed { fault, pushback: None, result: Err(error) }))
}

fn too_slow(limit: Duration) -> Error {
    Error::new(Code::UpstreamFailed, format!("the instance did not begin its answer within {limit:?}"))
}

/// The status that the head of an answer names, or that its HTTP status stands for; `None` when it goes on.
/// Source: gRPC, "HTTP to gRPC Status Code Mapping".
fn status(response: &Response<Download>) -> Option<tonic::Code> {
    match response.status() {
        StatusCode::OK => {
            let value = response.headers().get(Status::GRPC_STATUS)?;
            Some(tonic::Code::from_bytes(value.as_bytes()))
        }
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => Some(tonic::Code::Unavailable),
        _ => Some(tonic::Code::Unknown),
    }
}
