//! Virtual time, and what happens in it.

use std::{collections::BTreeSet, fmt::Write as _};

use dice::Dice;

use super::{
    checker::{Checker, Command, Verdict},
    owner::{HOME, Owner},
    plan::Plan,
    store::Store,
};
use crate::{
    backfill::Known,
    faults::Fault,
    id::{Millis, ScheduleId},
    rules::{Overlap, Rules},
};

const MINUTE: Millis = 60_000;
const HOUR: Millis = 60 * MINUTE;

/// How many owners that were replaced may still believe in themselves.
const ZOMBIES_MAX: usize = 2;

/// Everything there is.
#[derive(Debug)]
pub(super) struct World {
    pub(super) now: Millis,
    dice: Dice,
    plan: Plan,
    store: Store,
    owner: Owner,
    zombies: Vec<Owner>,
    /// What a caller read of a ledger some time ago.
    read: Option<(ScheduleId, Known)>,
    names_made: u64,
    tasks_made: u128,
    pub(super) checker: Checker,
    pub(super) commits: u64,
    /// Hash of everything that became durable.
    pub(super) digest: u64,
    trace: Option<String>,
}

impl World {
    pub(super) fn new(seed: u64, fault: Option<Fault>, trace: bool) -> Self {
        let mut dice = Dice::new(seed);
        let plan = Plan::new(&mut dice, fault);
        let mut store = Store::default();
        let owner = Owner::new(&mut store, &plan, plan.skew);
        let checker = Checker::new(plan.start, plan.limits.running_max);
        Self {
            now: plan.start,
            dice,
            plan,
            store,
            owner,
            zombies: Vec::new(),
            read: None,
            names_made: 0,
            tasks_made: 0,
            checker,
            commits: 0,
            digest: 0,
            trace: trace.then(String::new),
        }
    }

    /// Runs to the end, or to the first broken promise.
    pub(super) fn run(&mut self) -> Verdict {
        for _ in 0..self.plan.steps {
            self.pass_time();
            if self.dice.permille(self.plan.replacing) {
                self.replace();
            }
            if self.dice.percent(20) && !self.zombies.is_empty() {
                self.wake_zombie();
            }
            let crashes = self.dice.permille(self.plan.crashing);
            self.batch(crashes, |world, now| {
                if world.dice.permille(world.plan.commanding) || world.store.records.is_empty() {
                    world.command(now)
                } else {
                    None
                }
            })?;
        }
        self.finish()
    }

    /// Everything ends: schedules are deleted, so that their ledgers are complete.
    fn finish(&mut self) -> Verdict {
        let names: Vec<_> = self.store.records.keys().cloned().collect();
        for id in names {
            self.batch(false, |world, now| world.delete(now, &id))?;
        }
        if !self.store.records.is_empty() {
            return Err("a deleted schedule is still on record".to_owned());
        }
        self.checker.ended(&self.store)
    }

    fn pass_time(&mut self) {
        let dice = &mut self.dice;
        self.now += if dice.permille(self.plan.sleeping) {
            let most = dice.pick(&[HOUR, 3 * HOUR, 10 * HOUR, 30 * HOUR]);
            dice.range(most / 2, most)
        } else if dice.percent(70) {
            // As an owner does when nothing disturbs it.
            let clock = self.now + self.owner.ahead - self.plan.skew;
            let wait = self.owner.book.next_timer().map_or(MINUTE, |timer| timer.saturating_sub(clock));
            wait.min(HOUR) + dice.range(0, 50)
        } else {
            let most = dice.pick(&[1, 500, 20_000, MINUTE, 5 * MINUTE, 20 * MINUTE]);
            dice.range(most / 2, most)
        };
    }

    /// Another owner takes over; the earlier one does not notice at once.
    fn replace(&mut self) {
        let ahead = self.dice.range(0, 2 * self.plan.skew);
        let owner = Owner::new(&mut self.store, &self.plan, ahead);
        self.note("take-over", &owner.epoch);
        let earlier = std::mem::replace(&mut self.owner, owner);
        self.zombies.push(earlier);
        if self.zombies.len() > ZOMBIES_MAX {
            self.zombies.remove(0);
        }
    }

    /// An owner that was replaced goes on: nothing of what it does counts.
    fn wake_zombie(&mut self) {
        let mut zombie = self.zombies.remove(0);
        let now = self.now + zombie.ahead - self.plan.skew;
        zombie.tick(now, &mut self.dice, &self.plan, &mut self.tasks_made);
        assert!(!self.store.commit(zombie.epoch, now, &zombie.writes), "an earlier owner is refused");
    }

