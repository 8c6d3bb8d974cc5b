//! Submits: at once when this replica owns all of the queues, else split by owner and merged again.

use std::{collections::HashMap, sync::Arc};

use futures_util::future::join_all;
use mcp_proto::{
    Error as WireError, TaskId,
    common::v1::Error as CommonError,
    scheduler::v1::{BatchSubmitTasksRequest, SubmitTaskRequest, SubmitTaskResponse, TaskSpec, TaskState},
};
use tonic::{Response, Status};

use super::Tasks;
use crate::{
    error::Error,
    routing::{Caller, Outcome, Owner, Peer, Repeat},
    shell::{Accepted, Home, Submitted},
    store::{self, PartitionStore},
    validate::NewTask,
};

/// Tasks of one owner.
struct Group {
    owner: Owner,
    tasks: Vec<NewTask>,
}

/// What became of a group.
enum Done {
    /// They are stored: an answer for each, in their order.
    Stored(Vec<usize>, Vec<SubmitTaskResponse>),
    /// None of them is stored.
    Refused(Vec<usize>, WireError),
    /// Nothing was done, since the owner is another now.
    Moved(Vec<NewTask>),
}

impl Tasks {
    /// Stores checked tasks; the answers are in the order of the request.
    ///
    /// # Errors
    /// Nothing was stored.
    pub(super) async fn submit(
        &self,
        caller: &Caller,
        mut tasks: Vec<NewTask>,
        is_batch: bool,
    ) -> Result<Vec<SubmitTaskResponse>, Status> {
        if let Some(home) = self.home_of_all(&tasks) {
            match home.submit(tasks, is_batch).await? {
                Submitted::Stored(accepted) => return Ok(self.results(accepted).await?),
                Submitted::Moved(back) => tasks = back,
            }
        }
        self.submit_apart(caller, tasks, is_batch).await
    }

    /// The loop that hosts the queues of all tasks, if one does.
    fn home_of_all(&self, tasks: &[NewTask]) -> Option<Arc<Home>> {
        let mut home: Option<Arc<Home>> = None;
        for task in tasks {
            if home.as_ref().is_none_or(|home| home.partition() != task.partition()) {
                home = Some(self.deps.routes.home(task.partition())?);
            }
        }
        home
    }

    async fn submit_apart(
        &self,
        caller: &Caller,
        tasks: Vec<NewTask>,
        is_batch: bool,
    ) -> Result<Vec<SubmitTaskResponse>, Status> {
        let mut answers: Vec<Option<Result<SubmitTaskResponse, WireError>>> = tasks.iter().map(|_| None).collect();
        let (mut left, mut until) = (tasks, None);
        while !left.is_empty() {
            let (groups, ownerless) = self.groups(caller, left).await;
            // Whoever passed the call on must hear that nothing was done, or that all of it was.
            if let Some((_, error)) = ownerless.first().filter(|_| caller.is_forwarded()) {
                return Err(error.clone().into());
            }
            let mut done: Vec<Done> =
                ownerless.into_iter().map(|(at, error)| Done::Refused(at, error.into())).collect();
            done.extend(join_all(groups.into_iter().map(|group| self.submit_group(caller, group, is_batch))).await);
            left = Vec::new();
            for done in done {
                match done {
                    Done::Stored(at, results) => {
                        at.into_iter().zip(results).for_each(|(at, result)| answers[at] = Some(Ok(result)));
                    }
                    Done::Refused(at, error) => at.into_iter().for_each(|at| answers[at] = Some(Err(error.clone()))),
                    Done::Moved(_) if caller.is_forwarded() => return Err(Error::NotOwner.into()),
                    Done::Moved(tasks) => left.extend(tasks),
                }
            }
            if !left.is_empty() {
                let until = *until.get_or_insert_with(|| caller.until(self.deps.routes.wait_max()));
                if let Err(error) = self.deps.routes.refused(until).await {
                    let error = WireError::from(error);
                    left.drain(..).for_each(|task| answers[task.position] = Some(Err(error.clone())));
                }
            }
        }
        merge(answers.into_iter().flatten().collect())
    }

