//! What an owner does with what workers say. The engine hears only of attempts that it can judge.

use super::{
    checker::Verdict,
    world::{Event, Said, Told, World},
};
use crate::types::{Command, RunningAttempt};

impl World {
    /// A worker's message arrives.
    pub(super) fn hear(&mut self, owner: usize, worker: usize, session: u64, said: Said) -> Verdict {
        let again = said.clone();
        if !self.awake(owner, || Event::FromWorker { owner, worker, session, said: again }) {
            return Ok(());
        }
        // A worker's id is that of its life, which the session's number leads to.
        let id = self.workers[worker].id_of(session);
        let known = self.owners[owner].sessions.get(&worker).copied();
        let lasts = known == Some((session, true));
        let command = match said {
            Said::Hello { slots, running } => {
                return match known.is_some_and(|(latest, _)| latest >= session) {
                    true => Ok(()),
                    false => self.greeted(owner, worker, session, slots, running),
                };
            }
            Said::Running(running) if lasts => {
                let (ours, not_mine) = self.sort(owner, running);
                let revoked = match ours.is_empty() {
                    true => Vec::new(),
                    false => {
                        let command = Command::AttemptsReported { worker: id, running: ours.clone() };
                        self.apply_and_see(owner, command)?.1
                    }
                };
                self.answer(owner, worker, session, ours, &revoked, not_mine);
                return Ok(());
            }
            Said::Slots(slots) if lasts => Command::SlotsFreed { worker: id, slots },
            Said::Running(_) | Said::Slots(_) => return Ok(()),
            // These name their attempt, so they may come late, twice, and in any session.
            Said::Result(attempt, _) | Said::HandBack(attempt) if !self.owners[owner].judges(attempt) => {
                self.tell(owner, worker, session, Told::NotMine(vec![attempt]));
                return Ok(());
            }
            Said::Result(attempt, outcome) => Command::Finish { worker: id, attempt, outcome },
            Said::HandBack(attempt) => Command::HandBack { worker: id, attempt },
        };
        self.apply(owner, command)?.map(drop).map_err(|refused| format!("a worker is refused: {refused}"))
    }

    fn greeted(
        &mut self,
        owner: usize,
        worker: usize,
        session: u64,
        slots: u32,
        running: Vec<RunningAttempt>,
    ) -> Verdict {
        let id = self.workers[worker].id_of(session);
        let known = self.owners[owner].sessions.insert(worker, (session, true));
        if let Some((before, true)) = known
            && self.workers[worker].id_of(before) != id
        {
            let lost = self.workers[worker].id_of(before);
            self.apply(owner, Command::WorkerLost(lost))?.map_err(|refused| refused.to_string())?;
        }
        self.send(Event::FromOwner { worker, session, told: Told::Welcome });
        let (ours, not_mine) = self.sort(owner, running);
        let spec = self.plan.workers[worker].0.clone();
        let command = Command::WorkerJoined { worker: id, spec, slots, running: ours.clone() };
        let (answer, revoked) = self.apply_and_see(owner, command)?;
        answer.map_err(|refused| format!("a worker is refused: {refused}"))?;
        self.answer(owner, worker, session, ours, &revoked, not_mine);
        Ok(())
    }

    /// Attempts of partitions that are open here, and the others.
    fn sort(&self, owner: usize, running: Vec<RunningAttempt>) -> (Vec<RunningAttempt>, Vec<RunningAttempt>) {
        running.into_iter().partition(|attempt| self.owners[owner].judges(*attempt))
    }

    /// Tells a worker which of the attempts that it reported are at home here, and which are somebody else's.
    fn answer(
        &mut self,
        owner: usize,
        worker: usize,
        session: u64,
        mut adopted: Vec<RunningAttempt>,
        revoked: &[RunningAttempt],
        not_mine: Vec<RunningAttempt>,
    ) {
        adopted.retain(|attempt| !revoked.contains(attempt));
        if !not_mine.is_empty() {
            self.seen.insert("not mine");
            self.tell(owner, worker, session, Told::NotMine(not_mine));
        }
        if !adopted.is_empty() {
            self.tell(owner, worker, session, Told::Adopted(adopted));
        }
    }

    pub(super) fn session_ended(&mut self, owner: usize, worker: usize, session: u64) -> Verdict {
        if !self.awake(owner, || Event::SessionEnded { owner, worker, session }) {
            return Ok(());
        }
        match self.owners[owner].sessions.get_mut(&worker) {
            Some((latest, lasts)) if *latest == session && *lasts => *lasts = false,
            // It ended before its greeting came; the greeting must not open it any more.
            Some((latest, _)) if *latest >= session => return Ok(()),
            known => {
                if let Some((latest, true)) = known.copied() {
                    let lost = self.workers[worker].id_of(latest);
                    self.apply(owner, Command::WorkerLost(lost))?.map_err(|refused| refused.to_string())?;
                }
                self.owners[owner].sessions.insert(worker, (session, false));
                return Ok(());
            }
        }
        let id = self.workers[worker].id_of(session);
        self.apply(owner, Command::WorkerLost(id))?.map(drop).map_err(|refused| refused.to_string())
    }
}
