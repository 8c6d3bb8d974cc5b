//! Schedules and ledgers as callers see them.

use mcp_cron::{FireKind, Outcome, Overlap, Rules, SkipReason};
use mcp_proto::{
    TaskId,
    scheduler::v1::{Fire, FireKind as WireKind, FireOutcome, OverlapPolicy, Schedule, schedule::Target as WireTarget},
};

use crate::{
    conductor::{FireEntry, Kept, Target, Triggered},
    shell::wire_time,
};

/// Runs that a schedule shows.
const RUNNING_MAX: usize = 100;

/// A schedule for the wire.
pub(super) fn schedule(kept: Kept) -> Schedule {
    let Kept { record, target } = kept;
    let is_paused = record.paused_at.is_some();
    let next = Rules::checked(record.rules.clone()).ok().filter(|_| !is_paused);
    let next = next.and_then(|rules| rules.next(record.decided_until));
    let rules = record.rules;
    let span = |ms: u64| std::time::Duration::from_millis(ms).try_into().ok();
    Schedule {
        namespace: record.id.namespace().to_owned(),
        name: record.id.name().to_owned(),
        cron: rules.cron,
        every: rules.every_ms.and_then(span),
        time_zone: rules.time_zone,
        overlap: overlap(rules.overlap).into(),
        catch_up: span(rules.catch_up_ms),
        jitter: (rules.jitter_ms != 0).then(|| span(rules.jitter_ms)).flatten(),
        start_time: rules.start_ms.map(wire_time),
        end_time: rules.end_ms.map(wire_time),
        pause_time: record.paused_at.map(wire_time),
        next_time: next.map(wire_time),
        running: record.running.iter().take(RUNNING_MAX).map(|run| id(run.task)).collect(),
        create_time: Some(wire_time(record.created_at)),
        target: Some(match target {
            Target::Task(spec) => WireTarget::Task(spec.as_ref().clone()),
            Target::Workflow(spec) => WireTarget::Workflow(spec.as_ref().clone()),
        }),
    }
}

fn overlap(overlap: Overlap) -> OverlapPolicy {
    match overlap {
        Overlap::Skip => OverlapPolicy::Skip,
        Overlap::BufferOne => OverlapPolicy::BufferOne,
        Overlap::CancelOther => OverlapPolicy::CancelOther,
        Overlap::AllowAll => OverlapPolicy::AllowAll,
    }
}

/// An entry of a ledger for the wire.
pub(super) fn fire(entry: FireEntry) -> Fire {
    let FireEntry { fire, is_workflow } = entry;
    let mut wire = Fire {
        fire_time: Some(wire_time(fire.time)),
        kind: kind(fire.kind).into(),
        decide_time: Some(wire_time(fire.decided_at)),
        count: fire.count,
        last_fire_time: Some(wire_time(fire.last)),
        ..Fire::default()
    };
    match fire.outcome {
        Outcome::Ran { task } => {
            wire.set_outcome(FireOutcome::Ran);
            *(if is_workflow { &mut wire.workflow_id } else { &mut wire.task_id }) = id(task);
        }
        Outcome::Skipped { reason } => {
            wire.set_outcome(FireOutcome::Skipped);
            wire.reason = skipped(&reason);
        }
        Outcome::Missed { reason } => {
            wire.set_outcome(FireOutcome::Missed);
            wire.reason = reason.to_string();
        }
    }
    if fire.at_least {
        wire.reason.push_str("; there may be more of them than `count`");
    }
    wire
}

/// What became of a trigger, for the wire.
pub(super) fn triggered(triggered: Triggered, now: u64) -> Fire {
    match triggered {
        Triggered::Decided(entry) => fire(entry),
        Triggered::Waits(waiting) => Fire {
            fire_time: Some(wire_time(waiting.time)),
            kind: kind(waiting.kind).into(),
            outcome: FireOutcome::Waiting.into(),
            reason: "it starts when the earlier run is over".to_owned(),
            decide_time: Some(wire_time(now)),
            count: 1,
            last_fire_time: Some(wire_time(waiting.time)),
            ..Fire::default()
        },
    }
}

fn kind(kind: FireKind) -> WireKind {
    match kind {
        FireKind::Regular => WireKind::Regular,
        FireKind::CatchUp => WireKind::CatchUp,
        FireKind::Trigger => WireKind::Trigger,
        FireKind::Backfill => WireKind::Backfill,
    }
}

/// A reason with ids and times as they are written elsewhere.
fn skipped(reason: &SkipReason) -> String {
    match reason {
        SkipReason::Overlap { task: Some(task) } => format!("an earlier run was not over: `{}`", id(*task)),
        SkipReason::WaitingTaken { time } => {
            let time = wire_time(*time);
            format!("an earlier run was not over, and the fire time {time} waited for its end already")
        }
        SkipReason::Replaced { time } => {
            format!("the later fire time {} took its place while it waited", wire_time(*time))
        }
        other => other.to_string(),
    }
}

fn id(task: mcp_cron::TaskId) -> String {
    TaskId::from_u128(task.0).to_string()
}
