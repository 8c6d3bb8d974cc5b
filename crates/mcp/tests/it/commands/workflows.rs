//! `mcp workflow`.

use mcp_client::value::from_value;
use mcp_proto::{
    Error,
    scheduler::v1::{Step, StepState, Workflow, WorkflowState},
};
use serde_json::json;

use super::{
    run,
    servers::{Script, Servers},
};

/// A workflow of two steps.
const FILE: &str =
    "name: two\ninput: {n: 1}\nsteps:\n  - name: a\n    run: echo\n  - name: b\n    depends_on: a\n    run: echo\n";

fn look(state: WorkflowState, a: StepState, b: StepState) -> Workflow {
    let step = |name: &str, state: StepState| Step { name: name.to_owned(), state: state.into(), ..Step::default() };
    Workflow {
        id: "W1".to_owned(),
        state: state.into(),
        steps: vec![step("a", a), step("b", b)],
        step_count: 2,
        ..Workflow::default()
    }
}

fn script(end: WorkflowState, b: StepState) -> Script {
    let looks = [
        look(WorkflowState::Running, StepState::Active, StepState::Blocked),
        look(WorkflowState::Running, StepState::Succeeded, StepState::Active),
        look(end, StepState::Succeeded, b),
    ];
    Script { looks: looks.into(), ..Script::default() }
}

#[tokio::test]
async fn a_submit_shows_each_step_and_ends_as_the_workflow_does() {
    for (end, b, code) in [
        (WorkflowState::Succeeded, StepState::Succeeded, 0),
        (WorkflowState::Failed, StepState::Failed, 1),
        (WorkflowState::Cancelled, StepState::Cancelled, 1),
    ] {
        let servers = Servers::start(script(end, b)).await;
        let ended = run(&servers, &["workflow", "submit", "-f", "-", "--input", "n=2", "--wait"], FILE).await;
        assert_eq!(ended.code, code, "{ended:?}");
        let told: Vec<&str> = ended.error.lines().filter(|line| line.contains(" a ") || line.contains(" b ")).collect();
        assert_eq!(told[..3], ["▶ a ACTIVE", "✓ a SUCCEEDED", "▶ b ACTIVE"], "{ended:?}");
        assert!(ended.error.contains("workflow W1") && ended.error.contains("trace "), "{ended:?}");
        let submitted = servers.script().submitted.clone();
        assert_eq!(submitted[0].input.clone().map(from_value), Some(json!({"n": 2})));
        assert_eq!(submitted[0].steps[1].depends_on, ["a"]);
    }
}

#[tokio::test]
async fn faults_of_the_server_have_lines_of_the_file() {
    let fault = Error::invalid("workflow.steps[1].depends_on[0]", "there is no step `x`")
        .with_violation("workflow.steps[0].task.process.argv[2]", "in `${x}`: unknown name");
    for verb in ["check", "submit"] {
        let servers = Servers::start(Script { fault: Some(fault.clone()), ..Script::default() }).await;
        let ended = run(&servers, &["workflow", verb, "-f", "-"], FILE).await;
        assert_eq!(ended.code, 5, "{ended:?}");
        assert!(ended.error.contains("-:7: `steps[1].depends_on[0]` there is no step `x`"), "{ended:?}");
        assert!(ended.error.contains("-:5: `steps[0].task.process.argv[2]` in `${x}`"), "{ended:?}");
    }
}

#[tokio::test]
async fn a_wrong_file_is_refused_before_anything_is_sent() {
    let servers = Servers::start(Script::default()).await;
    let ended = run(&servers, &["workflow", "submit", "-f", "-"], "name: x\nstep: []\n").await;
    assert_eq!(ended.code, 2, "{ended:?}");
    assert!(ended.error.contains("-:2: there is no field `step`"), "{ended:?}");
    let ended = run(&servers, &["workflow", "submit", "-f", "/nowhere.yaml"], "").await;
    assert_eq!(ended.code, 2, "{ended:?}");
    assert!(servers.script().submitted.is_empty());
}

#[tokio::test]
async fn a_right_file_and_an_unknown_workflow() {
    let servers = Servers::start(Script::default()).await;
    let ended = run(&servers, &["workflow", "check", "-f", "-"], FILE).await;
    assert_eq!((ended.code, ended.output.trim()), (0, "-: nothing is wrong with its 2 steps"), "{ended:?}");
    for verb in ["get", "wait"] {
        let ended = run(&servers, &["workflow", verb, "W9"], "").await;
        assert_eq!(ended.code, 4, "{ended:?}");
    }
}

#[tokio::test]
async fn a_rerun_names_the_step_and_the_newer_file() {
    let servers = Servers::start(Script::default()).await;
    let ended = run(&servers, &["workflow", "rerun", "W1", "--from", "b", "-f", "-"], FILE).await;
    assert!(ended.code == 0 && ended.output.contains("workflow  W2"), "{ended:?}");
    let request = servers.script().rerun.clone().unwrap();
    assert_eq!((&*request.workflow_id, &*request.from_step), ("W1", "b"));
    assert_eq!(request.workflow.unwrap().name, "two");
}
