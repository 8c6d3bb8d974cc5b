//! What a seed decides before its run begins.

use std::collections::BTreeMap;

use dice::Dice;

use crate::{
    faults::Fault,
    types::{Config, Millis, Partition, QueueKey, QueueRules, Rate, Resources, Taint, TaskId, WorkerSpec},
};

/// When runs begin: late enough for tasks that were submitted long before.
pub(super) const START: Millis = 101_000;

/// When faults stop; from then on everything must come to its end.
pub(super) const FAULTS_END: Millis = START + 11_000;

/// The number of the first partition.
const FIRST_PARTITION: u16 = 5;

/// When everything must have ended: the longest retries and leases fit in many times over.
pub(super) const DEADLINE: Millis = FAULTS_END + 120_000;

/// How a run goes.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) config: Config,
    pub(super) fault: Option<Fault>,
    /// Partitions that the queues are spread over.
    partitions: u16,
    /// Places where a process runs that may own partitions.
    pub(super) sites: usize,
    /// How often a partition is handed over while nothing is wrong.
    pub(super) move_interval: Millis,
    /// How long an idempotency key is remembered.
    pub(super) window: Millis,
    /// Tasks may stop others of a lower priority.
    pub(super) preempting: bool,
    /// All tasks are alike but for their keys, and come in crowds: then turns matter.
    pub(super) crowded: bool,
    /// The rules of queues at the start. Rates stay as they are; all else may change.
    pub(super) rules: BTreeMap<QueueKey, QueueRules>,
    /// Tasks that clients want.
    pub(super) submits: u64,
    /// Workers, what they serve, and their slots for each site; the first one serves everything.
    pub(super) workers: Vec<(WorkerSpec, u32)>,
    /// Messages lost, of 1,000.
    pub(super) loss: u64,
    /// Messages doubled, of 1,000.
    pub(super) doubling: u64,
    /// Messages delayed for long, of 1,000.
    pub(super) delaying: u64,
    /// Longest usual way of a message.
    pub(super) latency: Millis,
    /// Longest wait of a batch for its commit.
    pub(super) commit_time: Millis,
    /// Commits during which the owner crashes, of 1,000.
    pub(super) crashing: u64,
    /// How often something breaks.
    pub(super) fault_interval: Millis,
    /// Longest work of an attempt.
    pub(super) work_time: Millis,
}

impl Plan {
    pub(super) fn new(dice: &mut Dice, fault: Option<Fault>) -> Self {
        let calm = dice.percent(10);
        let often = |dice: &mut Dice, most| if calm { 0 } else { dice.range(0, most) };
        let mut workers = vec![(serving(true, &["a", "b"], &[]), u32::try_from(dice.range(1, 3)).unwrap())];
        for _ in 0..dice.range(0, 3) {
            let spec = match dice.range(0, 3) {
                0 => serving(true, &[], &[]),
                1 => serving(false, &["a"], &[]),
                2 => serving(true, &["b"], &["q1"]),
                _ => serving(true, &["a", "b"], &[]),
            };
            workers.push((spec, u32::try_from(dice.range(1, 3)).unwrap()));
        }
        let config = Config {
            seed: dice.range(0, u64::MAX >> 9),
            worker_lease: dice.range(300, 1_500),
            run_timeout_grace: dice.range(50, 500),
            lost_attempts_max: u32::try_from(dice.range(1, 6)).unwrap(),
            queue_len_max: usize::try_from(dice.pick(&[4, 8, 1_000])).unwrap(),
            queues_max: usize::try_from(dice.pick(&[3, 1_000])).unwrap(),
            idempotency_keys_max: 1_000,
            timers_per_tick_max: usize::try_from(dice.pick(&[1, 3, 1_000])).unwrap(),
            ..Config::default()
        };
        let crowded = dice.percent(20);
        let preempting = !crowded && dice.percent(15);
        let rules = queue_names().into_iter().filter_map(|queue| Some((queue, rules(dice)?))).collect();
        for (position, (spec, _)) in workers.iter_mut().enumerate() {
            offer(dice, spec, position == 0);
        }
        let window = if dice.percent(20) { dice.range(200, 3_000) } else { 10 * DEADLINE };
        Self {
            config,
            window,
            fault,
            partitions: u16::try_from(dice.range(1, 4)).unwrap(),
            sites: usize::try_from(dice.range(2, 3)).unwrap(),
            move_interval: dice.range(500, 8_000),
            preempting,
            crowded,
            rules,
            submits: if crowded { dice.range(30, 70) } else { dice.range(5, 40) },
            workers,
            loss: often(dice, 80),
            doubling: often(dice, 100),
            delaying: often(dice, 60),
            latency: dice.range(2, 40),
            commit_time: dice.range(1, 20),
            crashing: often(dice, 15),
            fault_interval: if calm { FAULTS_END } else { dice.range(150, 2_500) },
            work_time: dice.range(20, 1_200),
        }
    }

