//! Partitions that go from owner to owner: taken over after a crash or a silence, handed over in peace; and owners that
//! start, end and sleep.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    checker::{Shadow, Verdict, promise},
    owner::{Batch, Owner, Part},
    plan::partition_of,
    world::{Event, Told, World},
};
use crate::{
    Engine,
    faults::Fault,
    types::{Partition, RunningAttempt},
};

impl World {
    /// A process starts at a site where none runs.
    pub(super) fn start(&mut self, site: usize) {
        if self.process_at(site).is_some() {
            return;
        }
        let mut engine = Engine::new(self.plan.config.clone());
        engine.plant(self.plan.fault);
        let owner = Owner::new(site, engine, Shadow::new(self.plan.config.clone()));
        self.owners.push(owner);
        self.note("start", &(site, self.owners.len() - 1));
    }

    /// The process at a site, if it runs.
    pub(super) fn process_at(&self, site: usize) -> Option<usize> {
        self.owners.iter().rposition(|owner| owner.site == site && owner.alive)
    }

    /// Who owns a partition, if it runs.
    pub(super) fn owner_of(&self, partition: Partition) -> Option<usize> {
        let is_owner = |owner: &usize| self.owners[*owner].alive && self.is_rightful(*owner, partition);
        (0..self.owners.len()).rev().find(is_owner)
    }

    /// Somebody takes a partition over, unless somebody did since this was decided.
    pub(super) fn take_over(&mut self, partition: Partition, epoch: u64) -> Verdict {
        if self.store.epoch(partition) != epoch {
            return Ok(());
        }
        let is_able = |owner: &usize| {
            let owner = &self.owners[*owner];
            owner.alive && owner.paused_until <= self.now && !owner.parts.contains_key(&partition)
        };
        let able: Vec<usize> = (0..self.owners.len()).filter(is_able).collect();
        if able.is_empty() {
            self.after(100, Event::TakeOver { partition, epoch });
            return Ok(());
        }
        let owner = self.dice.pick(&able);
        let epoch = self.store.open(partition);
        for other in 0..self.owners.len() {
            if let Some(part) = self.owners[other].parts.get(&partition).copied() {
                let notices = self.dice.range(500, 6_000);
                self.after(notices, Event::Replaced { owner: other, partition, epoch: part.epoch });
            }
        }
        let at = &mut self.owners[owner];
        at.parts.insert(partition, Part { epoch, open: false });
        for ((queue, _), (idempotency, task, forget_at)) in &self.store.keys {
            if partition_of(*task) == partition {
                at.engine.remember(queue, partition, idempotency.clone(), *task, *forget_at);
            }
        }
        let rules = self.store.rules.iter().filter(|(queue, _)| self.plan.partition(queue) == partition);
        let rules: BTreeMap<_, _> = rules.map(|(queue, rules)| (queue.clone(), rules.clone())).collect();
        for (queue, rules) in &rules {
            at.engine.restore_queue(queue, partition, rules.clone());
        }
        at.shadow.load(&self.checker.durable, partition, rules, self.now);
        for task in self.store.tasks_of(partition) {
            at.shadow.know(&task.submission);
            at.engine.restore(task.clone());
        }
        at.shadow.compare(&at.engine)?;
        self.note("loading", &(owner, partition, epoch, self.store.tasks_of(partition).count()));
        let loading = self.dice.range(0, 30);
        self.after(loading, Event::Open { owner, partition, epoch });
        self.arm(owner);
        Ok(())
    }

    /// A partition is loaded: its tasks are dispatched from here on, and workers say what they run.
    pub(super) fn open(&mut self, owner: usize, partition: Partition, epoch: u64) -> Verdict {
        if !self.awake(owner, || Event::Open { owner, partition, epoch }) {
            return Ok(());
        }
        let now = self.now;
        let at = &mut self.owners[owner];
        let Some(part) = at.parts.get_mut(&partition).filter(|part| part.epoch == epoch && !part.open) else {
            return Ok(());
        };
        part.open = true;
        if let Some(perhaps_running) = self.store.closed.get(&partition) {
            at.engine.closed_in_order(partition, perhaps_running.iter().copied());
            self.seen.insert("opened after an orderly close");
            if self.plan.fault != Some(Fault::ClosingBelieved) {
                at.batch.believed.insert(partition);
            }
        }
        at.engine.opened(partition, epoch, now);
        at.shadow.opened(&self.checker.durable, partition, now);
        at.shadow.compare(&at.engine)?;
        let at_work = at.parts.values().filter(|part| part.open).count() > 1;
        self.seen.extend(at_work.then_some("opened beside another"));
        self.note("opened", &(owner, partition, epoch));
        let sessions: Vec<_> =
            self.owners[owner].sessions.iter().map(|(worker, session)| (*worker, *session)).collect();
        for (worker, (session, _)) in sessions.into_iter().filter(|(_, (_, lasts))| *lasts) {
            self.send(Event::FromOwner { worker, session, told: Told::Report });
        }
        self.arm(owner);
        Ok(())
    }

    /// An owner notices that it lost a partition. When something of it is not committed yet, it starts anew in all.
    pub(super) fn replaced(&mut self, owner: usize, partition: Partition, epoch: u64) -> Verdict {
        if !self.awake(owner, || Event::Replaced { owner, partition, epoch }) {
            return Ok(());
        }
        let at = &self.owners[owner];
        if at.parts.get(&partition).is_none_or(|part| part.epoch != epoch) {
            return Ok(());
        }
        self.commit(owner)?;
        if !self.owners[owner].alive {
            return Ok(());
        }
        self.close(owner, partition)
    }

