//! What is on record, over all owners.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    super::{coverage::task_of, plan::partition_of},
    Verdict, promise,
};
use crate::types::{AttemptCount, Outcome, Partition, Record, RunningAttempt, State, Submission, TaskId, Token};

const NEVER: Token = Token { epoch: 0, sequence: 0 };

/// A task on record.
#[derive(Debug)]
pub(in crate::sim) struct Entry {
    pub(in crate::sim) state: State,
    pub(in crate::sim) attempts: AttemptCount,
    pub(in crate::sim) void: Token,
    pub(in crate::sim) cancel_requested: bool,
    acknowledged: bool,
    /// Token of the attempt that is on record before it is sent out.
    started: Option<Token>,
    /// Newest token of the attempts that were sent out, by the epoch of the sender.
    sent: BTreeMap<u64, Token>,
    results: BTreeSet<Token>,
}

/// Every task that was ever on record.
#[derive(Debug, Default)]
pub(in crate::sim) struct Durable {
    pub(in crate::sim) tasks: BTreeMap<TaskId, Entry>,
    /// What tasks were submitted as, on record or not.
    submitted: BTreeMap<TaskId, Submission>,
}

impl Durable {
    /// What a task is to be submitted as.
    pub(in crate::sim) fn know(&mut self, submission: &Submission) {
        self.submitted.insert(submission.id, submission.clone());
    }

    /// S4: no other unfinished task has the name of this one.
    fn name_is_free(&self, id: TaskId) -> Verdict {
        let submission = &self.submitted[&id];
        let same = |other: &Submission| other.queue == submission.queue && other.unique == submission.unique;
        let unfinished = self.tasks.iter().filter(|(_, entry)| !is_final(entry.state));
        let other = unfinished.map(|(other, _)| other).find(|other| same(&self.submitted[other]));
        let other = other.filter(|_| submission.unique.is_some());
        promise!(other.is_none(), "S4: {id:?} has the name of {other:?}");
        Ok(())
    }

    /// P2: one final record, and nothing after it; counts and tokens only grow.
    pub(super) fn record(&mut self, record: &Record) -> Verdict {
        let id = task_of(record);
        if let Record::Submitted { state, .. } = record {
            promise!(!self.tasks.contains_key(&id), "P2: {id:?} is submitted twice");
            promise!(matches!(state, State::Pending | State::Scheduled), "P2: {id:?} starts as {state:?}");
            self.name_is_free(id)?;
            self.tasks.insert(
                id,
                Entry {
                    state: *state,
                    attempts: AttemptCount::default(),
                    void: NEVER,
                    cancel_requested: false,
                    acknowledged: false,
                    started: None,
                    sent: BTreeMap::new(),
                    results: BTreeSet::new(),
                },
            );
            return Ok(());
        }
        let Some(entry) = self.tasks.get_mut(&id) else { return Err(format!("P2: {record:?} of an unknown task")) };
        promise!(!is_final(entry.state), "P2: {record:?} after the end, {:?}", entry.state);
        let submission = &self.submitted[&id];
        match record {
            Record::Retry { state, attempts, void, failure, .. } => {
                promise!(!submission.at_most_once, "{id:?} is tried again, but runs at most once");
                if let Some(failure) = failure {
                    let never = submission.never_retry.iter().any(|name| **name == *failure.name);
                    promise!(!never && failure.retryable, "S3: {id:?} is tried again after {failure:?}");
                    let enough = attempts.failed >= submission.retry.max_attempts;
                    promise!(!enough, "S3: {id:?} is tried again after {} failures", attempts.failed);
                }
                promise!(matches!(state, State::Pending | State::Retrying), "P2: {id:?} is tried again as {state:?}");
                promise!(*void > entry.void, "P2: tokens of {id:?} do not grow: {void:?} after {:?}", entry.void);
                promise!(!entry.cancel_requested, "P2: {id:?} is tried again though it was cancelled");
                promise!(failure.is_some() == (*state == State::Retrying), "P2: {id:?} {state:?} with {failure:?}");
                counts_grow(id, entry.attempts, *attempts)?;
                (entry.state, entry.attempts, entry.void) = (*state, *attempts, *void);
            }
            Record::Started { token, .. } => {
                promise!(submission.at_most_once, "{id:?} is not to run once only");
                promise!(entry.started.replace(*token).is_none(), "{id:?} is started twice");
            }
            Record::CancelRequested { .. } => {
                promise!(!entry.cancel_requested, "P2: {id:?} is cancelled twice");
                entry.cancel_requested = true;
            }
            Record::Finished { state, attempts, failure, .. } => {
                promise!(is_final(*state), "P2: {id:?} ends as {state:?}");
                promise!((*state == State::Succeeded) == failure.is_none(), "P2: {id:?} {state:?} with {failure:?}");
                let cancelled = entry.cancel_requested && *state == State::Failed;
                promise!(!cancelled, "P2: {id:?} was cancelled and ends as {state:?}");
                counts_grow(id, entry.attempts, *attempts)?;
                (entry.state, entry.attempts) = (*state, *attempts);
            }
            Record::Merged { submitted, .. } => {
                let merged = &self.submitted[submitted];
                let has_its_name = merged.unique.is_some() && merged.unique == submission.unique;
                promise!(has_its_name && merged.queue == submission.queue, "S4: {submitted:?} is merged into {id:?}");
            }
            Record::Submitted { .. } => unreachable!("handled above"),
        }
        Ok(())
    }

