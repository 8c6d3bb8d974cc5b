//! Bringing waiting tasks and free workers together.

use super::Engine;
use crate::{
    faults::Fault,
    placement::{left, score},
    slab::Slot,
    types::{Effect, Millis, Placement, Record, Resources, RunningAttempt, State, Strategy, Token},
};

/// How many workers are looked at for a task that asks for cpu, memory or a strategy, or one of each kind of worker if
/// those are more; and how many tasks that ask for something are looked at for a worker.
pub(super) const SCAN_MAX: usize = 256;

impl Engine {
    /// Gives a task that is `Pending` to a worker, or lets it wait for one.
    pub(super) fn enqueue(&mut self, slot: Slot, effects: &mut Vec<Effect>) {
        let task = self.tasks.at(slot);
        let (lane, place) = (task.lane, task.place());
        let entry = self.board.buckets.lanes.at(lane);
        let (bucket, queue, party) = (entry.bucket, entry.queue, entry.party);
        if self.board.queues.at(queue).limits.is_some() {
            // What was saved up meanwhile counts; the turn among the others is decided when the command is done.
            self.refresh(queue, party);
            self.mark(queue, party);
        } else if self.roomy.is_empty()
            && let Some(worker) = self.pick(bucket)
        {
            // Others waiting in the bucket would have had this worker already.
            return self.assign(slot, worker, effects);
        }
        self.board.push(lane, place, slot);
        if let Some(deadline) = self.queue_deadline(slot) {
            self.set_timer(slot, deadline);
        }
        if !self.roomy.is_empty() {
            self.share_room(slot, bucket, effects);
        }
    }

    /// Gives the room that this command made to those who come first, a task that was just enqueued among them.
    fn share_room(&mut self, slot: Slot, bucket: Slot, effects: &mut Vec<Effect>) {
        self.serve_roomy(effects);
        let is_limited = self.board.queues.at(self.queue_of(slot)).limits.is_some();
        while !is_limited
            && self.tasks.at(slot).is_queued()
            && let Some(worker) = self.pick(bucket)
        {
            self.dispatch(bucket, worker, effects);
        }
    }

    /// The worker to give the next task of a bucket to, if one that serves it has room.
    pub(super) fn pick(&self, bucket: Slot) -> Option<Slot> {
        match self.board.buckets.placement(bucket) {
            Some(placement) if placement.request != Resources::default() || placement.strategy.is_some() => {
                self.pick_with_room(bucket, placement)
            }
            _ => self.board.free_worker(bucket),
        }
    }

    fn pick_with_room(&self, bucket: Slot, placement: &Placement) -> Option<Slot> {
        let pools = &self.board.buckets.at(bucket).pools;
        let budget = (SCAN_MAX / pools.len().max(1)).max(1);
        let free = |pool: &Slot| self.board.pool(*pool).free.iter();
        if placement.strategy == Some(Strategy::BinPack) {
            // The fullest ones come last in the order of their room.
            let fullest = pools.iter().flat_map(|pool| free(pool).rev().take(budget));
            let found = self.best(placement, fullest.map(|free| free.worker));
            if found.is_some() {
                return found;
            }
        }
        self.best(placement, pools.iter().flat_map(|pool| free(pool).take(budget)).map(|free| free.worker))
    }

    /// The worker with the highest score among those that have room; the first of them if several have.
    fn best(&self, placement: &Placement, workers: impl Iterator<Item = Slot>) -> Option<Slot> {
        let offers = workers.map(|worker| (worker, self.workers.offer(worker, &self.board)));
        let fitting = offers.filter(|(_, offer)| left(offer.free, placement.request).is_some());
        let scored = fitting.map(|(worker, offer)| (score(placement, &offer), worker));
        scored.reduce(|best, next| if next.0 > best.0 { next } else { best }).map(|(_, worker)| worker)
    }

    /// Gives a worker tasks until its slots are taken or nothing waits that it has room for.
    pub(super) fn serve(&mut self, worker: Slot, effects: &mut Vec<Effect>) {
        if !self.reservations.is_empty() && !self.serve_reserved(worker, effects) {
            return;
        }
        while let Some(bucket) = self.next_for(worker) {
            self.dispatch(bucket, worker, effects);
        }
    }

    /// Gives tasks to the workers that this command gave more room.
    pub(super) fn serve_roomy(&mut self, effects: &mut Vec<Effect>) {
        for worker in std::mem::take(&mut self.roomy) {
            self.serve(worker, effects);
        }
    }

