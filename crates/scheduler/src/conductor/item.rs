//! What a task is started for.

use mcp_cron::ScheduleId;
use mcp_proto::TaskId;

use crate::store::{self, FireOf, Fixed, Origin, StepOf};

/// A fire time of a schedule, or an item of a workflow's step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Item {
    /// A fire time.
    Fire {
        /// The schedule.
        schedule: ScheduleId,
        /// The fire time, milliseconds since 1970.
        fire_ms: u64,
    },
    /// A step's item.
    Step(StepOf),
}

/// Where a schedule lives.
pub(crate) fn home_of_schedule(namespace: &str, name: &str) -> u16 {
    TaskId::home_of(namespace, name)
}

impl Item {
    /// Of a task on record; `None` when nobody is to hear of it.
    ///
    /// # Errors
    /// [`store::Error::Corrupt`].
    pub(crate) fn of(fixed: &Fixed) -> Result<Option<Self>, store::Error> {
        let Some(origin) = fixed.origin()?.filter(|origin| origin.replay_of.is_none()) else { return Ok(None) };
        if let Some(step) = origin.step {
            return Ok(Some(Self::Step(step)));
        }
        let Some(fire) = origin.fire else { return Ok(None) };
        let schedule = ScheduleId::new(&fixed.head()?.namespace, &fire.schedule);
        Ok(schedule.map(|schedule| Self::Fire { schedule, fire_ms: fire.fire_ms }))
    }

    /// Hash of the home of the schedule or the workflow.
    pub(crate) fn home(&self) -> u16 {
        match self {
            Self::Fire { schedule, .. } => home_of_schedule(schedule.namespace(), schedule.name()),
            Self::Step(step) => TaskId::from_u128(u128::from_be_bytes(step.workflow)).home(),
        }
    }

    /// What its task keeps of it.
    pub(crate) fn origin(&self) -> Origin {
        match self {
            Self::Fire { schedule, fire_ms } => Origin {
                fire: Some(FireOf { schedule: schedule.name().to_owned(), fire_ms: *fire_ms }),
                ..Origin::default()
            },
            Self::Step(step) => Origin { step: Some(step.clone()), ..Origin::default() },
        }
    }
}
