//! The forms an [`Error`] takes on each protocol, both ways.

use serde_json::{Value, json};
use tonic::Status;
use tonic_types::{ErrorDetails, StatusExt};

use super::{Code, DOMAIN, Error};
use crate::common::v1;

/// What tonic says when its own timer cut a call off.
const TONIC_TIMEOUT: &str = "Timeout expired";

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let mut details = ErrorDetails::new();
        details.set_error_info(
            error.code.name(),
            DOMAIN,
            error.metadata.into_iter().collect::<std::collections::HashMap<_, _>>(),
        );
        if let Some(wait) = error.retry_after {
            details.set_retry_info(Some(wait));
        }
        for violation in error.violations {
            details.add_bad_request_violation(violation.field, violation.description);
        }
        let mut status = Self::with_error_details(error.code.grpc(), error.message, details);
        if let Some(source) = error.source {
            status.set_source(source);
        }
        status
    }
}

/// Reads a status of ours back, and gives one of any other service the nearest entry of the catalogue.
impl From<&Status> for Error {
    fn from(status: &Status) -> Self {
        let details = status.get_error_details();
        let info = details.error_info().filter(|info| info.domain == DOMAIN);
        let code = match info.and_then(|info| Code::from_name(&info.reason)) {
            Some(code) => code,
            None if status.code() == tonic::Code::Cancelled && status.message() == TONIC_TIMEOUT => {
                Code::DeadlineExceeded
            }
            None => Code::from_grpc(status.code()),
        };
        let mut error = Self::new(code, status.message());
        error.retry_after = details.retry_info().and_then(|info| info.retry_delay);
        if let Some(info) = info {
            error.metadata = info.metadata.clone().into_iter().collect();
        }
        for violation in details.bad_request().into_iter().flat_map(|bad| &bad.field_violations) {
            error = error.with_violation(&violation.field, &violation.description);
        }
        error
    }
}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        Self::from(&status).with_source(status)
    }
}

impl From<Error> for v1::Error {
    fn from(error: Error) -> Self {
        Self {
            code: error.code.number(),
            name: error.code.name().to_owned(),
            message: error.message,
            retryable: error.code.retryable(),
            retry_after: error.retry_after.and_then(|wait| wait.try_into().ok()),
            violations: error
                .violations
                .into_iter()
                .map(|violation| v1::FieldViolation { field: violation.field, description: violation.description })
                .collect(),
            metadata: error.metadata,
        }
    }
}

/// A number from a newer catalogue becomes `INTERNAL` or, in 1xxx, `INVALID_ARGUMENT`.
impl From<v1::Error> for Error {
    fn from(wire: v1::Error) -> Self {
        let code = Code::from_number(wire.code).unwrap_or(match wire.code {
            1000..2000 => Code::InvalidArgument,
            _ => Code::Internal,
        });
        let mut error = Self::new(code, wire.message);
        error.retry_after = wire.retry_after.and_then(|wait| wait.try_into().ok());
        error.metadata = wire.metadata;
        for violation in wire.violations {
            error = error.with_violation(violation.field, violation.description);
        }
        error
    }
}

impl Error {
    /// The JSON body of an HTTP answer or an error frame: `code`, `name`, `message`, `retryable`, `details`.
    pub fn to_json(&self) -> Value {
        let mut details = Vec::new();
        if !self.metadata.is_empty() {
            details.push(json!({
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": self.code.name(),
                "domain": DOMAIN,
                "metadata": self.metadata,
            }));
        }
        if let Some(wait) = self.retry_after {
            details.push(json!({
                "@type": "type.googleapis.com/google.rpc.RetryInfo",
                "retryDelay": format!("{}s", wait.as_secs_f64()),
            }));
        }
        if !self.violations.is_empty() {
            let violations: Vec<Value> = self
                .violations
                .iter()
                .map(|violation| json!({"field": violation.field, "description": violation.description}))
                .collect();
            details.push(json!({
                "@type": "type.googleapis.com/google.rpc.BadRequest",
                "fieldViolations": violations,
            }));
        }
        json!({
            "code": self.code.number(),
            "name": self.code.name(),
            "message": self.message,
            "retryable": self.code.retryable(),
            "details": details,
        })
    }
}