    /// The owner hears and decides, and commits, or crashes before.
    fn batch(&mut self, crashes: bool, act: impl FnOnce(&mut Self, Millis) -> Option<Command>) -> Verdict {
        let now = self.now + self.owner.ahead - self.plan.skew;
        self.owner.end_tasks(now, &self.store);
        self.owner.tick(now, &mut self.dice, &self.plan, &mut self.tasks_made);
        let begin = self.owner.writes.len();
        let command = act(self, now);
        let its_own = begin..self.owner.writes.len();
        let is_drained = self.owner.tick(now, &mut self.dice, &self.plan, &mut self.tasks_made);
        assert_eq!(self.owner.book.unanswered(), 0);
        if crashes {
            self.note("crash", &self.owner.writes.len());
            let ahead = self.dice.range(0, 2 * self.plan.skew);
            self.owner = Owner::new(&mut self.store, &self.plan, ahead);
            return Ok(());
        }
        let writes = std::mem::take(&mut self.owner.writes);
        assert!(self.store.commit(self.owner.epoch, now, &writes), "the rightful owner is accepted");
        self.commits += 1;
        for write in &writes {
            self.note("write", write);
        }
        if let Some(command) = &command {
            self.note("command", command);
        }
        self.checker.committed(now, &writes, command.map(|command| (its_own, command)), is_drained)
    }

    /// Somebody wants something.
    fn command(&mut self, now: Millis) -> Option<Command> {
        let names: Vec<_> = self.store.records.keys().cloned().collect();
        if names.is_empty() || (names.len() < 3 && self.dice.percent(30)) {
            self.names_made += 1;
            let id = ScheduleId::new("sim", &format!("s{}", self.names_made)).unwrap();
            return self.put(now, &id);
        }
        let at = usize::try_from(self.dice.range(0, names.len() as u64 - 1)).unwrap();
        let id = &names[at];
        match self.dice.range(0, 99) {
            0..15 => self.put(now, id),
            15..35 => self.pause(now, id),
            35..60 => self.resume(now, id),
            60..75 => self.trigger(now, id),
            75..80 => self.delete(now, id),
            80..88 => {
                // Read now, used some time later.
                let record = self.store.record(id)?;
                self.read = Some((id.clone(), Known { ran: self.store.ran(id), as_of: record.revision }));
                None
            }
            _ => self.backfill(now),
        }
    }

    fn put(&mut self, now: Millis, id: &ScheduleId) -> Option<Command> {
        let mut raw = self.plan.rules(&mut self.dice, now);
        if let Some(record) = self.store.record(id)
            && self.dice.percent(20)
        {
            // The same times, another policy.
            raw = crate::rules::RawRules { overlap: raw.overlap, ..record.rules };
        }
        let rules = Rules::checked(raw.clone()).ok()?;
        let mut effects = Vec::new();
        self.owner.book.put(now, id, HOME, rules, &mut effects).ok()?;
        self.obey(now, effects);
        Some(Command::Put { id: id.clone(), rules: raw })
    }

    fn pause(&mut self, now: Millis, id: &ScheduleId) -> Option<Command> {
        let mut effects = Vec::new();
        let was_running = self.owner.book.pause(now, id, "a reason".to_owned(), &mut effects).unwrap();
        self.obey(now, effects);
        was_running.then(|| Command::Pause { id: id.clone() })
    }

    fn resume(&mut self, now: Millis, id: &ScheduleId) -> Option<Command> {
        let mut effects = Vec::new();
        let was_paused = self.owner.book.resume(now, id, &mut effects).unwrap();
        self.obey(now, effects);
        was_paused.then(|| Command::Resume { id: id.clone() })
    }

    fn trigger(&mut self, now: Millis, id: &ScheduleId) -> Option<Command> {
        let overlap = self.dice.percent(30).then_some(Overlap::AllowAll);
        let mut effects = Vec::new();
        let fire = self.owner.book.trigger(now, id, overlap, &mut effects).unwrap();
        self.obey(now, effects);
        Some(Command::Trigger { id: id.clone(), time: fire.time, overlap })
    }

    fn delete(&mut self, now: Millis, id: &ScheduleId) -> Option<Command> {
        let mut effects = Vec::new();
        self.owner.book.delete(now, id, &mut effects).unwrap();
        self.obey(now, effects);
        Some(Command::Delete)
    }

    fn backfill(&mut self, now: Millis) -> Option<Command> {
        let (id, known) = self.read.take()?;
        let from = now - self.dice.range(HOUR, 5 * HOUR);
        let to = from + self.dice.range(MINUTE, 4 * HOUR);
        let mut effects = Vec::new();
        let ran = known.ran.range(from..to).copied().collect::<BTreeSet<_>>();
        let done = self.owner.book.backfill(now, &id, from, to, &Known { ran, ..known }, &mut effects);
        self.note("backfill", &done);
        let done = done.ok()?;
        self.obey(now, effects);
        Some(Command::Backfill { id, from, to, done })
    }

    fn obey(&mut self, now: Millis, effects: Vec<crate::effect::Effect>) {
        self.owner.obey(now, effects, &mut self.dice, &self.plan, &mut self.tasks_made);
    }

    /// Adds to the digest, and to the trace when there is one.
    fn note(&mut self, what: &str, detail: &dyn std::fmt::Debug) {
        let hash = self.digest ^ (self.now << 16) ^ u64::try_from(self.tasks_made).unwrap() ^ self.commits;
        self.digest = hash.wrapping_mul(0x0000_0100_0000_01B3).rotate_left(23);
        if let Some(trace) = &mut self.trace {
            writeln!(trace, "{:>14} {what:<9} {detail:?}", self.now).unwrap();
        }
    }

    /// What happened, line by line.
    pub(super) fn take_trace(&mut self) -> String {
        self.trace.take().unwrap_or_default()
    }
}
