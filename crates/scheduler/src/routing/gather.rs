//! What concerns the partitions of several owners.

use std::{collections::BTreeMap, future::Future, sync::Arc};

use futures_util::future::join_all;
use tonic::Status;

use super::{Caller, Outcome, Owner, Peer, Repeat, Routes};
use crate::{error::Error, shell::Home};

/// Partitions with the same owner.
enum Share {
    Here(Vec<Arc<Home>>),
    There(Peer, Vec<u16>),
}

impl Share {
    fn partitions(&self) -> Vec<u16> {
        match self {
            Self::Here(homes) => homes.iter().map(|home| home.partition()).collect(),
            Self::There(_, partitions) => partitions.clone(),
        }
    }
}

impl Routes {
    /// Asks the owners of some partitions, all at once, and gives their answers in no order. Each partition is asked for
    /// exactly once: an owner that has lost one of those it is asked for says so, and they are asked for again.
    ///
    /// `here` gets the partitions that are open here, `there` another replica and the partitions it owns. Both only read.
    /// A call that was passed on to here must name its partitions, and all of them must be open here.
    ///
    /// # Errors
    /// The first error of any owner, or those of [`owner_of`](Self::owner_of).
    pub(crate) async fn gather<A, Here, There>(
        &self,
        partitions: impl IntoIterator<Item = u16>,
        caller: &Caller,
        here: impl Fn(Vec<Arc<Home>>) -> Here,
        there: impl Fn(Peer, Vec<u16>) -> There,
    ) -> Result<Vec<A>, Status>
    where
        Here: Future<Output = Result<A, Error>>,
        There: Future<Output = Result<A, Status>>,
    {
        let mut left: Vec<u16> = caller.partitions().unwrap_or_else(|| partitions.into_iter().collect());
        let mut answers = Vec::new();
        let mut until = None;
        while !left.is_empty() {
            let asked = self.shares(std::mem::take(&mut left), caller).await?.into_iter().map(|share| async {
                let partitions = share.partitions();
                let outcome = match share {
                    Share::Here(homes) => Outcome::Answered(here(homes).await.map_err(Status::from)),
                    Share::There(peer, partitions) => {
                        let first = partitions.first().copied().unwrap_or_default();
                        self.ask(first, &peer, there(peer.clone(), partitions), Repeat::Allowed).await
                    }
                };
                (partitions, outcome)
            });
            for (partitions, outcome) in join_all(asked).await {
                match outcome {
                    Outcome::Answered(answer) => answers.push(answer?),
                    Outcome::Again => left.extend(partitions),
                }
            }
            if !left.is_empty() {
                self.refused(*until.get_or_insert_with(|| caller.until(self.wait_max()))).await?;
            }
        }
        Ok(answers)
    }

    async fn shares(&self, partitions: Vec<u16>, caller: &Caller) -> Result<Vec<Share>, Error> {
        let (mut homes, mut peers) = (Vec::new(), BTreeMap::<String, (Peer, Vec<u16>)>::new());
        for owner in join_all(partitions.iter().map(|partition| self.owner_of(*partition, caller)))
            .await
            .into_iter()
            .zip(partitions)
        {
            match owner {
                (Err(error), _) => return Err(error),
                (Ok(Owner::Local(home)), _) => homes.push(home),
                (Ok(Owner::Peer(peer)), partition) => {
                    let of_peer = peers.entry(peer.address().to_owned()).or_insert_with(|| (peer, Vec::new()));
                    of_peer.1.push(partition);
                }
            }
        }
        let here = (!homes.is_empty()).then_some(Share::Here(homes));
        Ok(here.into_iter().chain(peers.into_values().map(|(peer, of)| Share::There(peer, of))).collect())
    }
}
