//! Unary calls at the owner of a partition.

use std::{future::Future, sync::Arc};

use tokio::time::Instant;
use tonic::{Request, Response, Status};

use super::{Caller, Outcome, Owner, Peer, Repeat, Routes};
use crate::{error::Error, shell::Home};

impl Routes {
    /// Has a unary call answered by the owner of a partition: `here` when that is this replica, else `there`. Looks again
    /// as long as whoever is asked is not the owner, at most `route_wait` from the first time on.
    ///
    /// `here` says [`Error::NotOwner`] when the partition left and nothing was done. `there` only sends the request.
    ///
    /// # Errors
    /// The owner's, or those of [`owner_of`](Self::owner_of). `UPSTREAM_FAILED`: the owner vanished over a call that must
    /// not be repeated.
    pub(crate) async fn unary<M, A, Here, There>(
        &self,
        partition: u16,
        caller: &Caller,
        message: M,
        repeat: Repeat,
        here: impl Fn(Arc<Home>, M) -> Here,
        there: impl Fn(Peer, Request<M>) -> There,
    ) -> Result<Response<A>, Status>
    where
        M: Clone,
        Here: Future<Output = Result<A, Error>>,
        There: Future<Output = Result<Response<A>, Status>>,
    {
        let mut until: Option<Instant> = None;
        loop {
            let outcome = match self.owner_of(partition, caller).await? {
                Owner::Local(home) => match here(home, message.clone()).await {
                    Err(Error::NotOwner) => Outcome::Again,
                    answer => Outcome::Answered(answer.map(Response::new).map_err(Status::from)),
                },
                Owner::Peer(peer) => {
                    let request = caller.request(message.clone());
                    // On the heap: the client's future is large, and the frames of all callers would hold it.
                    self.ask(partition, &peer, Box::pin(there(peer.clone(), request)), repeat).await
                }
            };
            match outcome {
                Outcome::Answered(answer) => return answer,
                Outcome::Again if caller.is_forwarded() => return Err(Error::NotOwner.into()),
                Outcome::Again => {
                    let until = *until.get_or_insert_with(|| caller.until(self.wait_max()));
                    self.refused(until).await?;
                }
            }
        }
    }

    /// Waits for the answer of another replica, unless it ceases to own the partition and says nothing.
    pub(crate) async fn ask<T>(
        &self,
        partition: u16,
        peer: &Peer,
        call: impl Future<Output = Result<T, Status>>,
        repeat: Repeat,
    ) -> Outcome<T> {
        tokio::select! {
            answer = call => Outcome::of(answer, repeat),
            () = self.left(partition, peer) => Outcome::broken_off(repeat),
        }
    }
}
