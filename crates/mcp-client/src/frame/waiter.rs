//! Who waits for an answer, and what the client is asked to do.

use std::{sync::Arc, time::Duration};

use mcp_proto::{Error, frame::Frame};
use tokio::{sync::oneshot, time::Instant};

use super::{inbox::Inbox, request::FrameResponse, topics::Events};

/// An order to the client's loop.
#[derive(Debug)]
pub(super) enum Order {
    /// Send this, and tell who waits.
    Ask {
        /// The frame, without its number.
        frame: Frame,
        /// When it is too late.
        deadline: Option<Instant>,
        /// May be sent again.
        is_repeatable: bool,
        /// Who waits.
        waiter: Waiter,
    },
    /// Send this, which has no answer.
    Tell {
        /// The frame.
        frame: Frame,
        /// Told when it is on its way.
        sent: oneshot::Sender<Result<(), Error>>,
    },
}

/// Who waits for an answer.
#[derive(Debug)]
pub(super) enum Waiter {
    /// A call, or a ping.
    Once(oneshot::Sender<Result<FrameResponse, Error>>),
    /// A streaming call.
    Stream(Arc<Inbox<FrameResponse>>),
    /// A subscription; without a reader it is one that is made again.
    Subscription {
        /// What to.
        pattern: String,
        /// Who reads it, and waits for it to be made.
        reader: Option<(Events, oneshot::Sender<Result<(), Error>>)>,
    },
}

impl Waiter {
    /// A subscription was there already.
    pub(super) fn made(self) {
        if let Self::Subscription { reader: Some((_, made)), .. } = self {
            // Who does not wait any more need not know.
            drop(made.send(Ok(())));
        }
    }

    /// True when nobody waits any more.
    pub(super) fn is_gone(&self) -> bool {
        match self {
            Self::Once(answer) => answer.is_closed(),
            Self::Stream(inbox) => inbox.is_abandoned(),
            Self::Subscription { reader: Some((events, _)), .. } => events.is_abandoned(),
            Self::Subscription { reader: None, .. } => false,
        }
    }

    /// Ends it with an error. A subscription that is made again has nobody to tell here.
    pub(super) fn fail(self, error: Error) {
        match self {
            // Who does not wait any more needs no answer.
            Self::Once(answer) => drop(answer.send(Err(error))),
            Self::Stream(inbox) => inbox.end(Err(error)),
            Self::Subscription { reader: Some((_, made)), .. } => drop(made.send(Err(error))),
            Self::Subscription { reader: None, .. } => {}
        }
    }
}

/// An entry of the table of awaited answers.
#[derive(Debug)]
pub(super) struct Asked {
    /// Who waits.
    pub(super) waiter: Waiter,
    /// What to send again when the connection breaks, if it may be.
    pub(super) again: Option<Frame>,
}

/// How the connection is kept alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pace {
    /// Silence after which it is pinged.
    pub(super) ping_interval: Duration,
    /// Silence after which it is lost.
    pub(super) silence_max: Duration,
}
