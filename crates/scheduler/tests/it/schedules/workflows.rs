//! Schedules that start workflows.

use mcp_proto::{
    Code, Error,
    scheduler::v1::{
        FireOutcome, GetWorkflowRequest, OverlapPolicy, Schedule, StepSpec, WorkflowSpec, WorkflowState,
        schedule::Target, workflow_service_client::WorkflowServiceClient,
    },
};

use super::{Book, idle};
use crate::support::{LIMIT, Scheduler, Worker, handler};

fn workflow(steps: &[&str]) -> Option<Target> {
    let step = |(n, name): (usize, &&str)| StepSpec {
        name: (*name).to_owned(),
        task: Some(handler("h")),
        depends_on: steps[..n].iter().map(|name| (*name).to_owned()).collect(),
        ..StepSpec::default()
    };
    let steps = steps.iter().enumerate().map(step).collect();
    Some(Target::Workflow(WorkflowSpec { steps, ..WorkflowSpec::default() }))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workflow_is_a_run_until_its_last_step_ended_also_over_a_restart() {
    let mut scheduler = Scheduler::start().await;
    let book = Book::of(&scheduler);
    let target = workflow(&["first", "second"]);
    book.put(Schedule { target, overlap: OverlapPolicy::Skip.into(), ..idle() }).await;
    let fire = book.trigger().await;
    assert_eq!((fire.outcome(), fire.task_id.as_str()), (FireOutcome::Ran, ""), "{fire:?}");
    let mut worker = Worker::join(&scheduler, 1).await;
    let first = worker.work().await;
    assert_eq!(scheduler.get(&first).await.workflow_id, fire.workflow_id);
    let skipped = book.trigger().await;
    assert!(skipped.outcome() == FireOutcome::Skipped && skipped.reason.contains(&fire.workflow_id), "{skipped:?}");

    drop(worker);
    scheduler.restart().await;
    let book = Book::of(&scheduler);
    assert_eq!(book.get().await.running, std::slice::from_ref(&fire.workflow_id));
    let mut worker = Worker::join(&scheduler, 1).await;
    assert_eq!(scheduler.get(&worker.work().await).await.step, "second");
    testkit::eventually(LIMIT, || async {
        let running = book.get().await.running;
        if running.is_empty() { Ok(()) } else { Err(format!("{running:?}")) }
    })
    .await;
    let request = GetWorkflowRequest { workflow_id: fire.workflow_id.clone() };
    let run = WorkflowServiceClient::new(scheduler.channel.clone()).get_workflow(request).await.unwrap();
    let run = run.into_inner().workflow.unwrap();
    assert_eq!(run.state(), WorkflowState::Succeeded);
    assert_ne!(book.trigger().await.workflow_id, fire.workflow_id);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_earlier_workflow_is_cancelled_for_the_next() {
    let scheduler = Scheduler::start().await;
    let book = Book::of(&scheduler);
    let target = workflow(&["only"]);
    book.put(Schedule { target, overlap: OverlapPolicy::CancelOther.into(), ..idle() }).await;
    let (first, _) = (book.trigger().await, book.trigger().await);
    let fires = book.fires_reach(2).await;
    assert_ne!(fires[1].workflow_id, first.workflow_id);
    assert_eq!(book.get().await.running, [fires[1].workflow_id.clone()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_workflow_is_named_by_its_field() {
    let scheduler = Scheduler::start().await;
    let book = Book::of(&scheduler);
    let twice = Schedule { target: workflow(&["a", "a"]), ..idle() };
    let error = Error::from(book.try_put(twice).await.unwrap_err());
    assert_eq!(error.code(), Code::InvalidArgument);
    assert!(
        error.violations().iter().all(|violation| violation.field.starts_with("schedule.workflow.steps")),
        "{error}"
    );
}
