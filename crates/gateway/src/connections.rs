//! The connections of one data-plane thread, to be shown.

use std::{
    cell::RefCell,
    rc::{Rc, Weak},
    time::Instant,
};

use serde::Serialize;

use crate::caller::Caller;

/// Connections that have ended are looked for when there are so many, and at each doubling.
const SWEEP_MIN: usize = 64;

/// Every connection that is open or on which something still runs.
#[derive(Debug, Default)]
pub(crate) struct Connections(RefCell<List>);

#[derive(Debug, Default)]
struct List {
    callers: Vec<Weak<Caller>>,
    sweep_at: usize,
}

/// A part of them.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct ConnectionsView {
    /// How many there are.
    pub(crate) total: usize,
    /// Those of the page, the oldest first.
    pub(crate) connections: Vec<ConnectionView>,
}

/// A connection.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ConnectionView {
    /// Address and port of the other end.
    pub(crate) peer: String,
    /// `http/1.1`, `h2` or `websocket`.
    pub(crate) protocol: &'static str,
    /// Version of TLS; none: plain text.
    pub(crate) tls: Option<&'static str>,
    /// The name in the caller's certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) certificate: Option<String>,
    /// Seconds since it was opened.
    pub(crate) age_seconds: u64,
    /// Requests whose answers have not ended.
    pub(crate) streams_in_flight: u32,
    /// Requests that began until now.
    pub(crate) requests: u64,
}

impl Connections {
    /// One more. It is listed for as long as somebody holds it.
    pub(crate) fn join(&self, caller: &Rc<Caller>) {
        let mut list = self.0.borrow_mut();
        if list.callers.len() >= list.sweep_at.max(SWEEP_MIN) {
            list.callers.retain(|caller| caller.strong_count() > 0);
            list.sweep_at = list.callers.len() * 2;
        }
        list.callers.push(Rc::downgrade(caller));
    }

    /// At most `limit` of them after the first `offset`.
    pub(crate) fn view(&self, (offset, limit): (usize, usize), now: Instant) -> ConnectionsView {
        let list = self.0.borrow();
        let callers = || list.callers.iter().filter_map(Weak::upgrade);
        let connections = callers().skip(offset).take(limit).map(|caller| ConnectionView {
            peer: caller.peer.to_string(),
            protocol: caller.activity.protocol.get().name(),
            tls: caller.tls,
            certificate: caller.certificate.as_deref().map(str::to_owned),
            age_seconds: now.saturating_duration_since(caller.activity.since).as_secs(),
            streams_in_flight: caller.activity.in_flight.get(),
            requests: caller.activity.requests.get(),
        });
        ConnectionsView { total: callers().count(), connections: connections.collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_listed_while_they_are_open_and_take_no_room_after() {
        let (connections, now) = (Connections::default(), Instant::now());
        let caller = |port: u16| Rc::new(Caller::at(([127, 0, 0, 1], port).into(), now));
        let open: Vec<_> = (1..=3).map(caller).collect();
        open.iter().for_each(|caller| connections.join(caller));
        for port in 4..10_000 {
            connections.join(&caller(port));
        }
        assert!(connections.0.borrow().callers.len() <= SWEEP_MIN + 1);
        let view = connections.view((1, 1), now);
        assert_eq!((view.total, view.connections.len(), view.connections[0].peer.as_str()), (3, 1, "127.0.0.1:2"));
    }
}
