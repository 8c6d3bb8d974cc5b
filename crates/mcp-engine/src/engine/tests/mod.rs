//! The rules, one by one. Every step is followed by a look at all invariants.

mod attempts;
mod bounds;
mod callers;
mod concurrency;
mod dispatching;
mod explaining;
mod listing;
mod once;
mod partitions;
mod placing;
mod preempting;
mod rates;
mod restoring;
mod rules;
mod sharing;
mod unique;
mod workers;

use super::Engine;
use crate::types::{
    Applied, AttemptCount, Command, Config, Dispatch, Effect, Explanation, Failure, Holder, Idempotency, Intake,
    LabelRule, Millis, Mismatch, Operator, Outcome, Partition, Placement, QueueKey, QueueRules, QueueStats, Rate,
    Reason, Record, Refused, Resources, RestoredTask, RetryPolicy, RunningAttempt, Saturation, State, Strategy,
    Submission, Taint, TaskId, Token, Toleration, WorkKind, WorkerId, WorkerSpec,
};

const PARTITION: Partition = Partition(3);
const OTHER: Partition = Partition(9);
const EPOCH: u64 = 7;
const LEASE: Millis = 1_000;
const RUN_TIMEOUT: Millis = 5_000;
const GRACE: Millis = 500;

/// An engine, the time, and what the latest command made of it.
struct Rig {
    engine: Engine,
    now: Millis,
    effects: Vec<Effect>,
}

fn config() -> Config {
    Config { worker_lease: LEASE, run_timeout_grace: GRACE, lost_attempts_max: 2, ..Config::default() }
}

impl Rig {
    fn new() -> Self {
        Self::with(config())
    }

    fn with(config: Config) -> Self {
        let mut engine = Engine::new(config);
        engine.opened(PARTITION, EPOCH, 1_000);
        Self { engine, now: 1_000, effects: Vec::new() }
    }

    /// An engine that found these tasks in the store.
    fn restored(tasks: impl IntoIterator<Item = RestoredTask>) -> Self {
        let mut engine = Engine::new(config());
        tasks.into_iter().for_each(|task| engine.restore(task));
        engine.opened(PARTITION, EPOCH, 1_000);
        engine.check();
        Self { engine, now: 1_000, effects: Vec::new() }
    }

    fn apply(&mut self, command: Command) -> Result<Applied, Refused> {
        self.effects.clear();
        let applied = self.engine.apply(self.now, command, &mut self.effects);
        self.engine.check();
        assert!(applied.is_ok() || self.effects.is_empty(), "a refused command has no effects");
        applied
    }

    fn submit(&mut self, submission: Submission) -> TaskId {
        let id = submission.id;
        let applied = self.apply(Command::Submit(submission));
        assert_eq!(applied, Ok(Applied::Submitted { id, deduplicated: false }));
        id
    }

    fn join(&mut self, worker: u64, slots: u32) {
        self.join_with(worker, slots, &[]);
    }

    fn join_with(&mut self, worker: u64, slots: u32, running: &[RunningAttempt]) {
        self.join_as(worker, processes(), slots, running);
    }

    fn join_as(&mut self, worker: u64, spec: WorkerSpec, slots: u32, running: &[RunningAttempt]) {
        let command = Command::WorkerJoined { worker: WorkerId(worker), spec, slots, running: running.to_vec() };
        assert_eq!(self.apply(command), Ok(Applied::Done));
    }

    fn lose(&mut self, worker: u64) {
        assert_eq!(self.apply(Command::WorkerLost(WorkerId(worker))), Ok(Applied::Done));
    }

    fn free(&mut self, worker: u64, slots: u32) {
        assert_eq!(self.apply(Command::SlotsFreed { worker: WorkerId(worker), slots }), Ok(Applied::Done));
    }

    /// True when the result was taken.
    fn finish(&mut self, worker: u64, attempt: RunningAttempt, outcome: Outcome) -> bool {
        match self.apply(Command::Finish { worker: WorkerId(worker), attempt, outcome }) {
            Ok(Applied::Finished(taken)) => taken,
            other => panic!("a result is taken or not: {other:?}"),
        }
    }

    fn hand_back(&mut self, worker: u64, attempt: RunningAttempt) {
        assert_eq!(self.apply(Command::HandBack { worker: WorkerId(worker), attempt }), Ok(Applied::Done));
    }

    /// Sets the rules of the queue `q`.
    fn set(&mut self, rules: QueueRules) {
        let command = Command::SetQueue { queue: queue("q"), partition: PARTITION, rules };
        assert_eq!(self.apply(command), Ok(Applied::Done));
    }

