//! What is wrong is said at the submit, with its name.

use mcp_proto::{
    Code, Error,
    scheduler::v1::{CheckWorkflowRequest, SubmitWorkflowRequest},
};
use serde_json::{Value, json};

use super::{Plant, echo, with, workflow};
use crate::support::code;

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_is_named_with_its_field_and_its_step() {
    let plant = Plant::start().await;
    let a = || echo("a", json!(1), &[]);
    let mut stray = a();
    stray["task"]["uniqueKey"] = json!("k");
    let mut wild = a();
    wild["task"]["priority"] = json!(1_000);
    let cases: Vec<(Value, &str, &str)> = vec![
        (json!({"steps": []}), "workflow.steps", "1 to 10000"),
        (
            json!({"steps": [echo("a", json!(1), &["b"]), echo("b", json!(1), &["a"])]}),
            "workflow.steps[0].depends_on",
            "a -> b -> a",
        ),
        (
            json!({"steps": [echo("load", json!(1), &[]), echo("b", json!(1), &["laod"])]}),
            "workflow.steps[1].depends_on[0]",
            "`laod`",
        ),
        (json!({"steps": [with(a(), json!({"condition": "1 +"}))]}), "workflow.steps[0].condition", "`a`"),
        (json!({"steps": [with(a(), json!({"condition": "steps.b.output"}))]}), "workflow.steps[0].condition", "`b`"),
        (json!({"steps": [with(a(), json!({"forEach": "nope"}))]}), "workflow.steps[0].for_each", "nope"),
        (
            json!({"steps": [echo("a", json!({"x": ["${input.}"]}), &[])]}),
            "workflow.steps[0].task.handler.input.x[0]",
            "`a`",
        ),
        (json!({"steps": [echo("a", json!("${item}"), &[])]}), "workflow.steps[0].task.handler.input", "item"),
        (json!({"steps": [a(), a()]}), "workflow.steps[1].name", "steps[0]"),
        (json!({"steps": [echo("1st", json!(1), &[])]}), "workflow.steps[0].name", "`1st`"),
        (json!({"steps": [{"name": "a"}]}), "workflow.steps[0].task", "`a`"),
        (json!({"steps": [stray]}), "workflow.steps[0].task.unique_key", "must be empty in a step"),
        (json!({"steps": [wild]}), "workflow.steps[0].task.priority", "-100 to 100"),
        (json!({"steps": [a()], "onFailure": echo("a", json!(1), &[])}), "workflow.on_failure.name", "`a`"),
        (json!({"steps": [a()], "output": "steps.z.output"}), "workflow.output", "`z`"),
        (json!({"steps": [a()], "timeout": "-5s"}), "workflow.timeout", "negative"),
        (json!({"steps": [a()], "queue": "no/slash"}), "workflow.queue", "a-zA-Z0-9"),
        (json!({"steps": [a()], "name": "x".repeat(201)}), "workflow.name", "201"),
    ];
    for (spec, field, says) in cases {
        let error = Error::from(plant.try_submit(workflow(spec.clone())).await.expect_err(field));
        assert_eq!(error.code(), Code::InvalidArgument, "{error:?}");
        let violation = error.violations().iter().find(|violation| violation.field == field);
        let violation = violation.unwrap_or_else(|| panic!("{field}: {:?}", error.violations()));
        assert!(violation.description.contains(says), "{field}: {}", violation.description);
        let request = CheckWorkflowRequest { workflow: Some(workflow(spec)) };
        let checked = Error::from(plant.client().check_workflow(request).await.unwrap_err());
        assert_eq!(checked.violations(), error.violations());
    }
    let request = CheckWorkflowRequest { workflow: Some(workflow(json!({"steps": [a()]}))) };
    plant.client().check_workflow(request).await.unwrap();
    let nothing = plant.client().submit_workflow(SubmitWorkflowRequest { workflow: None }).await;
    assert_eq!(code(nothing), Code::InvalidArgument);
    assert_eq!(plant.list(Default::default()).await.workflows, [], "nothing was stored");
    plant.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn several_faults_come_back_together() {
    let plant = Plant::start().await;
    let spec = json!({"queue": "a b", "steps": [
        echo("a", json!("${steps.x.output}"), &["y"]), with(echo("b", json!(1), &[]), json!({"condition": "!"})),
    ]});
    let error = Error::from(plant.try_submit(workflow(spec)).await.unwrap_err());
    let fields: Vec<_> = error.violations().iter().map(|violation| violation.field.as_str()).collect();
    assert_eq!(
        fields,
        [
            "workflow.queue",
            "workflow.steps[0].depends_on[0]",
            "workflow.steps[0].task.handler.input",
            "workflow.steps[1].condition"
        ]
    );
    plant.stop().await;
}