    /// P2: the result that was taken is that of the newest attempt, and it is taken once.
    pub(super) fn result(&mut self, attempt: RunningAttempt, outcome: &Outcome) -> Verdict {
        let Some(entry) = self.tasks.get_mut(&attempt.task) else {
            return Err(format!("P2: a result of an unknown task is taken: {attempt:?}"));
        };
        let newest = entry.newest();
        promise!(attempt.token == newest, "P2: {attempt:?} {outcome:?} is taken, but the newest is {newest:?}");
        promise!(entry.results.insert(attempt.token), "P2: the result of {attempt:?} is taken twice");
        Ok(())
    }

    /// P2: the tokens that an owner and its forerunners send out grow. (An attempt may be over on record before it
    /// is sent out, in one batch with its end; that it was right when it was made is the shadow's to say.)
    pub(super) fn assigned(&mut self, attempt: RunningAttempt) -> Verdict {
        let Some(entry) = self.tasks.get_mut(&attempt.task) else {
            return Err(format!("P1: {attempt:?} is sent out before its task is durable"));
        };
        let earlier = entry.sent.range(..=attempt.token.epoch).next_back().map_or(NEVER, |(_, token)| *token);
        promise!(attempt.token > earlier, "P2: {attempt:?} is sent out after {earlier:?}");
        let once = self.submitted[&attempt.task].at_most_once;
        promise!(!once || entry.started == Some(attempt.token), "{attempt:?} is sent out without a record of it");
        entry.sent.insert(attempt.token.epoch, attempt.token);
        Ok(())
    }

    /// P1: a worker is told to forget an attempt only when it is over on record, or another one was sent out.
    pub(super) fn forgotten(&self, attempt: RunningAttempt) -> Verdict {
        let Some(entry) = self.tasks.get(&attempt.task) else {
            return Err(format!("P1: {attempt:?} is of an unknown task"));
        };
        let over = is_final(entry.state) || entry.void >= attempt.token || entry.newest() > attempt.token;
        promise!(over, "P1: {attempt:?} is to be forgotten but not over on record: {entry:?}");
        Ok(())
    }

    /// P1: an acknowledged task is on record.
    pub(super) fn acknowledged(&mut self, task: TaskId) -> Verdict {
        let Some(entry) = self.tasks.get_mut(&task) else {
            return Err(format!("P1: {task:?} is acknowledged but not durable"));
        };
        entry.acknowledged = true;
        Ok(())
    }

    /// L-1: every task came to its end.
    pub(super) fn all_ended(&self) -> Verdict {
        let left: Vec<_> = self.tasks.iter().filter(|(_, entry)| !is_final(entry.state)).collect();
        promise!(left.is_empty(), "L-1: {} tasks are left, the first is {:?}", left.len(), left[0]);
        Ok(())
    }

    /// Tasks of a partition with an attempt that was sent out and is not over on record.
    pub(in crate::sim) fn perhaps_running(&self, partition: Partition) -> BTreeSet<TaskId> {
        let its = self.tasks.iter().filter(|(id, _)| partition_of(**id) == partition);
        let unfinished = its.filter(|(_, entry)| !is_final(entry.state));
        unfinished.filter(|(_, entry)| entry.newest() > entry.void).map(|(id, _)| *id).collect()
    }

    /// Tasks on record that are not final.
    pub(in crate::sim) fn left(&self) -> Vec<TaskId> {
        self.tasks.iter().filter(|(_, entry)| !is_final(entry.state)).map(|(id, _)| *id).collect()
    }

    /// How many they are.
    pub(in crate::sim) fn unfinished(&self) -> usize {
        self.tasks.values().filter(|entry| !is_final(entry.state)).count()
    }

    /// How many tasks were acknowledged, and how many ended in each way.
    pub(in crate::sim) fn summary(&self) -> [usize; 4] {
        let ended = |state| self.tasks.values().filter(|entry| entry.state == state).count();
        let acknowledged = self.tasks.values().filter(|entry| entry.acknowledged).count();
        [acknowledged, ended(State::Succeeded), ended(State::Failed), ended(State::Cancelled)]
    }
}

impl Entry {
    fn newest(&self) -> Token {
        self.sent.values().copied().max().unwrap_or(NEVER)
    }
}

pub(super) fn is_final(state: State) -> bool {
    state == State::Succeeded || state == State::Failed || state == State::Cancelled
}

fn counts_grow(id: TaskId, before: AttemptCount, after: AttemptCount) -> Verdict {
    let grow = after.started >= before.started && after.failed >= before.failed && after.lost >= before.lost;
    promise!(grow, "P2: attempts of {id:?} go from {before:?} to {after:?}");
    promise!(after.failed + after.lost <= after.started, "P2: more attempts of {id:?} ended than started: {after:?}");
    Ok(())
}