    /// Splits tasks by owner; those that have none come back with the reason.
    async fn groups(&self, caller: &Caller, tasks: Vec<NewTask>) -> (Vec<Group>, Vec<(Vec<usize>, Error)>) {
        let mut by_partition: HashMap<u16, Vec<NewTask>> = HashMap::new();
        for task in tasks {
            by_partition.entry(task.partition()).or_default().push(task);
        }
        let owners = by_partition
            .into_iter()
            .map(|(partition, tasks)| async move { (self.deps.routes.owner_of(partition, caller).await, tasks) });
        let (mut groups, mut ownerless) = (HashMap::<String, Group>::new(), Vec::new());
        for (owner, tasks) in join_all(owners).await {
            match owner {
                Ok(owner) => {
                    let address = match &owner {
                        Owner::Local(_) => String::new(),
                        Owner::Peer(peer) => peer.address().to_owned(),
                    };
                    groups.entry(address).or_insert_with(|| Group { owner, tasks: Vec::new() }).tasks.extend(tasks);
                }
                Err(error) => ownerless.push((positions(&tasks), error)),
            }
        }
        let mut groups: Vec<Group> = groups.into_values().collect();
        // What was submitted first is stored first, also when a batch has several queues.
        groups.iter_mut().for_each(|group| group.tasks.sort_unstable_by_key(|task| task.position));
        (groups, ownerless)
    }

    async fn submit_group(&self, caller: &Caller, group: Group, is_batch: bool) -> Done {
        let Group { owner, tasks } = group;
        let at = positions(&tasks);
        match owner {
            Owner::Local(home) => {
                let answer = match home.submit(tasks, is_batch).await {
                    Ok(Submitted::Moved(tasks)) => return Done::Moved(tasks),
                    Ok(Submitted::Stored(accepted)) => self.results(accepted).await,
                    Err(error) => Err(error),
                };
                match answer {
                    Ok(results) => Done::Stored(at, results),
                    Err(error) => Done::Refused(at, error.into()),
                }
            }
            Owner::Peer(peer) => match self.pass_on(caller, &peer, &tasks, is_batch).await {
                Outcome::Again => Done::Moved(tasks),
                Outcome::Answered(Ok(results)) if results.len() == at.len() => Done::Stored(at, results),
                Outcome::Answered(Ok(_)) => {
                    let wrong = std::io::Error::other("the owner answered for another number of tasks");
                    Done::Refused(at, WireError::internal(wrong))
                }
                Outcome::Answered(Err(status)) => {
                    let error = renumbered(WireError::from(status), &at);
                    Done::Refused(at, error)
                }
            },
        }
    }

    async fn pass_on(
        &self,
        caller: &Caller,
        peer: &Peer,
        tasks: &[NewTask],
        is_batch: bool,
    ) -> Outcome<Vec<SubmitTaskResponse>> {
        let partition = tasks.first().map_or(0, NewTask::partition);
        let specs: Result<Vec<TaskSpec>, WireError> = tasks.iter().map(NewTask::spec).collect();
        let mut specs = match specs {
            Ok(specs) => specs,
            Err(error) => return Outcome::Answered(Err(error.into())),
        };
        let recognised = specs.iter().all(|spec| !spec.idempotency_key.is_empty());
        let repeat = if recognised { Repeat::Allowed } else { Repeat::Never };
        let mut client = peer.tasks();
        let call = async {
            if is_batch {
                let request = caller.request(BatchSubmitTasksRequest { tasks: specs });
                return Ok(client.batch_submit_tasks(request).await?.into_inner().results);
            }
            let request = caller.request(SubmitTaskRequest { task: specs.pop() });
            client.submit_task(request).await.map(Response::into_inner).map(|result| vec![result])
        };
        self.deps.routes.ask(partition, peer, call, repeat).await
    }

