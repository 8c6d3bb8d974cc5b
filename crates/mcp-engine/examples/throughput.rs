//! How fast the engine is, and how much memory a waiting task takes.
//!
//! `cargo run --release -p mcp-engine --example throughput [tasks]` prints tasks per second of processor time for
//! submit + dispatch + finish with few and with very many waiting tasks, and the resident bytes per waiting task.
#![expect(clippy::print_stdout, reason = "printing is what it is for")]

use std::{env, fs, sync::Arc, time::Duration};

use mcp_engine::{
    Command, Config, Effect, Engine, Outcome, Partition, QueueKey, RetryPolicy, RunningAttempt, Submission, TaskId,
    WorkKind, WorkerId, WorkerSpec,
};

/// Workers, and slots of each.
const WORKERS: u64 = 8;
const SLOTS: u32 = 64;

/// Tasks between two looks at the results, where few wait.
const BATCH: usize = 500;

/// The one partition.
const PARTITION: Partition = Partition(0);

/// The engine and a world that answers at once.
struct Driver {
    engine: Engine,
    effects: Vec<Effect>,
    running: Vec<(WorkerId, RunningAttempt)>,
    queues: Vec<QueueKey>,
    never: Arc<[Arc<str>]>,
    ids: u128,
    now: u64,
}

impl Driver {
    fn new(queues: usize) -> Self {
        let mut engine = Engine::new(Config { queue_len_max: usize::MAX, tasks_max: usize::MAX, ..Config::default() });
        engine.opened(PARTITION, 1, 1);
        let queues = (0..queues)
            .map(|n| QueueKey { namespace: Arc::from("default"), queue: Arc::from(format!("queue-{n}")) })
            .collect();
        Self { engine, effects: Vec::new(), running: Vec::new(), queues, never: Arc::from([]), ids: 1 << 80, now: 1 }
    }

    fn apply(&mut self, command: Command) {
        self.engine.apply(self.now, command, &mut self.effects).expect("the limits are far away");
        for effect in self.effects.drain(..) {
            if let Effect::Assign { worker, attempt, .. } = effect {
                self.running.push((worker, attempt));
            }
        }
    }

    fn submit(&mut self, count: usize) {
        for n in 0..count {
            self.ids += 0x1_0000_0000_0000_0001; // the upper half grows, the lower one varies
            let submission = Submission {
                id: TaskId(self.ids),
                partition: PARTITION,
                queue: self.queues[n % self.queues.len()].clone(),
                kind: WorkKind::Process,
                priority: 0,
                key: None,
                unique: None,
                at_most_once: false,
                placement: None,
                retry: RetryPolicy {
                    max_attempts: 3,
                    initial_backoff: 1_000,
                    max_backoff: 60_000,
                    multiplier: 2.0,
                    jitter: 0.2,
                },
                never_retry: Arc::clone(&self.never),
                run_timeout: 3_600_000,
                queue_timeout: None,
                submitted_at: 0,
                not_before: 0,
                idempotency: None,
            };
            self.apply(Command::Submit(submission));
        }
    }

    fn join(&mut self) {
        for worker in 0..WORKERS {
            let spec = WorkerSpec { processes: true, ..WorkerSpec::default() };
            let command = Command::WorkerJoined { worker: WorkerId(worker), spec, slots: SLOTS, running: Vec::new() };
            self.apply(command);
        }
    }

    /// Finishes `count` attempts; each frees a slot, so that the next waiting task is dispatched.
    fn finish(&mut self, count: usize) {
        let mut done = 0;
        while done < count && !self.running.is_empty() {
            for (worker, attempt) in std::mem::take(&mut self.running) {
                self.apply(Command::Finish { worker, attempt, outcome: Outcome::Succeeded });
                self.apply(Command::SlotsFreed { worker, slots: 1 });
                done += 1;
            }
            self.now += 1;
        }
    }
}

/// Resident memory of this process, in bytes.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0 kB");
    let kib = line.split_whitespace().next().and_then(|number| number.parse::<u64>().ok()).unwrap_or(0);
    kib * 1_024
}

/// Processor time of this thread so far: a machine that does other things too does not change what comes out.
fn processor_time() -> Duration {
    let stat = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(stat.split_whitespace().next().and_then(|nanos| nanos.parse().ok()).unwrap_or(0))
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn per_second(count: usize, started: Duration) -> f64 {
    count as f64 / (processor_time() - started).as_secs_f64()
}

fn main() {
    let tasks = env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(1_000_000);

    for queues in [1, 1_000] {
        let before = resident();
        let mut driver = Driver::new(queues);
        let started = processor_time();
        driver.submit(tasks);
        let submitted = per_second(tasks, started);
        // Only the first is measured on memory that nothing used before.
        let bytes = if queues == 1 { resident().saturating_sub(before) / tasks as u64 } else { 0 };
        let started = processor_time();
        driver.join();
        driver.finish(usize::MAX);
        let finished = per_second(tasks, started);
        println!("{tasks} waiting in {queues} queue(s): {submitted:.0}/s submit, {finished:.0}/s dispatch + finish");
        if bytes > 0 {
            println!("memory: {bytes} bytes per waiting task");
        }
        assert_eq!(driver.engine.stats().tasks, 0, "all are done");
    }

    let few = steady(0, tasks);
    println!("few waiting: {few:.0} tasks/s submit + dispatch + finish");
    let many = steady(tasks, tasks);
    println!("{tasks} waiting all the while: {many:.0} tasks/s, {:.2} of that", many / few);
}

/// Tasks per second while so many wait all the while.
fn steady(backlog: usize, tasks: usize) -> f64 {
    let mut driver = Driver::new(1);
    driver.submit(backlog);
    driver.join();
    let started = processor_time();
    for _ in 0..tasks / BATCH {
        driver.submit(BATCH);
        driver.finish(BATCH);
    }
    per_second(tasks, started)
}
