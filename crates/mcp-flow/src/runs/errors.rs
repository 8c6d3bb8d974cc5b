//! Errors of workflows, in the JSON form of the platform's catalogue.

use serde_json::{Value, json};

use crate::{json::Json, template::RenderError};

fn error(code: u32, name: &str, message: String) -> Json {
    json!({"code": code, "name": name, "message": message}).into()
}

/// An expression of a step failed, or gave something that does not fit.
pub(super) fn expression(step: &str, what: &str, reason: &dyn std::fmt::Display) -> Json {
    error(3011, "EXPRESSION_FAILED", format!("{what} of step `{step}`: {reason}"))
}

/// The expression for the workflow's output failed.
pub(super) fn output(reason: &dyn std::fmt::Display) -> Json {
    error(3011, "EXPRESSION_FAILED", format!("output of the workflow: {reason}"))
}

/// The task of a step cannot be rendered.
pub(super) fn rendering(step: &str, failure: &RenderError) -> Json {
    match failure {
        RenderError::Expression(failure) => expression(step, "task", failure),
        RenderError::TooLarge => {
            let most = crate::template::RENDERED_BYTES_MAX;
            expression(step, "task", &format!("its values have more than {most} bytes together"))
        }
    }
}

/// The outputs of a run are too large together.
pub(super) fn outputs_too_large(step: &str, most: usize) -> Json {
    let message =
        format!("with the output of step `{step}` the workflow's outputs have more than {most} bytes together");
    error(3007, "OUTPUT_INVALID", message)
}

/// A task was cancelled, but its workflow was not.
pub(super) fn task_cancelled(step: &str) -> Json {
    error(3009, "TASK_CANCELLED", format!("a task of step `{step}` was cancelled"))
}

/// A step cannot run because of a failure before it.
pub(super) fn after_failure(failed: &str) -> Json {
    of_step(&error(3012, "STEP_FAILED", format!("step `{failed}` failed")), failed)
}

/// The workflow's time is up.
pub(super) fn timed_out(millis: u64) -> Json {
    let message = format!("the workflow took longer than its timeout of {}.{:03} s", millis / 1000, millis % 1000);
    error(3013, "WORKFLOW_TIMEOUT", message)
}

/// A step's error as that of the workflow: the metadata names the step.
pub(super) fn of_step(error: &Json, step: &str) -> Json {
    let mut error = (**error).clone();
    if let Value::Object(fields) = &mut error {
        let metadata = fields.entry("metadata").or_insert_with(|| json!({}));
        if let Value::Object(metadata) = metadata {
            metadata.insert("step".to_owned(), step.into());
        }
    }
    error.into()
}
