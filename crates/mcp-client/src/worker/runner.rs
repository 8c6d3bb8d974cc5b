//! Runs one attempt: its span, its run timeout, its stop, its result.

use std::{any::Any, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt;
use mcp_proto::{
    Code, Error, common,
    scheduler::v1::{HandlerWork, ProcessWork, task_spec::Work},
    worker::v1::{Assignment, AttemptCancelled, AttemptRef, AttemptResult, AttemptSuccess, attempt_result::Outcome},
};
use tokio::time::{sleep, timeout};
use tracing::{Instrument, Span, debug, field};

use super::{
    abilities::Abilities,
    attempt::AttemptKey,
    book::Report,
    context::{AttemptContext, Facts},
    handler::HandlerError,
    hub::Hub,
    output::to_output,
    stop::{Stop, StopReason},
};
use crate::{trace, value};

/// Run timeout of an assignment that names none.
const RUN_TIMEOUT_DEFAULT: Duration = Duration::from_secs(3_600);

/// Starts an attempt as a task of its own, which reports to the hub when it ends, whatever happens in it.
pub(super) fn start(
    hub: &Arc<Hub>,
    abilities: &Arc<Abilities>,
    key: AttemptKey,
    assignment: Assignment,
    stop: Arc<Stop>,
) {
    let (hub, abilities) = (Arc::clone(hub), Arc::clone(abilities));
    let tracker = hub.tracker.clone();
    tracker.spawn(async move {
        let attempt = Attempt::new(&hub, abilities, key, assignment, stop);
        let report = attempt.run().await;
        hub.finish(key, report);
    });
}

/// An attempt before it ran.
struct Attempt {
    context: AttemptContext,
    wire: AttemptRef,
    work: Option<Work>,
    run_timeout: Duration,
    stop: Arc<Stop>,
    abilities: Arc<Abilities>,
}

/// How the work ended.
struct Ended {
    /// Its output, or why it failed.
    result: Result<Option<prost_types::Value>, Box<common::v1::Error>>,
    exit_code: Option<i32>,
}

impl Attempt {
    fn new(
        hub: &Arc<Hub>,
        abilities: Arc<Abilities>,
        key: AttemptKey,
        assignment: Assignment,
        stop: Arc<Stop>,
    ) -> Self {
        let spec = assignment.spec.unwrap_or_default();
        let facts = Facts {
            number: assignment.number,
            namespace: spec.namespace,
            queue: spec.queue,
            name: spec.name,
            traceparent: assignment.traceparent,
        };
        let run_timeout = spec.run_timeout.and_then(|limit| limit.try_into().ok()).unwrap_or(RUN_TIMEOUT_DEFAULT);
        Self {
            context: AttemptContext::new(Arc::clone(hub), key, facts, Arc::clone(&stop)),
            wire: assignment.attempt.unwrap_or_else(|| key.to_ref()),
            work: spec.work,
            run_timeout,
            stop,
            abilities,
        }
    }

    async fn run(self) -> Report {
        let span = tracing::info_span!(
            "task.attempt",
            otel.kind = "consumer",
            otel.status_code = field::Empty,
            mcp.task.id = %self.context.task_id(),
            mcp.task.attempt = self.context.attempt(),
            mcp.task.name = self.context.name(),
            mcp.namespace = self.context.namespace(),
            mcp.queue = self.context.queue(),
            mcp.worker.id = self.context.worker_id(),
            mcp.error.name = field::Empty,
        );
        trace::set_parent(&span, self.context.traceparent());
        self.run_in(span.clone()).instrument(span).await
    }

    async fn run_in(mut self, span: Span) -> Report {
        let work = self.work.take();
        // A panic ends the attempt, not the worker; the work's parts are dropped and never looked at again.
        let ended = AssertUnwindSafe(self.execute(work)).catch_unwind().await;
        let ended = ended.unwrap_or_else(|panic| Ended::failed(panicked(&*panic)));
        let report = self.report(ended);
        if let Report::Result(AttemptResult { outcome: Some(Outcome::Failure(error)), .. }) = &report {
            span.record("otel.status_code", "ERROR");
            span.record("mcp.error.name", error.name.as_str());
            debug!(error = error.message, "attempt failed");
        }
        report
    }

    async fn execute(&self, work: Option<Work>) -> Ended {
        match work {
            Some(Work::Handler(work)) => self.call_handler(work).await,
            Some(Work::Process(work)) => self.run_process(work).await,
            None => Ended::failed(Error::new(Code::Unimplemented, "this worker does not know this kind of work")),
        }
    }

    async fn call_handler(&self, work: HandlerWork) -> Ended {
        let Some(handler) = self.abilities.handlers.get(&work.handler) else {
            let message = format!("the worker has no handler `{}`", work.handler);
            return Ended::failed(Error::new(Code::HandlerUnknown, message));
        };
        let input = work.input.map_or(serde_json::Value::Null, value::from_value);
        // First the handler, so that one which is ready at once costs neither a timer nor a waiter.
        let result = tokio::select! {
            biased;
            result = handler.call(self.context.clone(), input) => result,
            () = self.stop.token().cancelled() => return Ended::stopped(),
            () = sleep(self.run_timeout) => {
                self.stop.order(StopReason::TimedOut);
                return Ended::stopped();
            }
        };
        Ended { result: handler_output(result), exit_code: None }
    }

    async fn run_process(&self, work: ProcessWork) -> Ended {
        let Some(executor) = &self.abilities.processes else {
            return Ended::failed(Error::new(Code::Unimplemented, "the worker runs no programs"));
        };
        let mut execution = executor.execute(&self.context, work);
        let outcome = tokio::select! {
            biased;
            outcome = &mut execution => Some(outcome),
            () = self.stop.token().cancelled() => None,
            () = sleep(self.run_timeout) => {
                self.stop.order(StopReason::TimedOut);
                None
            }
        };
        let outcome = match outcome {
            Some(outcome) => Some(outcome),
            None => timeout(executor.stop_max(), execution).await.ok(),
        };
        outcome.map_or_else(Ended::stopped, |outcome| Ended {
            result: outcome.result.map_err(boxed),
            exit_code: outcome.exit_code,
        })
    }

    fn report(self, ended: Ended) -> Report {
        // A handler that made it in spite of the stop has done its work; a program may well exit 0 when it is told
        // to stop, so there the stop counts.
        let did_its_work = ended.result.is_ok() && ended.exit_code.is_none();
        let outcome = match self.stop.reason() {
            Some(StopReason::Revoked) => return Report::Nothing,
            Some(StopReason::HandedBack) if !did_its_work => return Report::HandedBack,
            Some(StopReason::Cancelled) if !did_its_work => Outcome::Cancelled(AttemptCancelled {}),
            Some(StopReason::TimedOut) if !did_its_work => {
                let message = format!("the attempt ran longer than {:?}", self.run_timeout);
                Outcome::Failure(Error::new(Code::RunTimeout, message).into())
            }
            Some(_) | None => match ended.result {
                Ok(output) => Outcome::Success(AttemptSuccess { output }),
                Err(error) => Outcome::Failure(*error),
            },
        };
        Report::Result(AttemptResult { attempt: Some(self.wire), outcome: Some(outcome), exit_code: ended.exit_code })
    }
}

impl Ended {
    fn failed(error: Error) -> Self {
        Self { result: Err(boxed(error)), exit_code: None }
    }

    /// The reason of the stop tells the rest.
    fn stopped() -> Self {
        Self::failed(Error::new(Code::Cancelled, "the attempt was stopped"))
    }
}

fn boxed(error: Error) -> Box<common::v1::Error> {
    Box::new(error.into())
}

fn handler_output(
    result: Result<serde_json::Value, HandlerError>,
) -> Result<Option<prost_types::Value>, Box<common::v1::Error>> {
    let output = result.map_err(|error| Box::new(error.into_wire()))?;
    to_output(output).map_err(boxed)
}

fn panicked(panic: &(dyn Any + Send)) -> Error {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    Error::new(Code::HandlerFailed, format!("panicked: {text}"))
}
