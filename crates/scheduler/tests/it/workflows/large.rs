//! Workflows as large as they may be.

use std::time::{Duration, Instant};

use mcp_proto::scheduler::v1::{
    HandlerWork, StepSpec, TaskSpec, WaitWorkflowRequest, Workflow, WorkflowSpec, WorkflowState, task_spec::Work,
};
use scheduler::config::Settings;
use serde_json::json;

use super::{Plant, output, task, with};

/// Longest time that a large workflow may take, in a build without optimisation beside other tests.
const LARGE_MAX: Duration = Duration::from_secs(120);

/// A step of layer `layer` that depends on the one before it, and on the last one of its layer before that.
fn layered(layer: usize, at: usize, width: usize) -> StepSpec {
    let work = HandlerWork { handler: "echo".to_owned(), input: None };
    let mut depends_on = Vec::new();
    if layer > 0 {
        depends_on.push(format!("s{}_{at}", layer - 1));
        if at + 1 != width {
            depends_on.push(format!("s{}_{}", layer - 1, width - 1));
        }
    }
    StepSpec {
        name: format!("s{layer}_{at}"),
        task: Some(TaskSpec { work: Some(Work::Handler(work)), ..TaskSpec::default() }),
        depends_on,
        ..StepSpec::default()
    }
}

async fn wait_long(plant: &Plant, id: &str) -> Workflow {
    let request = WaitWorkflowRequest { workflow_id: id.to_owned(), timeout: LARGE_MAX.try_into().ok() };
    plant.client().wait_workflow(request).await.unwrap().into_inner().workflow.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
#[allow(clippy::print_stderr, reason = "figures for people")]
async fn ten_thousand_steps_run_and_others_are_served_meanwhile() {
    let plant = Plant::with(Settings::default(), 512).await;
    let (layers, width) = (20, 500);
    let steps = (0..layers).flat_map(|layer| (0..width).map(move |at| layered(layer, at, width)));
    let spec = WorkflowSpec { steps: steps.collect(), output: "'done'".to_owned(), ..WorkflowSpec::default() };
    let started = Instant::now();
    let id = plant.try_submit(spec).await.unwrap().workflow_id;
    let submitted = started.elapsed();
    let mut longest = Duration::ZERO;
    loop {
        let asked = Instant::now();
        let small =
            plant.scheduler.submit(TaskSpec { queue: "other".to_owned(), ..crate::support::handler("h") }).await;
        longest = longest.max(asked.elapsed());
        assert!(!small.is_empty());
        let request = WaitWorkflowRequest { workflow_id: id.clone(), timeout: crate::support::millis(100) };
        let workflow = plant.client().wait_workflow(request).await.unwrap().into_inner().workflow.unwrap();
        if workflow.finish_time.is_some() {
            break;
        }
        assert!(started.elapsed() < LARGE_MAX, "{} of {} steps ended", workflow.steps_ended, workflow.step_count);
    }
    let took = started.elapsed();
    let done = wait_long(&plant, &id).await;
    assert_eq!((done.state(), done.steps_ended), (WorkflowState::Succeeded, 10_000));
    assert_eq!(output(&done.output), json!("done"));
    let runs = plant.journal().iter().filter(|line| line.starts_with("start")).count();
    assert_eq!(runs, 10_000, "every step ran once");
    eprintln!(
        "ten thousand steps: checked and stored in {submitted:?}, done in {took:?}, other submits at most {longest:?}"
    );
    assert!(longest < Duration::from_secs(2), "another submit took {longest:?}");
    plant.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_thousands_is_worked_through() {
    let plant = Plant::with(Settings::default(), 512).await;
    let count = 3_000;
    let spec = json!({"input": (0..count).collect::<Vec<u32>>(), "output": "size(steps.each.output)", "steps": [
        with(task("each", "echo", json!("${item}"), &[]), json!({"forEach": "input"})),
    ]});
    let id = plant.submit(spec).await;
    let done = wait_long(&plant, &id).await;
    assert_eq!((done.state(), output(&done.output)), (WorkflowState::Succeeded, json!(count)));
    assert_eq!((done.steps[0].task_ids.len(), done.steps[0].items_ended), (100, count));
    assert_eq!(output(&done.steps[0].output)[2_999], json!(2_999));
    plant.stop().await;
}
