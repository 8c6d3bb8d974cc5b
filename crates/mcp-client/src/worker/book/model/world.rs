//! The worker, the schedulers, what happens to them, and what must hold.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use futures_util::FutureExt as _;
use mcp_proto::worker::v1::AttemptResult;

use super::{
    dice::Dice,
    scheduler::{Down, PARTITIONS, Scheduler, Store, Stream, Up},
};
use crate::worker::{
    attempt::AttemptKey,
    book::{Book, Orders, Report, SessionId},
    stop::{Stop, StopReason},
};

const SCHEDULERS: usize = 3;
const TASKS_MAX: usize = 40;
/// Steps in which everything must come to an end once the faults are over.
const HEALED_WITHIN: usize = 5_000;

/// What kind of run it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    pub(super) steps: usize,
    pub(super) slots: usize,
    /// Owners give attempts away that nobody reported for a while, and workers hand attempts back.
    pub(super) forgets: bool,
}

#[derive(Debug)]
pub(super) struct World {
    seed: u64,
    plan: Plan,
    dice: Dice,
    book: Book,
    schedulers: Vec<Scheduler>,
    /// A frozen replica hears nothing, and does not know that it lost its partitions.
    frozen: [bool; SCHEDULERS],
    /// What a session's hello claimed, until the welcome.
    claimed: BTreeMap<usize, Vec<AttemptKey>>,
    owner: [usize; PARTITIONS],
    epoch: u64,
    tasks: usize,
    store: Store,
    running: BTreeMap<AttemptKey, Arc<Stop>>,
    started: BTreeSet<AttemptKey>,
    /// Attempts that a frozen replica gave out though the task was another one's.
    stale: BTreeSet<AttemptKey>,
}

fn session(index: usize) -> SessionId {
    SessionId(index as u64)
}

impl World {
    pub(super) fn new(seed: u64, plan: Plan) -> Self {
        let mut book = Book::new(plan.slots);
        let wanted: Vec<SessionId> = (0..SCHEDULERS).map(session).collect();
        for id in &wanted {
            book.add(*id, Arc::default());
        }
        book.share_out(&wanted);
        let mut world = Self {
            seed,
            plan,
            dice: Dice::new(seed),
            book,
            schedulers: (0..SCHEDULERS).map(|_| Scheduler::default()).collect(),
            frozen: [false; SCHEDULERS],
            claimed: BTreeMap::new(),
            owner: std::array::from_fn(|partition| partition % SCHEDULERS),
            epoch: 1,
            tasks: 0,
            store: Store::default(),
            running: BTreeMap::new(),
            started: BTreeSet::new(),
            stale: BTreeSet::new(),
        };
        for partition in 0..PARTITIONS {
            world.schedulers[partition % SCHEDULERS].owned.insert(partition, 1);
        }
        world
    }

    /// Anything may happen.
    pub(super) fn step(&mut self) {
        let index = self.dice.below(SCHEDULERS);
        match self.dice.below(24) {
            0..=3 => self.work(index),
            4..=7 => self.speak(index),
            8..=11 => self.deliver_up(index),
            12..=15 => self.deliver_down(index),
            16..=17 => self.finish_one(),
            18 => {
                self.reopen(index);
                self.connect(index);
            }
            19 if self.dice.one_in(4) => self.break_off(index),
            20 if self.dice.one_in(2) => {
                let partition = self.dice.below(PARTITIONS);
                self.move_partition(partition, index);
            }
            21 if self.dice.one_in(3) => self.frozen[index] = !self.frozen[index],
            22 if self.dice.one_in(6) => self.restart(index),
            23 if self.plan.forgets && !self.frozen[index] => self.schedulers[index].end_grace(),
            _ => self.ping(index),
        }
        self.check();
    }

    /// Ends the faults: everything must come to an end.
    pub(super) fn heal(&mut self) {
        self.frozen = [false; SCHEDULERS];
        for step in 0.. {
            assert!(step < HEALED_WITHIN, "not over, SEED={}: {self:#?}", self.seed);
            for index in 0..SCHEDULERS {
                self.reopen(index);
                self.connect(index);
                self.settle_tasks(index);
                self.speak(index);
                self.deliver_up(index);
                self.deliver_down(index);
                self.finish_one();
                if self.dice.one_in(10) {
                    self.ping(index);
                }
                self.check();
            }
            let is_done = self.store.done.len() == self.tasks && self.book.attempts.is_empty();
            if is_done && self.is_quiet() {
                break;
            }
        }
        self.check_ends();
    }

