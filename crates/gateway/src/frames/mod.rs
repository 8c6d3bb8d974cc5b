//! The wire frame: sessions over TCP and WebSocket whose requests go the way of every call.
//!
//! [`session`] is the rules of one session, without I/O; [`connection`] carries out what they ask for over a [`wire`].
//! [`commands`] says which method a command is for, [`ask`] makes its request, [`call`] sends its answers. [`sessions`]
//! knows those that can be resumed, whatever thread they are on, and [`legacies`] what they leave. [`topics`] brings events to those that
//! subscribed. `docs/protocol/frame.md` has the bytes.

mod ask;
mod call;
mod commands;
mod connection;
mod desk;
mod hello;
mod legacies;
pub(crate) mod listen;
mod metrics;
mod out;
mod session;
mod sessions;
pub(crate) mod settings;
mod subscriptions;
pub(crate) mod topics;
mod wire;

use std::{rc::Rc, sync::Arc};

use tokio_util::sync::CancellationToken;

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use self::session::drive::drive;
use self::{
    metrics::Instruments, session::Budget, sessions::Sessions, settings::FrameSettings, topics::hub::Hub, wire::Scratch,
};

/// What the sessions of all threads share.
#[derive(Debug)]
pub(crate) struct SharedFrames {
    sessions: Arc<Sessions>,
    instruments: Instruments,
    hub: Arc<Hub>,
}

impl SharedFrames {
    /// No session yet.
    pub(crate) fn new() -> Self {
        Self { sessions: Arc::default(), instruments: Instruments::new(), hub: Arc::default() }
    }
}

/// What the sessions of one thread share.
#[derive(Debug)]
pub(crate) struct LocalFrames {
    settings: Rc<FrameSettings>,
    scratch: Scratch,
    budget: Budget,
    /// The gateway is stopping.
    drain: CancellationToken,
}

impl LocalFrames {
    /// For a thread.
    pub(crate) fn new(settings: &FrameSettings, drain: CancellationToken) -> Self {
        let settings = Rc::new(settings.clone());
        Self { settings, scratch: Scratch::default(), budget: Budget::default(), drain }
    }
}
