//! Errands between replicas: doubled, lost, and late.

use mcp_proto::{Code, Error as WireError, partition::of_home};
use tokio::sync::oneshot;

use super::{PARTITIONS, world::World};
use crate::{
    conductor::{Conduct, Delivered, Ended, Errand, HandedOver, Message, Outcome, item_of_report, item_of_submit},
    store::Table,
    validate::Intake,
};

impl World {
    /// An errand arrives: perhaps again later, perhaps its answer is lost.
    pub(super) fn carry(&mut self) {
        for _ in 0..if self.is_quiet { self.under_way.len() } else { 1 } {
            if self.under_way.is_empty() {
                return;
            }
            let at = self.dice.place(self.under_way.len());
            let errand = self.under_way.swap_remove(at);
            let (is_doubled, is_lost) = (self.dice.percent(20), self.dice.percent(20));
            let outcome = self.deliver(errand);
            if self.is_quiet {
                self.answer(errand, outcome);
                continue;
            }
            if is_doubled {
                // As a call that is repeated because its answer did not come.
                self.under_way.push(errand);
            }
            self.answer(errand, if is_lost { Outcome::Again } else { outcome });
        }
    }

    fn answer(&mut self, errand: Errand, outcome: Outcome) {
        self.request(errand.partition, Conduct::Delivered(Delivered { errand, outcome }));
    }

    /// What the courier does.
    fn deliver(&mut self, errand: Errand) -> Outcome {
        let Some(value) = self.disk.entries.get(&(errand.partition, Table::Notice, errand.key())) else {
            return Outcome::Done(None);
        };
        let message = Message::read(value).unwrap();
        let of_task = of_home(errand.task.home(), PARTITIONS);
        if let Some(request) = message.submit {
            let item = item_of_submit(&request).unwrap();
            let intake = Intake::new(&self.settings, self.now, "");
            let task = intake.part_of(request.task.unwrap(), &item.origin()).unwrap();
            let (reply, mut answer) = oneshot::channel();
            let id = errand.task;
            self.request(of_task, Conduct::Submit(HandedOver { id, task, reply }));
            self.handed_over += 1;
            return match answer.try_recv() {
                Ok(Ok(end)) => Outcome::Done(end.map(|end| (item, end))),
                Ok(Err(error)) => match WireError::from(error) {
                    error if error.code() == Code::QueueClosed => Outcome::Rejected(item, error),
                    _ => Outcome::Again,
                },
                Err(_) => Outcome::Again,
            };
        }
        if message.cancel.is_some() {
            if !self.owners.contains_key(&of_task) {
                return Outcome::Again;
            }
            let task = self.disk.tasks.get_mut(&errand.task);
            task.expect("a cancel waits for the start").is_cancelled = true;
            return Outcome::Done(None);
        }
        let item = item_of_report(&message.report.unwrap()).unwrap();
        let end = self.disk.tasks[&errand.task].end.clone().unwrap();
        let (reply, mut answer) = oneshot::channel();
        let home = of_home(item.home(), PARTITIONS);
        let ended = Ended { item, task: errand.task, end, was_started: true };
        self.request(home, Conduct::Report(ended, reply));
        if matches!(answer.try_recv(), Ok(Ok(()))) { Outcome::Done(None) } else { Outcome::Again }
    }
}