    fn is_quiet(&self) -> bool {
        // A slot that nobody asks for may be left over.
        (self.book.free == 0 || self.book.seats.values().all(|seat| seat.lack() == 0))
            && self.schedulers.iter().all(|scheduler| {
                scheduler.stream.as_ref().is_some_and(|stream| stream.up.is_empty() && stream.down.is_empty())
            })
    }

    /// Submits a task, or gives a waiting one out. A frozen replica may do that, too: it does not know.
    fn work(&mut self, index: usize) {
        if self.tasks < TASKS_MAX && self.dice.one_in(2) {
            let task = self.tasks;
            self.tasks += 1;
            let owner = self.owner[task % PARTITIONS];
            self.sync(owner);
            self.schedulers[owner].waiting.insert(task);
            return;
        }
        if !self.frozen[index] {
            self.sync(index);
        }
        self.dispatch(index);
    }

    fn dispatch(&mut self, index: usize) {
        let scheduler = &mut self.schedulers[index];
        if scheduler.stream.as_ref().is_none_or(|stream| stream.free == 0) {
            return;
        }
        let waiting: Vec<usize> = scheduler.waiting.iter().copied().collect();
        if let Some(task) = self.dice.pick(&waiting) {
            let key = scheduler.dispatch(task);
            if self.owner[task % PARTITIONS] != index {
                self.stale.insert(key);
            }
        }
    }

    fn settle_tasks(&mut self, index: usize) {
        self.sync(index);
        // Whatever the worker has was reported by now, if nothing is on its way.
        let is_silent = self.schedulers.iter().all(|scheduler| {
            scheduler.stream.as_ref().is_some_and(|stream| stream.up.is_empty() && stream.down.is_empty())
        });
        if is_silent && self.book.attempts.is_empty() {
            self.schedulers[index].end_grace();
        }
        self.dispatch(index);
    }

    /// A replica that is awake learns what it has lost before it says anything.
    fn sync(&mut self, index: usize) {
        let lost: Vec<usize> =
            self.schedulers[index].owned.keys().copied().filter(|partition| self.owner[*partition] != index).collect();
        for partition in lost {
            self.schedulers[index].close(partition);
        }
    }

    fn move_partition(&mut self, partition: usize, to: usize) {
        let from = self.owner[partition];
        if from == to || self.frozen[to] {
            return;
        }
        if !self.frozen[from] && self.dice.one_in(2) {
            self.schedulers[from].close(partition);
        }
        self.sync(to);
        self.owner[partition] = to;
        self.epoch += 1;
        self.schedulers[to].open(partition, self.epoch, self.tasks, &self.store);
    }

    /// A replica dies and starts anew: it owns what it owned before, and knows nothing of attempts.
    fn restart(&mut self, index: usize) {
        self.break_off(index);
        self.frozen[index] = false;
        self.schedulers[index] = Scheduler::default();
        for partition in (0..PARTITIONS).filter(|partition| self.owner[*partition] == index) {
            self.epoch += 1;
            self.schedulers[index].open(partition, self.epoch, self.tasks, &self.store);
        }
    }

    fn connect(&mut self, index: usize) {
        let scheduler = &mut self.schedulers[index];
        if scheduler.stream.is_none() {
            let claims = self.book.join(session(index));
            let mut stream = Stream::default();
            stream.up.push_back(Up::Hello { running: claims.running.clone(), credits: claims.credits });
            scheduler.stream = Some(stream);
            self.claimed.insert(index, claims.running);
        }
    }

    fn break_off(&mut self, index: usize) {
        if self.schedulers[index].stream.take().is_some() {
            if self.dice.one_in(4) {
                self.book.pause(session(index));
            } else {
                self.book.leave(session(index));
            }
        }
    }

