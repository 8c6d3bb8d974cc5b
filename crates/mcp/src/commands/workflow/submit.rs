//! `mcp workflow submit`, `check` and `rerun`: what reads a file.

use std::path::Path;

use mcp_client::value::{from_value, to_value};
use mcp_proto::scheduler::v1::{CheckWorkflowResponse, RerunWorkflowRequest, SubmitWorkflowResponse, WorkflowSpec};
use serde_json::{Map, Value};

use super::wait;
use crate::{
    args::workflow::{Rerun, WorkflowSubmit},
    commands::{
        context::Context,
        file,
        trace::{print_trace, trace_id},
    },
    document::{self, Document},
    exit::{Exit, Failure},
    output::{json, print},
};

/// The command whose help shows the format of the file.
const HELP: &str = "mcp workflow";
/// What the server calls the message.
const ROOT: &str = "workflow";

/// Submits the workflow of a file, and waits when it shall.
pub(super) async fn submit(context: &Context, args: &WorkflowSubmit) -> Result<Exit, Failure> {
    let mut document = read(&args.file).await?;
    let input = match &args.input_file {
        Some(path) => {
            let text = file::read_text(path, "--input-file").await?;
            Some(document::value(&text).map_err(|fault| file::faulty(path, &fault, "mcp workflow submit"))?)
        }
        None => None,
    };
    adjust(&mut document.message, args, input)?;
    let answer = context.client.submit_workflow(document.message.clone()).await;
    let submitted =
        answer.map_err(|error| file::located(context.failure(error.clone()), &error, &args.file, &document, ROOT))?;
    if args.wait {
        print::note(format!("workflow {}", submitted.workflow_id));
        print_trace();
        return wait::run(context, &submitted.workflow_id).await;
    }
    show(context, &submitted)?;
    Ok(Exit::Done)
}

/// Asks the server what is wrong with the workflow of a file.
pub(super) async fn check(context: &Context, path: &Path) -> Result<Exit, Failure> {
    let document = read(path).await?;
    let answer = context.client.check_workflow(document.message.clone()).await;
    answer.map_err(|error| file::located(context.failure(error.clone()), &error, path, &document, ROOT))?;
    context.answer(&CheckWorkflowResponse {}, |_| {
        format!("{}: nothing is wrong with its {} steps", path.display(), document.message.steps.len())
    })?;
    Ok(Exit::Done)
}

/// Starts a new run of a final workflow.
pub(super) async fn rerun(context: &Context, args: &Rerun) -> Result<Exit, Failure> {
    let document = match &args.file {
        Some(path) => Some(read(path).await?),
        None => None,
    };
    let request = RerunWorkflowRequest {
        workflow_id: args.id.clone(),
        from_step: args.from.clone(),
        workflow: document.as_ref().map(|document| document.message.clone()),
    };
    let rerun = context.client.rerun_workflow(request).await.map_err(|error| {
        let failure = context.failure(error.clone());
        match (&args.file, &document) {
            (Some(path), Some(document)) => file::located(failure, &error, path, document, ROOT),
            _ => failure,
        }
    })?;
    if args.wait {
        print::note(format!("workflow {}", rerun.workflow_id));
        print_trace();
        return wait::run(context, &rerun.workflow_id).await;
    }
    context.answer(&rerun, |rerun| {
        let id = &rerun.workflow_id;
        format!("workflow  {id}\nnote      it repeats {}\nnext      mcp workflow wait {id}", args.id)
    })?;
    Ok(Exit::Done)
}

async fn read(path: &Path) -> Result<Document<WorkflowSpec>, Failure> {
    let text = file::read_text(path, "--file").await?;
    document::workflow(&text).map_err(|fault| file::faulty(path, &fault, HELP))
}

/// Puts in what the flags say.
fn adjust(spec: &mut WorkflowSpec, args: &WorkflowSubmit, input: Option<Value>) -> Result<(), Failure> {
    for (field, flag) in [
        (&mut spec.namespace, &args.namespace),
        (&mut spec.queue, &args.queue),
        (&mut spec.name, &args.name),
        (&mut spec.idempotency_key, &args.idempotency_key),
    ] {
        if let Some(value) = flag {
            value.clone_into(field);
        }
    }
    spec.labels.extend(args.label.iter().cloned());
    if input.is_none() && args.input.is_empty() {
        return Ok(());
    }
    let mut whole = input.or_else(|| spec.input.clone().map(from_value)).unwrap_or(Value::Null);
    if whole.is_null() {
        whole = Value::Object(Map::new());
    }
    for (key, value) in &args.input {
        let fields = whole.as_object_mut().ok_or_else(|| {
            Failure::usage("--input sets a field, but the workflow's input has no fields", "use --input-file alone")
        })?;
        fields.insert(key.clone(), value.clone());
    }
    spec.input = Some(to_value(whole));
    Ok(())
}

fn show(context: &Context, submitted: &SubmitWorkflowResponse) -> Result<(), Failure> {
    if context.is_json() {
        print_trace();
        return print::line(json::pretty(&json::to_json(submitted)));
    }
    let mut lines = vec![format!("workflow  {}", submitted.workflow_id)];
    if submitted.deduplicated {
        lines.push("note      the idempotency key was used before: this is the workflow of then".to_owned());
    }
    lines.extend(trace_id().map(|id| format!("trace     {id}")));
    lines.push(format!("next      mcp workflow wait {id}   or   mcp workflow get {id}", id = submitted.workflow_id));
    print::line(lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use mcp_client::value::from_value;
    use serde_json::{Value, json};

    use super::adjust;
    use crate::{
        args::{Cli, Command, Workflow},
        document,
        exit::Failure,
    };

    fn adjusted(flags: &str, input: Option<Value>) -> Result<(mcp_proto::scheduler::v1::WorkflowSpec, Value), Failure> {
        let args = ["mcp", "workflow", "submit", "-f", "x"].into_iter().chain(flags.split_whitespace());
        let Command::Workflow(Workflow::Submit(args)) = Cli::parse_from(args).command else { panic!("not a submit") };
        let text = "name: n\nqueue: q\nlabels: {a: x, b: x}\ninput: {day: 1, parts: 2}\nsteps: []\n";
        let mut spec = document::workflow(text).unwrap().message;
        adjust(&mut spec, &args, input)?;
        let input = spec.input.clone().map(from_value).unwrap();
        Ok((spec, input))
    }

    #[test]
    fn flags_go_before_the_file() {
        let (spec, input) =
            adjusted("--input day=3 --input who=Ada --label b=y -q other --idempotency-key k", None).unwrap();
        assert_eq!(input, json!({"day": 3, "parts": 2, "who": "Ada"}));
        assert_eq!((&*spec.queue, &*spec.name, &*spec.idempotency_key), ("other", "n", "k"));
        assert_eq!((&*spec.labels["a"], &*spec.labels["b"]), ("x", "y"));
    }

    #[test]
    fn an_input_file_stands_instead_of_the_files_input() {
        assert_eq!(adjusted("--input c=1", Some(json!({"a": 1}))).unwrap().1, json!({"a": 1, "c": 1}));
        assert_eq!(adjusted("", Some(json!([1]))).unwrap().1, json!([1]));
        let failure = adjusted("--input c=1", Some(json!([1]))).unwrap_err();
        assert!(failure.what.contains("no fields"), "{failure:?}");
    }
}
