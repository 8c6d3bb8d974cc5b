//! Whose turn it is to own a partition. Pure: the time is an argument.

use std::time::Duration;

use tokio::time::Instant;

use crate::cluster::{Identity, View};

/// How long the members must have been the same before the first partitions are claimed or any is handed over, so that
/// replicas which start together do not move everything several times.
const SETTLE: Duration = Duration::from_millis(300);
/// Longest wait for that.
const SETTLE_MAX: Duration = Duration::from_secs(2);
/// Head start of an owner that lost its key and goes on under the store's fence.
const HEAD_START: Duration = Duration::from_millis(150);
/// How long the preferred replica may leave a partition without an owner before the next one takes it.
const PATIENCE: Duration = Duration::from_secs(2);

/// Whether a store is shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sharing {
    /// Every replica reaches it: partitions are spread over the members.
    Shared,
    /// It is on this machine. Whoever owns partition 0 owns all of them; the others wait.
    Alone,
}

/// When a partition without an owner is to be claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// Not before this moment; a past one is now.
    At(Instant),
    /// Not as things are.
    Wait,
}

/// What a replica knows when it decides.
#[derive(Debug, Clone, Copy)]
pub(super) struct Position<'a> {
    pub(super) view: &'a View,
    pub(super) me: &'a Identity,
    pub(super) sharing: Sharing,
    pub(super) partition: u16,
    /// When this replica began to look.
    pub(super) since: Instant,
    pub(super) now: Instant,
}

impl Position<'_> {
    /// When to claim the partition.
    pub(super) fn turn(self) -> Turn {
        let Self { view, me, partition, .. } = self;
        if !view.is_synced() || view.owner(partition).is_some() {
            return Turn::Wait;
        }
        if self.sharing == Sharing::Alone {
            let holds_first = view.owner(0).is_some_and(|owner| owner.incarnation == me.incarnation);
            return if partition == 0 || holds_first { Turn::At(self.now) } else { Turn::Wait };
        }
        let ranking = view.ranking(&me.instance_id, partition, self.now);
        let rank = ranking.iter().position(|id| *id == me.instance_id).unwrap_or_default();
        let patience = PATIENCE * u32::try_from(rank).unwrap_or(u32::MAX);
        Turn::At(match view.vacancy(partition) {
            Some(vacancy) if vacancy.is_sudden => vacancy.since + HEAD_START + patience,
            Some(vacancy) => vacancy.since + patience,
            None => self.settled() + patience,
        })
    }

    /// Another member that is preferred for the partition, and since when it may be handed over.
    pub(super) fn preferred(&self) -> Option<(&str, Instant)> {
        if self.sharing == Sharing::Alone || !self.view.is_synced() {
            return None;
        }
        let first = *self.view.ranking(&self.me.instance_id, self.partition, self.now).first()?;
        (first != self.me.instance_id).then(|| (first, self.view.members_changed.unwrap_or(self.since) + SETTLE))
    }

    fn settled(&self) -> Instant {
        let changed = self.view.members_changed.unwrap_or(self.since);
        (changed + SETTLE).min(self.since + SETTLE_MAX)
    }
}