    /// Submits tasks with these ids and keys to the queue `q`.
    fn submit_keyed(&mut self, tasks: &[(u128, &str)]) {
        for (id, key) in tasks {
            self.submit(Submission { key: Some((*key).into()), ..task(*id) });
        }
    }

    /// Why a task does not run.
    fn reasons(&self, id: u128) -> Vec<Reason> {
        self.engine.explain(TaskId(id)).expect("it is unfinished").reasons
    }

    /// Ends a running task with success, and frees its slot.
    fn done(&mut self, id: u128) -> Vec<u128> {
        let worker = self.engine.view(TaskId(id)).and_then(|view| view.worker).expect("it runs").0;
        assert!(self.finish(worker, self.running(TaskId(id)), Outcome::Succeeded));
        let mut started = self.assigned_tasks();
        self.free(worker, 1);
        started.extend(self.assigned_tasks());
        started
    }

    /// Time passes; every timer that is due by then fires at its time.
    fn pass(&mut self, millis: Millis) {
        let until = self.now + millis;
        let mut effects = Vec::new();
        while let Some(at) = self.engine.next_timer().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.apply(Command::Tick).unwrap();
            effects.append(&mut self.effects);
        }
        self.now = until;
        self.effects = effects;
    }

    /// The attempts that the latest command sent out.
    fn assigned(&self) -> Vec<(u64, RunningAttempt)> {
        let assigned = self.effects.iter().filter_map(|effect| match effect {
            Effect::Assign { worker, attempt, .. } => Some((worker.0, *attempt)),
            _ => None,
        });
        assigned.collect()
    }

    /// The tasks of those attempts.
    fn assigned_tasks(&self) -> Vec<u128> {
        self.assigned().iter().map(|(_, attempt)| attempt.task.0).collect()
    }

    fn records(&self) -> Vec<Record> {
        let records = self.effects.iter().filter_map(|effect| match effect {
            Effect::Persist(record) => Some(record.clone()),
            _ => None,
        });
        records.collect()
    }

    fn state(&self, task: TaskId) -> Option<State> {
        self.engine.view(task).map(|view| view.state)
    }

    /// The attempt that runs now.
    fn running(&self, task: TaskId) -> RunningAttempt {
        let token = self.engine.view(task).and_then(|view| view.token).expect("the task runs");
        RunningAttempt { task, token }
    }

    /// How the latest command ended the task, and with which code.
    fn ended(&self, task: TaskId) -> Option<(State, Option<u32>)> {
        self.records().into_iter().find_map(|record| match record {
            Record::Finished { task: id, state, failure, .. } if id == task => {
                Some((state, failure.map(|failure| failure.code)))
            }
            _ => None,
        })
    }
}

fn queue(name: &str) -> QueueKey {
    QueueKey { namespace: "default".into(), queue: name.into() }
}

fn task(id: u128) -> Submission {
    Submission {
        id: TaskId(id),
        partition: PARTITION,
        queue: queue("q"),
        kind: WorkKind::Process,
        priority: 0,
        key: None,
        unique: None,
        at_most_once: false,
        placement: None,
        retry: RetryPolicy { max_attempts: 3, initial_backoff: 100, max_backoff: 1_000, multiplier: 2.0, jitter: 0.0 },
        never_retry: [].into(),
        run_timeout: RUN_TIMEOUT,
        submitted_at: 0,
        queue_timeout: None,
        not_before: 0,
        idempotency: None,
    }
}

fn restored(id: u128, state: State) -> RestoredTask {
    let (attempts, submission) = (AttemptCount::default(), task(id));
    RestoredTask { submission, attempts, state, cancel_requested: false, void: None, started: None }
}

/// An attempt of the owner before this one.
fn older(task: u128, sequence: u64) -> RunningAttempt {
    RunningAttempt { task: TaskId(task), token: Token { epoch: EPOCH - 1, sequence } }
}

fn processes() -> WorkerSpec {
    WorkerSpec { processes: true, ..WorkerSpec::default() }
}

fn handler(name: &str) -> WorkerSpec {
    WorkerSpec { handlers: [name.into()].into(), ..WorkerSpec::default() }
}

fn failed(retryable: bool) -> Outcome {
    Outcome::Failed(Failure {
        code: 3001,
        name: "EXIT".into(),
        message: "exit code 1".into(),
        retryable,
        retry_after: None,
    })
}

fn key(key: &str, body_hash: u64) -> Option<Idempotency> {
    Some(Idempotency { key: key.into(), body_hash, window: 24 * 60 * 60 * 1_000 })
}

fn key_for(key: &str, body_hash: u64, window: Millis) -> Option<Idempotency> {
    Some(Idempotency { key: key.into(), body_hash, window })
}