    /// Opens a session anew when the book says so.
    fn reopen(&mut self, index: usize) {
        let signals = &self.book.seats[&session(index)].signals;
        let told = signals.reopen.notified().now_or_never().is_some();
        if told && self.schedulers[index].stream.take().is_some() {
            self.book.pause(session(index));
        }
    }

    fn speak(&mut self, index: usize) {
        let is_welcome = !self.claimed.contains_key(&index);
        if let Some(stream) = self.schedulers[index].stream.as_mut().filter(|_| is_welcome) {
            stream.up.extend(
                self.book.outgoing(session(index)).into_request(0).map(|message| Up::Message(Box::new(message))),
            );
        }
    }

    fn ping(&mut self, index: usize) {
        if let Some(stream) = self.schedulers[index].stream.as_mut().filter(|stream| stream.is_open) {
            stream.down.push_back(Down { pinged: true, ..Down::default() });
        }
    }

    fn deliver_up(&mut self, index: usize) {
        if !self.frozen[index] {
            self.sync(index);
            self.schedulers[index].hear(&mut self.store);
        }
    }

    fn deliver_down(&mut self, index: usize) {
        let Some(down) = self.schedulers[index].stream.as_mut().and_then(|stream| stream.down.pop_front()) else {
            return;
        };
        let id = session(index);
        if down.welcome {
            let claimed = self.claimed.remove(&index).unwrap();
            self.book.welcomed(id, &claimed, &down.revoked, &down.not_mine);
        }
        let orders = Orders {
            acknowledged: down.acknowledged,
            adopted: down.adopted,
            assigned: down.assigned.into_iter().map(|key| (key, Arc::default())).collect(),
            cancelled: Vec::new(),
            revoked: down.revoked,
            not_mine: down.not_mine,
            reclaimed: down.reclaimed,
            report: down.report,
            pinged: down.pinged,
        };
        let heard = self.book.hear(id, &orders);
        for ((key, stop), starts) in orders.assigned.into_iter().zip(heard.started) {
            assert!(starts, "refused for want of a credit, SEED={}", self.seed);
            self.started.insert(key);
            self.running.insert(key, stop);
        }
    }

    fn finish_one(&mut self) {
        let running: Vec<AttemptKey> = self.running.keys().copied().collect();
        let Some(key) = self.dice.pick(&running) else { return };
        let Some(stop) = self.running.remove(&key) else { return };
        let report = match stop.reason() {
            Some(StopReason::Revoked) => Report::Nothing,
            _ if self.plan.forgets && self.dice.one_in(8) => Report::HandedBack,
            _ => Report::Result(AttemptResult { attempt: Some(key.to_ref()), ..AttemptResult::default() }),
        };
        self.book.finish(key, report);
    }

    fn check(&self) {
        self.book.check();
        for (index, scheduler) in self.schedulers.iter().enumerate() {
            let Some(stream) = &scheduler.stream else { continue };
            let rising = stream.up.iter().map(|up| match up {
                Up::Hello { credits, .. } => *credits,
                Up::Message(message) => message.credits,
            });
            let falling = stream
                .down
                .iter()
                .map(|down| u32::try_from(down.assigned.len()).unwrap() + down.reclaimed.unwrap_or_default());
            let credits = stream.free + rising.sum::<u32>() + falling.sum::<u32>();
            let idle = self.book.seats[&session(index)].idle;
            assert_eq!(credits as usize, idle, "credits of {index}, SEED={}: {self:#?}", self.seed);
        }
    }

    fn check_ends(&self) {
        if self.plan.slots >= SCHEDULERS {
            let can_start = self.book.seats.values().all(|seat| seat.idle > 0);
            assert!(can_start, "a replica has no credit, SEED={}: {self:#?}", self.seed);
        }
        for key in &self.started {
            let taken = self.store.taken.contains(key);
            assert!(taken || self.store.refused.contains(key), "lost, SEED={}: {key:?}\n{self:#?}", self.seed);
            if !self.plan.forgets && self.stale.is_empty() {
                assert!(taken, "nobody gave it away, SEED={}: {key:?}\n{self:#?}", self.seed);
            }
        }
    }
}
