//! Dead letters at the owner of their queue: listing, replaying, purging.

use std::{collections::HashSet, sync::Arc};

use mcp_engine::QueueKey;
use mcp_proto::{
    Code, Error as WireError, TaskId,
    scheduler::v1::{ListDeadLettersResponse, PurgeDeadLettersResponse, ReplayDeadLettersResponse, Replayed},
};

use super::{
    Deps,
    dead_reads::{Letters, Wanted, letters, whole_spec},
    view,
};
use crate::{
    error::Error,
    shell::{Home, Replay, letter_key},
    store::{self, PartitionStore, Stored},
    validate::{DeadFilter, DeadList, Intake, PageToken},
};

/// Letters that one request to the loop replays.
const REPLAYS_PER_REQUEST: usize = 64;
/// Letters that one request to the loop purges.
const PURGES_PER_REQUEST: usize = 1_000;
/// Letters that are looked at in one go.
const SCAN_MAX: usize = 10_000;
/// How often one call does so.
const SCANS_MAX: usize = 1_000;
/// Letters that could not be replayed, after which a call ends.
const ERRORS_MAX: usize = 100;
/// Bytes of specs after which a request is sent.
const SPEC_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Replays at the owner of a queue, for one caller.
pub(super) struct Replaying<'a> {
    pub(super) deps: &'a Deps,
    pub(super) home: &'a Home,
    pub(super) traceparent: &'a str,
}

/// A task to replay and what is known of its spec.
type Found = (Stored, Option<mcp_proto::scheduler::v1::TaskSpec>);

/// One page of a queue's letters.
pub(super) async fn list(deps: &Deps, home: &Home, list: DeadList) -> Result<ListDeadLettersResponse, Error> {
    let DeadList { queue, filter, limit, after, hash } = list;
    let wanted = Wanted { queue, filter, after, limit, scan_max: deps.settings.list_scan_max };
    let (store, now) = (Arc::clone(home.store()), deps.clock.now());
    let read = deps.reads.read(move || {
        let page = letters(&*store, &wanted)?;
        let wire: Result<Vec<_>, _> = page.letters.into_iter().map(|letter| view::letter(letter, now)).collect();
        Ok((wire?, page.next))
    });
    let (dead_letters, next) = read.await?;
    let token = |last| PageToken { filters: hash, before: last }.encode();
    Ok(ListDeadLettersResponse { dead_letters, next_page_token: next.map(token).unwrap_or_default() })
}

/// Takes letters off the list.
pub(super) async fn purge(
    deps: &Deps,
    home: &Home,
    queue: QueueKey,
    filter: DeadFilter,
) -> Result<PurgeDeadLettersResponse, Error> {
    let (mut purged, mut after) = (0, None);
    for _ in 0..SCANS_MAX {
        let wanted = Wanted {
            queue: queue.clone(),
            filter: filter.clone(),
            after,
            limit: PURGES_PER_REQUEST,
            scan_max: SCAN_MAX,
        };
        let store = Arc::clone(home.store());
        let part = deps.reads.read(move || letters(&*store, &wanted)).await?;
        let keys: Vec<_> = part.letters.iter().map(|letter| letter_key(&queue, letter.task.id)).collect();
        (purged, after) = (purged + keys.len(), part.next);
        if !keys.is_empty() {
            home.purge(keys).await?;
        }
        if after.is_none() {
            break;
        }
    }
    Ok(PurgeDeadLettersResponse { purged: u32::try_from(purged).unwrap_or(u32::MAX), more: after.is_some() })
}

