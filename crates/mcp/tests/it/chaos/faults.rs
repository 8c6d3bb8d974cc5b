//! What breaks, in an order that a seed decides. Each fault heals before the next one begins.

use std::{collections::BTreeMap, time::Duration};

use nix::sys::signal::Signal;
use testkit::proxy::Mode;
use tokio::time::{Instant, sleep};

use super::{
    fleet::{Fleet, SCHEDULERS, WORKERS},
    history::{History, uptime},
    load::back_at_work,
};

/// How long a fault lasts, which is a part of the plan and waits for nothing: longer than a lease, so that others take over, or shorter, so that they do not.
const SHORT: Duration = Duration::from_millis(1_200);
const LONG: Duration = Duration::from_millis(5_000);
/// As long as it takes until a worker's session is closed and its attempts are given to others.
const WORKER_LOST: Duration = Duration::from_millis(8_000);
/// Between two faults.
const REST: Duration = Duration::from_millis(1_500);

/// One fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    KillScheduler,
    PauseScheduler,
    PauseSchedulerBriefly,
    CutSchedulerOff,
    CutSchedulerOffFromEtcd,
    KillWorker,
    PauseWorker,
    RestartPostgres,
    RestartEtcd,
}

const ALL: [Fault; 9] = [
    Fault::KillScheduler,
    Fault::PauseScheduler,
    Fault::CutSchedulerOff,
    Fault::CutSchedulerOffFromEtcd,
    Fault::KillWorker,
    Fault::RestartPostgres,
    Fault::PauseSchedulerBriefly,
    Fault::RestartEtcd,
    Fault::PauseWorker,
];

/// The order of faults.
#[derive(Debug)]
pub(super) struct Faults {
    random: u64,
    left: Vec<Fault>,
    counts: BTreeMap<Fault, usize>,
    take_overs: Vec<Duration>,
}

impl Faults {
    /// The order of a seed. Every kind comes once before any comes twice.
    pub(super) fn new(seed: u64) -> Self {
        let mut faults = Self { random: seed, left: Vec::new(), counts: BTreeMap::new(), take_overs: Vec::new() };
        faults.below(1);
        faults
    }

    /// SplitMix64.
    fn below(&mut self, bound: usize) -> usize {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((mixed ^ (mixed >> 31)) % bound as u64).expect("less than the bound")
    }

    /// Lets the next fault happen and heal.
    pub(super) async fn next(&mut self, fleet: &mut Fleet, history: &History) {
        if self.left.is_empty() {
            self.left = ALL.into();
        }
        let which = self.below(self.left.len());
        let fault = self.left.swap_remove(which);
        *self.counts.entry(fault).or_default() += 1;
        let (scheduler, worker) = (SCHEDULERS[self.below(SCHEDULERS.len())], WORKERS[self.below(WORKERS.len())]);
        history.note(format!("{fault:?} {scheduler} {worker}"));
        match fault {
            Fault::KillScheduler => {
                let killed = Instant::now();
                fleet.process(scheduler).kill();
                back_at_work(&fleet.client().await, history).await;
                let took = killed.elapsed();
                history.note(format!("every queue works again {took:?} after {scheduler} was killed"));
                self.take_overs.push(took);
                fleet.serve_scheduler(scheduler);
            }
            Fault::PauseScheduler => pause(fleet, scheduler, LONG).await,
            Fault::PauseSchedulerBriefly => pause(fleet, scheduler, SHORT).await,
            Fault::CutSchedulerOff => {
                fleet.set_links(scheduler, Mode::BlackHole).await;
                sleep(LONG).await;
                fleet.set_links(scheduler, Mode::PASS).await;
            }
            // It goes on with what it had, and others take it over: only the store's fence keeps them apart.
            Fault::CutSchedulerOffFromEtcd => {
                fleet.set_link_to_etcd(scheduler, Mode::BlackHole).await;
                sleep(LONG).await;
                fleet.set_link_to_etcd(scheduler, Mode::PASS).await;
            }
            Fault::KillWorker => {
                let from = uptime();
                fleet.process(worker).kill();
                fleet.serve_worker(worker);
                history.trouble(worker, from);
            }
            Fault::PauseWorker => {
                let from = uptime();
                pause(fleet, worker, WORKER_LOST).await;
                history.trouble(worker, from);
            }
            Fault::RestartPostgres => fleet.restart_postgres().await,
            Fault::RestartEtcd => {
                fleet.etcd.stop();
                sleep(SHORT).await;
                fleet.etcd.restart().await;
            }
        }
        sleep(REST).await;
    }

    /// What happened, and how long take-overs took.
    pub(super) fn summary(&self) -> String {
        format!("{:?}; take-overs {:?}", self.counts, self.take_overs)
    }
}

async fn pause(fleet: &mut Fleet, id: &str, length: Duration) {
    fleet.process(id).signal(Signal::SIGSTOP);
    sleep(length).await;
    fleet.process(id).signal(Signal::SIGCONT);
}
