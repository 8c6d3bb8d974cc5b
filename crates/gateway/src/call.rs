//! One call of a method: whatever way it ends, it is counted once.

use std::{rc::Rc, time::Instant};

use crate::{
    metrics::{Method, Methods, Protocol, Raised},
    security::authorize::Narrow,
    trace::Identity,
};

/// A call in progress. Dropping it before [`finish`](Self::finish) counts it as cancelled by the caller.
#[derive(Debug)]
pub(crate) struct Call {
    methods: Rc<Methods>,
    method: Rc<Method>,
    protocol: Protocol,
    started: Instant,
    identity: Identity,
    narrow: Option<Narrow>,
    finished: bool,
    _in_flight: Raised,
}

impl Call {
    /// Starts the record.
    pub(crate) fn begin(
        methods: Rc<Methods>,
        method: Rc<Method>,
        protocol: Protocol,
        identity: Identity,
        narrow: Option<Narrow>,
        in_flight: Raised,
    ) -> Self {
        let started = Instant::now();
        if let Some(record) = identity.record() {
            record.came_by(protocol);
        }
        Self { methods, method, protocol, started, identity, narrow, finished: false, _in_flight: in_flight }
    }

    /// The method that is called.
    pub(crate) fn method(&self) -> &Method {
        &self.method
    }

    /// What the request must be checked for before it is sent on, by [`gate::confirm`](crate::gate::confirm); `None`: its
    /// caller may do this everywhere.
    pub(crate) fn narrow(&self) -> Option<&Narrow> {
        self.narrow.as_ref()
    }

    /// The call's place in its trace.
    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Ends the record. Only the first end counts.
    pub(crate) fn finish(&mut self, code: tonic::Code) {
        if std::mem::replace(&mut self.finished, true) {
            return;
        }
        let ended = (self.protocol, code);
        self.methods.record(&self.method, ended, self.started.elapsed(), self.identity.mark());
        if let Some(record) = self.identity.record() {
            record.ended(code);
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.finish(tonic::Code::Cancelled);
    }
}