    /// Every partition.
    pub(super) fn partitions(&self) -> impl Iterator<Item = Partition> + use<> {
        (FIRST_PARTITION..FIRST_PARTITION + self.partitions).map(Partition)
    }

    /// The partition of a queue.
    pub(super) fn partition(&self, queue: &QueueKey) -> Partition {
        let position = queue_names().iter().position(|name| name == queue).expect("there is no other queue");
        Partition(FIRST_PARTITION + u16::try_from(position).unwrap() % self.partitions)
    }

    /// True when a key that was acknowledged is known until the end of the run.
    pub(super) fn keys_last(&self) -> bool {
        self.window >= 10 * DEADLINE
    }
}

/// The id of a task, which leads to its partition.
pub(super) fn task_id(now: Millis, partition: Partition, number: u64) -> TaskId {
    TaskId((u128::from(now) << 64) | (u128::from(partition.0) << 48) | u128::from(number))
}

/// The partition of a task.
pub(super) fn partition_of(task: TaskId) -> Partition {
    Partition(u16::try_from((task.0 >> 48) & 0xFFFF).unwrap())
}

/// Every queue there is.
pub(super) fn queue_names() -> [QueueKey; 4] {
    [("n1", "q1"), ("n1", "q2"), ("n2", "q1"), ("n2", "q2")]
        .map(|(namespace, queue)| QueueKey { namespace: namespace.into(), queue: queue.into() })
}

/// The rules of a queue, if it has any.
fn rules(dice: &mut Dice) -> Option<QueueRules> {
    let limit =
        |dice: &mut Dice, percent, high| dice.percent(percent).then(|| u32::try_from(dice.range(1, high)).unwrap());
    let rate = |dice: &mut Dice, percent| {
        let (per_second, burst) = (dice.pick(&[1.5, 4.0, 30.0]), u32::try_from(dice.range(1, 4)).unwrap());
        dice.percent(percent).then_some(Rate { per_second, burst })
    };
    let rules = QueueRules {
        concurrency_max: limit(dice, 40, 3),
        key_concurrency_max: limit(dice, 40, 2),
        rate: rate(dice, 25),
        key_rate: rate(dice, 25),
        weights: [("a".into(), 3)].into(),
        len_max: limit(dice, 10, 10).map(|limit| limit as usize),
        ..QueueRules::default()
    };
    dice.percent(70).then_some(rules)
}

/// Labels, taints and capacity of a worker; the first one takes every task that there is.
fn offer(dice: &mut Dice, spec: &mut WorkerSpec, takes_all: bool) {
    let zone = if takes_all || dice.percent(50) { "eu" } else { "us" };
    spec.labels.insert("zone".into(), zone.into());
    if takes_all || dice.percent(50) {
        spec.capacity = Resources { cpu_millis: dice.range(10, 20) * 100, memory_bytes: 0 };
    }
    if !takes_all && dice.percent(15) {
        spec.taints.insert(Taint { key: "old".into(), value: "yes".into() });
    }
}

fn serving(processes: bool, handlers: &[&str], queues: &[&str]) -> WorkerSpec {
    WorkerSpec {
        queues: queues.iter().map(|name| (*name).into()).collect(),
        processes,
        handlers: handlers.iter().map(|name| (*name).into()).collect(),
        ..WorkerSpec::default()
    }
}