    /// Hands a partition over in peace: what was accepted is committed, then somebody else opens it.
    pub(super) fn hand_over(&mut self) -> Verdict {
        if !self.is_faulty() {
            return Ok(());
        }
        let next = self.dice.range(1, 2 * self.plan.move_interval);
        self.after(next, Event::HandOver);
        let partitions: Vec<_> = self.plan.partitions().collect();
        let partition = self.dice.pick(&partitions);
        let Some(owner) = self.owner_of(partition).filter(|owner| self.owners[*owner].paused_until <= self.now) else {
            return Ok(());
        };
        let epoch = self.store.epoch(partition);
        self.commit(owner)?;
        // Of a crash, or a fence in another partition, others hear in their own way.
        if !self.owners[owner].alive {
            return Ok(());
        }
        self.seen.insert("handed over");
        self.leave_word(owner, partition)?;
        self.close(owner, partition)?;
        let wait = self.dice.range(1, 100);
        self.after(wait, Event::TakeOver { partition, epoch });
        Ok(())
    }

    /// An owner names what may run of a partition before it closes it; now and then it does not get to it.
    fn leave_word(&mut self, owner: usize, partition: Partition) -> Verdict {
        let part = self.owners[owner].parts[&partition];
        if !part.open || !self.is_rightful(owner, partition) || self.dice.percent(20) {
            return Ok(());
        }
        let named: BTreeSet<_> = self.owners[owner].engine.perhaps_running(partition).into_iter().collect();
        let running = self.checker.durable.perhaps_running(partition);
        let unnamed: Vec<_> = running.difference(&named).collect();
        promise!(unnamed.is_empty(), "P2: {unnamed:?} may run, and nobody will know");
        self.store.closed.insert(partition, named);
        Ok(())
    }

    /// An owner forgets a partition, and tells workers that what they run of it is not for it any more.
    fn close(&mut self, owner: usize, partition: Partition) -> Verdict {
        self.note("close", &(owner, partition));
        let at = &mut self.owners[owner];
        let known = at.shadow.close(partition);
        let views = known.iter().filter_map(|task| Some((*task, at.engine.view(*task)?)));
        let running: Vec<_> = views.filter_map(|(task, view)| Some((view.worker?, task, view.token?))).collect();
        let tasks = at.engine.close(partition);
        at.parts.remove(&partition);
        if tasks != known.len() {
            return Err(format!("P1: {tasks} tasks are forgotten with {partition:?}, which had {}", known.len()));
        }
        at.shadow.compare(&at.engine)?;
        if self.plan.fault.is_none() {
            at.engine.check();
        }
        for (id, task, token) in running {
            let sessions = self.owners[owner].sessions.iter().filter(|(_, (_, lasts))| *lasts);
            let session = sessions.map(|(worker, (session, _))| (*worker, *session));
            let of_worker = |(worker, session): &(usize, u64)| self.workers[*worker].id_of(*session) == id;
            if let Some((worker, session)) = session.into_iter().find(of_worker) {
                let told = Told::NotMine(vec![RunningAttempt { task, token }]);
                self.send(Event::FromOwner { worker, session, told });
            }
        }
        self.arm(owner);
        Ok(())
    }

    /// Ends a process; others take over what it owned, and another one starts at its site.
    pub(super) fn kill(&mut self, owner: usize) {
        self.owners[owner].alive = false;
        self.owners[owner].batch = Batch::default();
        self.end_sessions_with(owner, 1, 200);
        let parts: Vec<Partition> = self.owners[owner].parts.keys().copied().collect();
        for partition in parts.into_iter().filter(|partition| self.is_rightful(owner, *partition)).collect::<Vec<_>>() {
            let wait = self.dice.range(1, 800);
            self.after(wait, Event::TakeOver { partition, epoch: self.store.epoch(partition) });
        }
        let (wait, site) = (self.dice.range(1, 800), self.owners[owner].site);
        self.after(wait, Event::Start { site });
    }

    pub(super) fn crash_owner(&mut self) {
        if let Some(owner) = self.some_owner() {
            self.note("crash", &owner);
            self.kill(owner);
        }
    }

    /// Freezes an owner for so long that others take over.
    pub(super) fn pause_owner(&mut self) {
        let Some(owner) = self.some_owner() else { return };
        let pause = self.dice.range(200, 4_000);
        self.note("pause", &(owner, pause));
        self.owners[owner].paused_until = self.now + pause;
        self.seen.insert("paused");
        for partition in self.plan.partitions() {
            if self.is_rightful(owner, partition) {
                let wait = self.dice.range(100, 1_000);
                self.after(wait, Event::TakeOver { partition, epoch: self.store.epoch(partition) });
            }
        }
        self.end_sessions_with(owner, 50, 3_000);
    }

    /// Lets an owner lose its hold on a partition without hearing of it.
    pub(super) fn steal(&mut self) -> Verdict {
        let partitions: Vec<_> = self.plan.partitions().collect();
        let partition = self.dice.pick(&partitions);
        self.take_over(partition, self.store.epoch(partition))
    }

    fn some_owner(&mut self) -> Option<usize> {
        let alive: Vec<usize> = (0..self.owners.len()).filter(|owner| self.owners[*owner].alive).collect();
        (!alive.is_empty()).then(|| self.dice.pick(&alive))
    }

    /// Workers notice that a process does not answer.
    fn end_sessions_with(&mut self, owner: usize, low: u64, high: u64) {
        for worker in 0..self.workers.len() {
            if let Some(session) = self.workers[worker].session_with(owner) {
                let notices = self.dice.range(low, high);
                self.after(notices, Event::SessionBroken { worker, session });
            }
        }
    }
}