    /// The bucket whose head a worker is to run next.
    fn next_for(&self, worker: Slot) -> Option<Slot> {
        let entry = self.workers.get(worker)?;
        let member = entry.member.filter(|_| entry.slots > 0)?;
        let plain = self.board.pool(member.base).ready.first_key_value();
        let asking = &self.board.pool(member.shape).ready;
        if asking.is_empty() {
            return plain.map(|(_, bucket)| *bucket);
        }
        let free = self.workers.offer(worker, &self.board).free;
        let fits = |bucket: Slot| {
            let placement = self.board.buckets.placement(bucket);
            placement.is_none_or(|placement| left(free, placement.request).is_some())
        };
        let mut asking = asking.iter().take(SCAN_MAX).filter(|(_, bucket)| fits(**bucket));
        let next = plain.into_iter().chain(asking.clone().next()).min().map(|(_, bucket)| *bucket)?;
        // What comes first by its age would be stopped at once for a task of a higher priority that asks for that.
        let priority = |bucket: Slot| self.board.buckets.next_task(bucket).map(|task| self.tasks.at(task).priority);
        let stops = |bucket: Slot| self.urgent.contains(&bucket) && priority(bucket) > priority(next);
        let urgent = if self.urgent.is_empty() { None } else { asking.find(|(_, bucket)| stops(**bucket)) };
        Some(urgent.map_or(next, |(_, bucket)| *bucket))
    }

    /// Gives the next task of a bucket to a worker that has room.
    pub(super) fn dispatch(&mut self, bucket: Slot, worker: Slot, effects: &mut Vec<Effect>) {
        let slot = self.board.pop(bucket);
        self.unreserve(slot);
        self.unset_timer(slot);
        self.assign(slot, worker, effects);
    }

    /// Starts an attempt of a task that waits nowhere on a worker with a free slot.
    pub(super) fn assign(&mut self, slot: Slot, worker: Slot, effects: &mut Vec<Effect>) {
        self.sequence += 1;
        let queue = self.queue_of(slot);
        let epoch = match self.has(Fault::EpochsMixed) {
            true => self.parts.values().filter_map(|part| part.epoch()).max().unwrap_or(0),
            false => self.board.queues.at(queue).epoch,
        };
        let token = Token { epoch, sequence: self.sequence };
        let task = self.tasks.at_mut(slot);
        let id = task.id();
        if task.restored {
            // An earlier owner may have sent out an attempt without a record. From here on it must never count
            // again, not even for a later owner that hears of it before it hears of the new attempt.
            task.restored = false;
            task.token = Token::start_of(epoch);
            if !self.has(Fault::RestoredNotVoided) {
                self.persist_retry(slot, None, effects);
            }
        }
        self.spend(slot);
        let run_timeout = self.start(slot, worker, token);
        if !self.has(Fault::SlotNotTaken) {
            self.workers.take_slot(worker, token.sequence, &mut self.board);
        }
        let (worker, task) = (self.workers.at(worker).id, self.tasks.at(slot));
        if self.terms.at(task.terms).at_most_once && !self.has(Fault::StartNotPersisted) {
            effects.push(Effect::Persist(Record::Started { task: id, token, worker }));
        }
        let attempt = RunningAttempt { task: id, token };
        effects.push(Effect::Assign { worker, attempt, number: task.attempts.started, run_timeout });
        self.announce(slot, effects);
    }

    /// Takes the tokens that starting a task costs.
    fn spend(&mut self, slot: Slot) {
        let entry = self.board.buckets.lanes.at(self.tasks.at(slot).lane);
        let (queue, party) = (entry.queue, entry.party);
        if self.has(Fault::RateIgnored) {
            return;
        }
        let Some(limits) = &mut self.board.queues.at_mut(queue).limits else { return };
        limits.limit.spend(self.now);
        if let Some(party) = party {
            self.board.parties.at_mut(party).limit.spend(self.now);
        }
    }

    /// Notes that an attempt runs from now on, with its net against silence; gives how long it may run.
    pub(super) fn start(&mut self, slot: Slot, worker: Slot, token: Token) -> Millis {
        self.set_state(slot, State::Running);
        let task = self.tasks.at_mut(slot);
        task.attempts.started += 1;
        task.token = token;
        task.worker = worker;
        let attempt = (task.id(), slot);
        let request = self.board.buckets.lanes.at(task.lane).request;
        let run_timeout = self.terms.at(task.terms).run_timeout;
        self.workers.add_attempt(worker, attempt, request, &mut self.board);
        let deadline = self.now.saturating_add(run_timeout).saturating_add(self.config.run_timeout_grace);
        self.set_timer(slot, deadline);
        run_timeout
    }
}