impl Replaying<'_> {
    /// Submits letters of a queue again, `limit` at most.
    pub(super) async fn letters(
        &self,
        queue: QueueKey,
        filter: DeadFilter,
        limit: usize,
    ) -> Result<ReplayDeadLettersResponse, Error> {
        let mut response = ReplayDeadLettersResponse::default();
        let mut after = None;
        for _ in 0..SCANS_MAX {
            let wanted = Wanted {
                queue: queue.clone(),
                filter: filter.clone(),
                after,
                limit: REPLAYS_PER_REQUEST.min(limit - response.replayed.len()),
                scan_max: SCAN_MAX,
            };
            let part = self.part(wanted).await?;
            after = part.next;
            let refuses_all = self.replay_found(part.found, &mut response).await?;
            self.tell_missing(part.missing, &queue, &mut response);
            let is_enough = response.replayed.len() >= limit || response.errors.len() >= ERRORS_MAX;
            if after.is_none() || is_enough || refuses_all {
                // Without progress another call would do no better.
                response.more = after.is_some() && !response.replayed.is_empty() && !refuses_all;
                return Ok(response);
            }
        }
        response.more = true;
        Ok(response)
    }

    /// Submits one task again that failed or was cancelled.
    pub(super) async fn task(&self, id: TaskId) -> Result<TaskId, Error> {
        let store = Arc::clone(self.home.store());
        let found = self.deps.reads.read(move || {
            let Some(stored) = store.get(id)? else { return Ok(None) };
            let spec = whole_spec(&*store, &stored)?;
            Ok(Some((stored, spec)))
        });
        let (stored, spec) = found.await?.ok_or(Error::TaskNotFound { id })?;
        if let Some(replayed) = replayed_as(&stored) {
            return Ok(replayed);
        }
        check_retry(&stored)?;
        let replay = self.prepare((stored, spec))?;
        let mut answers = self.home.replay(vec![replay]).await?;
        answers.pop().unwrap_or(Err(Error::NotOwner))
    }

    /// Reads the next letters with their specs, and what became of the named ones without a letter.
    async fn part(&self, wanted: Wanted) -> Result<Part, Error> {
        let store = Arc::clone(self.home.store());
        self.deps.reads.read(move || read_part(&*store, &wanted)).await
    }

    /// True when the queue refuses every task, so that it is no use to go on.
    async fn replay_found(&self, found: Vec<Found>, response: &mut ReplayDeadLettersResponse) -> Result<bool, Error> {
        let (mut ids, mut replays) = (Vec::new(), Vec::new());
        for found in found {
            let id = found.0.id;
            match self.prepare(found) {
                Ok(replay) => {
                    ids.push(id);
                    replays.push(replay);
                }
                Err(error) => response.errors.push(of_task(id, error)),
            }
        }
        if replays.is_empty() {
            return Ok(false);
        }
        let mut refuses_all = false;
        for (id, answer) in ids.into_iter().zip(self.home.replay(replays).await?) {
            match answer {
                Ok(new) => response.replayed.push(replayed(id, new)),
                Err(error) => {
                    let error = WireError::from(error);
                    refuses_all |= matches!(error.code(), Code::QueueFull | Code::QueueClosed | Code::Overloaded);
                    response.errors.push(of_task(id, error));
                }
            }
        }
        Ok(refuses_all)
    }

    fn tell_missing(
        &self,
        missing: Vec<(TaskId, Option<Stored>)>,
        queue: &QueueKey,
        response: &mut ReplayDeadLettersResponse,
    ) {
        let told: HashSet<String> = response.replayed.iter().map(|replayed| replayed.task_id.clone()).collect();
        for (id, stored) in missing.into_iter().filter(|(id, _)| !told.contains(&id.to_string())) {
            match stored.as_ref().and_then(replayed_as) {
                Some(new) => response.replayed.push(replayed(id, new)),
                None => {
                    let message = format!("task `{id}` is no dead letter of the queue `{}`", queue.queue);
                    response.errors.push(of_task(id, WireError::new(Code::NotFound, message)));
                }
            }
        }
    }

    fn prepare(&self, (old, spec): Found) -> Result<Replay, WireError> {
        let spec = spec.ok_or_else(|| {
            WireError::new(Code::NotFound, "its payload was removed with the task, which is past its retention")
        })?;
        let settings = &self.deps.settings;
        let mut intake = Intake::new(settings, self.deps.clock.now(), self.traceparent);
        let new = intake.replay(spec, old.id, settings.retention)?;
        Ok(Replay { old, new })
    }
}

/// Letters with their specs, and what is on record of the named ones without a letter.
struct Part {
    found: Vec<Found>,
    missing: Vec<(TaskId, Option<Stored>)>,
    next: Option<TaskId>,
}

fn read_part(store: &dyn PartitionStore, wanted: &Wanted) -> Result<Part, store::Error> {
    let Letters { letters, missing, mut next, .. } = letters(store, wanted)?;
    let (mut found, mut bytes) = (Vec::with_capacity(letters.len()), 0);
    let last = letters.last().map(|letter| letter.task.id);
    for letter in letters {
        let spec = whole_spec(store, &letter.task)?;
        bytes += spec.as_ref().map_or(0, prost::Message::encoded_len);
        let id = letter.task.id;
        found.push((letter.task, spec));
        if bytes >= SPEC_BYTES_MAX && Some(id) != last {
            next = Some(id); // the rest is read again
            break;
        }
    }
    let missing = missing.into_iter().map(|id| Ok((id, store.get(id)?)));
    Ok(Part { found, missing: missing.collect::<Result<_, store::Error>>()?, next })
}

/// The task that replays another one already.
fn replayed_as(stored: &Stored) -> Option<TaskId> {
    stored.moving.replayed_as.parse().ok()
}

/// Refuses a retry of a task that did not come to nothing.
fn check_retry(stored: &Stored) -> Result<(), Error> {
    use mcp_proto::scheduler::v1::TaskState::{Cancelled, Failed};
    let (id, state) = (stored.id, stored.moving.state());
    let refused = |message: String| {
        let error = WireError::new(Code::FailedPrecondition, message).with_metadata("task_id", id.to_string());
        Err(Error::Refused(error))
    };
    if !matches!(state, Failed | Cancelled) {
        let state = state.as_str_name().trim_start_matches("TASK_STATE_");
        return refused(format!("only a failed or cancelled task is retried, and task `{id}` is {state}"));
    }
    if stored.fixed.origin()?.is_some_and(|origin| origin.step.is_some()) {
        return refused(format!("task `{id}` is a step of a workflow: resume or re-run the workflow"));
    }
    Ok(())
}

fn replayed(id: TaskId, new: TaskId) -> Replayed {
    Replayed { task_id: id.to_string(), new_task_id: new.to_string() }
}

/// An error that says whose it is.
fn of_task(id: TaskId, error: WireError) -> mcp_proto::common::v1::Error {
    error.with_metadata("task_id", id.to_string()).into()
}
