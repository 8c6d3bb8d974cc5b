//! Long polls at the owner of a partition, which may move meanwhile.

use std::{future::Future, sync::Arc};

use tokio::time::Instant;
use tonic::Status;

use super::{Caller, Outcome, Owner, Peer, Repeat, Routes};
use crate::{error::Error, shell::Home};

impl Routes {
    /// Has a call that may take long answered by the owner of a partition, and goes on at the next owner when it moves:
    /// `here` when that is this replica, else `there`. Whoever calls bounds the time by what the two do; without an owner
    /// it waits `route_wait` at most.
    ///
    /// # Errors
    /// The owner's, or those of [`owner_of`](Self::owner_of).
    pub(crate) async fn long_poll<A, Here, There>(
        &self,
        partition: u16,
        caller: &Caller,
        here: impl Fn(Arc<Home>) -> Here,
        there: impl Fn(Peer) -> There,
    ) -> Result<A, Status>
    where
        Here: Future<Output = Result<Outcome<A>, Error>>,
        There: Future<Output = Result<A, Status>>,
    {
        let mut until = None;
        loop {
            let asked = Instant::now();
            let outcome = match self.owner_of(partition, caller).await? {
                Owner::Local(home) => here(home).await?,
                Owner::Peer(peer) => self.ask(partition, &peer, Box::pin(there(peer.clone())), Repeat::Allowed).await,
            };
            match outcome {
                Outcome::Answered(answer) => return answer,
                Outcome::Again if caller.is_forwarded() => return Err(Error::NotOwner.into()),
                Outcome::Again => {
                    // An owner that let us wait was one. The time without an owner counts from its end.
                    if asked.elapsed() >= self.wait_max() {
                        until = None;
                    }
                    self.refused(*until.get_or_insert_with(|| caller.until(self.wait_max()))).await?;
                }
            }
        }
    }
}
