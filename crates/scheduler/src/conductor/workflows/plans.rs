//! What schedules start, checked and compiled: once for a definition, not at every fire time.

use std::{collections::HashMap, sync::Arc};

use mcp_cron::ScheduleId;
use mcp_proto::{Error as WireError, scheduler::v1::WorkflowSpec};

use crate::{validate, workflow::Plan};

/// Schedules whose plans are remembered. When there are more, all are compiled anew as they fire.
const PLANS_MAX: usize = 10_000;

/// The plans of the workflows that schedules start.
#[derive(Debug, Default)]
pub(super) struct Plans {
    by_schedule: HashMap<ScheduleId, (Arc<WorkflowSpec>, Plan)>,
}

impl Plans {
    /// The plan of what a schedule starts.
    ///
    /// # Errors
    /// It does not pass today's check.
    pub(super) fn of(&mut self, schedule: &ScheduleId, spec: &Arc<WorkflowSpec>) -> Result<Plan, WireError> {
        // A schedule that is put has another spec, be it the same.
        if let Some((known, plan)) = self.by_schedule.get(schedule)
            && Arc::ptr_eq(known, spec)
        {
            return Ok(plan.clone());
        }
        let plan = validate::scheduled_plan(spec.as_ref().clone(), schedule.namespace())?;
        if self.by_schedule.len() >= PLANS_MAX {
            self.by_schedule.clear();
        }
        self.by_schedule.insert(schedule.clone(), (Arc::clone(spec), plan.clone()));
        Ok(plan)
    }
}

#[cfg(test)]
mod tests {
    use mcp_proto::scheduler::v1::{HandlerWork, StepSpec, TaskSpec, task_spec::Work};

    use super::*;

    #[test]
    fn a_definition_is_compiled_once_and_anew_when_the_schedule_is_put() {
        let work = Work::Handler(HandlerWork { handler: "h".to_owned(), input: None });
        let task = Some(TaskSpec { work: Some(work), ..TaskSpec::default() });
        let step = StepSpec { name: "a".to_owned(), task, ..StepSpec::default() };
        let spec = Arc::new(WorkflowSpec { steps: vec![step], ..WorkflowSpec::default() });
        let (mut plans, schedule) = (Plans::default(), ScheduleId::new("n", "s").unwrap());
        let mut definition = |spec: &Arc<WorkflowSpec>| plans.of(&schedule, spec).unwrap().definition;
        let first = definition(&spec);
        assert!(Arc::ptr_eq(&first, &definition(&spec)));
        let put = Arc::new(WorkflowSpec { name: "newer".to_owned(), ..WorkflowSpec::clone(&spec) });
        assert_eq!(definition(&put).raw().name, "newer");
        let other = ScheduleId::new("n", "t").unwrap();
        assert!(plans.of(&other, &Arc::new(WorkflowSpec::default())).is_err(), "without steps");
    }
}
