//! What a schedule started: the overlap policy, answers and ends.

use super::{Context, Schedule};
use crate::{
    effect::Effect,
    faults::Fault,
    id::{Millis, TaskId},
    ledger::{FireKind, Outcome, Refusal, SkipReason},
    limits::Limits,
    record::{Fire, Run},
    rules::Overlap,
};

impl Schedule {
    /// True when nothing can be decided before the caller has answered: whether a start becomes a run decides what
    /// happens to the next fire time.
    pub(super) fn is_answer_due(&self, limits: &Limits) -> bool {
        !self.awaiting.is_empty() && (self.rules.overlap() != Overlap::AllowAll || self.busy() >= limits.running_max)
    }

    /// Starts that the caller has not answered.
    pub(crate) const fn unanswered(&self) -> usize {
        self.awaiting.len()
    }

    /// Runs, and starts that may become runs.
    const fn busy(&self) -> usize {
        self.record.running.len() + self.awaiting.len()
    }

    /// True when what waits may start.
    pub(super) fn is_free(&self, limits: &Limits) -> bool {
        match self.rules.overlap() {
            Overlap::AllowAll => self.busy() < limits.running_max,
            Overlap::Skip | Overlap::BufferOne | Overlap::CancelOther => self.busy() == 0,
        }
    }

    /// Starts a fire, lets it wait, or skips it, by the overlap policy.
    pub(super) fn admit(&mut self, context: &mut Context<'_>, fire: Fire, overlap: Overlap) {
        let busy = self.busy();
        match overlap {
            Overlap::AllowAll if busy >= context.limits.running_max => {
                self.skip(context, fire, SkipReason::TooManyRunning { running: busy });
            }
            Overlap::AllowAll => self.start(context, fire),
            Overlap::Skip | Overlap::BufferOne | Overlap::CancelOther if busy == 0 => self.start(context, fire),
            Overlap::Skip => {
                let task = self.record.running.last().map(|run| run.task);
                self.skip(context, fire, SkipReason::Overlap { task });
            }
            Overlap::BufferOne => match self.record.waiting {
                Some(Fire { time, .. }) => self.skip(context, fire, SkipReason::WaitingTaken { time }),
                None => self.wait(fire),
            },
            Overlap::CancelOther => {
                self.cancel_runs(context);
                if let Some(earlier) = self.record.waiting.take() {
                    self.skip(context, earlier, SkipReason::Replaced { time: fire.time });
                }
                self.wait(fire);
                if context.has(Fault::CancelNotAwaited) {
                    self.record.waiting = None;
                    self.start(context, fire);
                }
            }
        }
    }

    fn wait(&mut self, fire: Fire) {
        self.record.waiting = Some(fire);
        self.dirty = true;
    }

    fn cancel_runs(&mut self, context: &mut Context<'_>) {
        for run in self.record.running.iter_mut().filter(|run| !run.cancelled) {
            run.cancelled = true;
            let id = self.record.id.clone();
            context.effects.push(Effect::CancelRun { partition: self.partition, id, task: run.task });
        }
    }

    pub(super) fn start(&mut self, context: &mut Context<'_>, fire: Fire) {
        self.awaiting.push(fire);
        self.dirty = true;
        let id = self.record.id.clone();
        context.effects.push(Effect::Start { partition: self.partition, id, fire });
    }

    /// A start became a task. False: no such start was asked for.
    pub(crate) fn started(&mut self, context: &mut Context<'_>, fire: &Fire, task: TaskId) -> bool {
        if !self.take_awaiting(fire) {
            return false;
        }
        self.record.running.push(Run { task, time: fire.time, kind: fire.kind, cancelled: false });
        self.enter(context, *fire, Outcome::Ran { task });
        // The save that goes with it is the next one.
        self.recent.add(fire, self.record.revision + 1, context.limits.recent_max);
        true
    }

    /// A start was refused. False: no such start was asked for.
    pub(crate) fn refused(&mut self, context: &mut Context<'_>, fire: &Fire, refusal: Refusal) -> bool {
        if !self.take_awaiting(fire) {
            return false;
        }
        self.skip(context, *fire, SkipReason::Refused { refusal });
        true
    }

    fn take_awaiting(&mut self, fire: &Fire) -> bool {
        let found = self.awaiting.iter().position(|awaited| awaited == fire);
        found.map(|at| self.awaiting.remove(at)).is_some()
    }

    /// A task that it started is over. False: it is none.
    pub(crate) fn ended(&mut self, task: TaskId) -> bool {
        let before = self.record.running.len();
        self.record.running.retain(|run| run.task != task);
        let is_ours = self.record.running.len() < before;
        self.dirty |= is_ours;
        is_ours
    }

    /// True when this fire time is about to start or waits.
    pub(super) fn is_under_way(&self, time: Millis) -> bool {
        let under_way = self.awaiting.iter().chain(&self.record.waiting);
        under_way.into_iter().any(|fire| fire.time == time && fire.kind != FireKind::Trigger)
    }
}
