//! Running a workflow again.

use super::*;
use crate::runs::StepState::{Active, Blocked, Failed, Reused, Skipped, Succeeded};

const AGAIN: RunId = RunId(2);

impl Desk {
    fn rerun(&mut self, from_step: Option<&str>, newer: Option<(RawDefinition, Value)>) -> Result<(), RerunRefused> {
        let earlier = self.finished[&RUN].clone();
        let newer = newer.map(|(raw, input)| (self.runs.definition(&Arc::new(raw)).unwrap(), input.into()));
        let from_step = from_step.map(str::to_owned);
        let rerun = Rerun { id: AGAIN, from_step, newer, extra: None, trace: "again".to_owned() };
        let now = self.now;
        self.tasks.clear();
        self.call(|runs, out| runs.rerun(now, &earlier, rerun, out))?;
        self.tick();
        Ok(())
    }

    fn again(&self) -> RunView {
        self.runs.view(AGAIN).unwrap_or_else(|| self.finished[&AGAIN].clone())
    }

    fn states_again(&self) -> Vec<StepState> {
        self.again().steps.iter().map(|step| step.state).collect()
    }

    fn succeed_again(&mut self, step: u32, output: Value) {
        let end = ItemEnd::Succeeded { output: Some(output.into()) };
        assert!(self.end(ItemRef { run: AGAIN, step, item: 0 }, end));
    }
}

/// `a` and `b` succeeded, `no` was skipped, `c` failed, `d` did not start.
fn failed() -> Desk {
    let mut desk = Desk::running(
        of(vec![
            step("a", &[]),
            each("[1, 2]", step("b", &["a"])),
            when("false", step("no", &["a"])),
            with_input("${steps.a.output} ${steps.b.output}", step("c", &["b", "no"])),
            step("d", &["c"]),
        ]),
        json!({"version": 1}),
    );
    desk.succeed(0, json!("a"));
    desk.succeed(1, json!(10));
    desk.end(item(1, 1), ItemEnd::Succeeded { output: Some(json!(20).into()) });
    desk.fail(3);
    assert_eq!(desk.states(), [Succeeded, Succeeded, Skipped, Failed, Skipped]);
    desk
}

#[test]
fn it_goes_on_from_what_failed() {
    let mut desk = failed();
    desk.rerun(None, None).unwrap();
    assert_eq!(desk.states_again(), [Reused, Reused, Skipped, Active, Blocked]);
    assert_eq!(desk.again().steps[1].output, Some(json!([10, 20]).into()));
    assert_eq!((desk.again().run.rerun_of, desk.again().run.partition), (Some(RUN), 3));
    desk.restart();
    assert_eq!(desk.states_again(), [Reused, Reused, Skipped, Active, Blocked]);
    assert_eq!(desk.again().steps[1].output, Some(json!([10, 20]).into()), "what is taken over is on record");
    desk.succeed_again(3, json!("c"));
    desk.succeed_again(4, json!("d"));
    assert_eq!(desk.again().run.output, Some(json!({"d": "d"}).into()));
    assert_eq!(desk.started(), ["3/0", "4/0"]);
}

#[test]
fn it_starts_from_a_step_and_all_that_depends_on_it() {
    let mut desk = failed();
    desk.rerun(Some("b"), None).unwrap();
    assert_eq!(desk.states_again(), [Reused, Active, Skipped, Blocked, Blocked]);
    let mut desk = failed();
    desk.rerun(Some("a"), None).unwrap();
    assert_eq!(desk.states_again(), [Active, Blocked, Blocked, Blocked, Blocked]);
    let mut desk = failed();
    assert_eq!(desk.rerun(Some("z"), None), Err(RerunRefused::UnknownStep("z".to_owned())));
}

#[test]
fn a_succeeded_workflow_can_run_again_from_a_step() {
    let mut desk = Desk::running(of(vec![step("a", &[]), step("b", &["a"])]), json!(null));
    desk.succeed(0, json!(1));
    desk.succeed(1, json!(2));
    desk.rerun(None, None).unwrap();
    assert_eq!(desk.states_again(), [Reused, Reused], "nothing to do");
    assert_eq!(desk.again().run.state, RunState::Succeeded);
    assert_eq!(desk.again().run.output, Some(json!({"b": 2}).into()));
}

#[test]
fn a_newer_version_takes_over_steps_by_name() {
    let newer = of(vec![
        step("c", &["b", "a"]),
        each("[1, 2, 3]", step("b", &["fresh"])),
        step("a", &[]),
        step("fresh", &[]),
        when("true", step("no", &["a"])),
    ]);
    let mut desk = failed();
    desk.rerun(None, Some((newer, json!({"version": 2})))).unwrap();
    // `b` now depends on a step that has to run, and the condition of `no` is another.
    assert_eq!(desk.states_again(), [Blocked, Blocked, Reused, Active, Active]);
    assert_eq!(*desk.again().run.input, json!({"version": 2}));
}

#[test]
fn an_unfinished_workflow_cannot_run_again() {
    let desk = Desk::running(of(vec![step("a", &[])]), json!(null));
    let mut runs = Runs::new(Limits::default());
    let rerun = Rerun { id: AGAIN, from_step: None, newer: None, extra: None, trace: String::new() };
    assert_eq!(runs.rerun(0, &desk.view(), rerun, &mut Vec::new()), Err(RerunRefused::NotFinal));
}

#[test]
fn runs_of_the_same_workflow_share_its_definition() {
    let mut desk = failed();
    let raw = desk.finished[&RUN].run.definition.clone();
    desk.rerun(None, None).unwrap();
    let before = desk.runs.definition(&raw).unwrap();
    let reread: RawDefinition = serde_json::from_str(&serde_json::to_string(&*raw).unwrap()).unwrap();
    assert!(Arc::ptr_eq(&before, &desk.runs.definition(&Arc::new(reread)).unwrap()));
    let id = RunId(3);
    let earlier = desk.finished[&RUN].clone();
    let rerun = Rerun { id, from_step: None, newer: None, extra: None, trace: String::new() };
    desk.call(|runs, out| runs.rerun(0, &earlier, rerun, out)).unwrap();
    assert!(Arc::ptr_eq(&desk.runs.record(AGAIN).unwrap().definition, &desk.runs.record(id).unwrap().definition));
}

#[test]
fn a_view_survives_being_written_down() {
    let view = failed().view();
    let text = serde_json::to_string(&view).unwrap();
    assert_eq!(serde_json::from_str::<RunView>(&text).unwrap(), view);
}