    /// The answers to a submit. Only repeats of tasks that are final already need a look at the store.
    async fn results(&self, accepted: Vec<Accepted>) -> Result<Vec<SubmitTaskResponse>, Error> {
        let ended = accepted.iter().filter(|task| task.state.is_none()).map(|task| task.id);
        let ended: Vec<(Arc<dyn PartitionStore>, TaskId)> = ended
            .filter_map(|id| Some((Arc::clone(self.deps.routes.home(self.deps.routes.of_id(id))?.store()), id)))
            .collect();
        let ends = match ended.as_slice() {
            [] => HashMap::new(),
            _ => self.deps.reads.read(move || states_of(&ended)).await?,
        };
        let result = |Accepted { id, state, deduplicated }| {
            // One whose retention has passed, but not yet that of its key, stands nowhere.
            let state = state.or_else(|| ends.get(&id).copied()).unwrap_or_default();
            SubmitTaskResponse { task_id: id.to_string(), state: state.into(), deduplicated, error: None }
        };
        Ok(accepted.into_iter().map(result).collect())
    }
}

fn positions(tasks: &[NewTask]) -> Vec<usize> {
    tasks.iter().map(|task| task.position).collect()
}

/// One answer for each task. When nothing at all was stored, the call fails.
fn merge(answers: Vec<Result<SubmitTaskResponse, WireError>>) -> Result<Vec<SubmitTaskResponse>, Status> {
    if !answers.iter().any(Result::is_ok)
        && let Some(Err(error)) = answers.first()
    {
        return Err(error.clone().into());
    }
    let refused = |error: WireError| SubmitTaskResponse { error: Some(error.into()), ..SubmitTaskResponse::default() };
    Ok(answers.into_iter().map(|answer| answer.unwrap_or_else(refused)).collect())
}

/// The error of an owner that got some tasks of a batch: its `tasks[n]` as the caller numbers them.
fn renumbered(error: WireError, positions: &[usize]) -> WireError {
    let mut wire = CommonError::from(error);
    for violation in &mut wire.violations {
        let found = violation.field.strip_prefix("tasks[").and_then(|rest| rest.split_once(']'));
        if let Some((number, rest)) = found
            && let Some(position) = number.parse().ok().and_then(|number: usize| positions.get(number))
        {
            violation.field = format!("tasks[{position}]{rest}");
        }
    }
    wire.into()
}

fn states_of(tasks: &[(Arc<dyn PartitionStore>, TaskId)]) -> Result<HashMap<TaskId, TaskState>, store::Error> {
    let mut states = HashMap::new();
    for (store, id) in tasks {
        states.extend(store.get(*id)?.map(|stored| (*id, stored.moving.state())));
    }
    Ok(states)
}

#[cfg(test)]
mod tests {
    use mcp_proto::{Code, Error, scheduler::v1::SubmitTaskResponse};

    use super::{merge, renumbered};

    #[test]
    fn fields_of_a_part_are_those_of_the_whole() {
        let error = Error::new(Code::QueueFull, "the queue is full")
            .with_violation("tasks[1].queue", "holds as many tasks as it may")
            .with_violation("tasks[9].queue", "is none of them")
            .with_violation("other", "stays");
        let fields: Vec<_> =
            renumbered(error, &[4, 7]).violations().iter().map(|violation| violation.field.clone()).collect();
        assert_eq!(fields, ["tasks[7].queue", "tasks[9].queue", "other"]);
    }

    #[test]
    fn a_batch_fails_only_when_nothing_was_stored() {
        let stored = || Ok(SubmitTaskResponse { task_id: "id".to_owned(), ..SubmitTaskResponse::default() });
        let refused = || Err(Error::new(Code::QueueFull, "the queue is full"));
        let results = merge(vec![stored(), refused()]).unwrap();
        assert_eq!((results[0].task_id.as_str(), results[1].error.as_ref().unwrap().code), ("id", 1014));
        assert_eq!(Error::from(merge(vec![refused(), refused()]).unwrap_err()).code(), Code::QueueFull);
    }
}
